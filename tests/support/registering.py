"""What the registry's tests share: checkpoints, scores, and registering them under a name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from PIL import Image

from amd.config import Register
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_model
from amd.registry import register
from amd.registry.registration import Registration
from amd.runtime.errors import UserError
from amd.runtime.tracking import connect, stage_run

PROTOCOL = {"dataset": "davis2016", "sequences": 2, "frames_scored": 5, "averaging": "mean over sequences"}
OBJECT, SHORT_EDGE = 3, 48
PARAMS = {"data": {"videos": "holiday/clips"}, "pretrain": {"seed": 0, "iterations": 9}}


def make_checkpoint(path: Path, seed: int, object_segment: int | None = OBJECT, params: dict = PARAMS) -> Path:
    """A random network whose object mask is neither empty nor full on the test's images."""
    return save_amd(path, 5, object_segment, SHORT_EDGE, seed, motion=128, params=params)


def scores(image: float, adapted: float, names: tuple[str, ...] = ("bear", "dog")) -> dict:
    """The contents of metrics/vos.json that matter to the registry; every sequence has the mean's J."""
    row = {"label_free_F": 0.5, "oracle_J": 0.9, "oracle_F": 0.9}
    kinds = {"image": image, "adapted": adapted}
    per_sequence = {kind: {name: {"J": {"mean": value}} for name in names} for kind, value in kinds.items()}
    return {
        "summary": {kind: {"label_free_J": value, **row} for kind, value in kinds.items()},
        "scores": {kind: {"label-free": {"protocol": PROTOCOL, "sequences": per_sequence[kind]}} for kind in kinds},
    }


def put(
    name: str, checkpoint: Path, result: dict, loss: float | None = 0.25, manifest: Path | None = None
) -> Registration:
    """Register a checkpoint as the stage does."""
    with stage_run("register", {"pretrain": {"seed": 0}}, {"params.sha256": "abc123"}) as run:
        return register(checkpoint, result, {"loss": loss}, Register(name=name, max_drop=0.02), run, None, manifest)


def champion(name: str) -> str | None:
    """The version that MLflow's alias names."""
    holder = connect().get_registered_model(name).aliases.get("champion")
    return holder and str(holder)


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Smooth random pictures of (height, width), so that segments have shapes."""
    random = np.random.default_rng(7)
    coarse = [random.integers(0, 256, (6, 8, 3), np.uint8) for _ in sizes]
    return [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        for image, (height, width) in zip(coarse, sizes, strict=True)
    ]


def expected(checkpoint: Path, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft masks c,H,W and the mask H,W that this project makes of an image."""
    model, info = open_model(checkpoint)
    soft = soft_masks(model, torch.from_numpy(image.copy()), info.short_edge)
    mask = object_mask(soft, info.object_segment)
    return soft.numpy(), np.where(mask.numpy(), 255, 0).astype(np.uint8)


def user_error(function, *arguments) -> str:
    """The one line that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)
