"""Checkpoints of before: files that version 0.1.0 wrote (tests/data) open, answer as they did, and keep their settings.

The weights are sparse so that the files compress. answers.npz holds what version 0.1.0 made of the image below.
"""

import lzma
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import REPOSITORY
from ruamel.yaml import YAML

from amd.config import NEW_NAMES, parse_params
from amd.config.profiles import DEFAULTS
from amd.models.embedding import embed_image
from amd.models.inference import soft_masks
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.training.adaptation import adaptation_settings

DATA = REPOSITORY / "tests/data"
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def answers() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "answers.npz"))


def old(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.safetensors"
    path.write_bytes(lzma.decompress((DATA / f"{kind}.safetensors.xz").read_bytes()))
    return path


def assert_near(found: torch.Tensor, expected: np.ndarray) -> None:
    assert expected.std() > 1e-3  # a constant answer would tell nothing
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_an_amd(answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    model, info = open_model(old("amd", tmp_path))
    assert (info.architecture.segments, info.object_segment, info.short_edge) == (2, 1, 64)
    assert model.bfloat16
    model.bfloat16 = False
    assert_near(soft_masks(model, torch.from_numpy(IMAGE), 64)[:, ::8, ::8], answers["amd"])


def test_the_settings_of_an_amd_reach_its_adaptation(tmp_path: Path) -> None:
    settings = adaptation_settings(open_model(old("amd", tmp_path))[1], 5)
    assert (settings.iterations, settings.batch_size, settings.gap, settings.short_edge) == (5, 3, 2, 100)


@pytest.mark.parametrize(("section", "old"), [(section, old) for section in NEW_NAMES for old in NEW_NAMES[section]])
def test_an_old_name_in_a_parameter_file_is_refused_with_the_new_one(section: str, old: str) -> None:
    tree = YAML(typ="safe").load(DEFAULTS)
    tree[section][old] = tree[section].pop(NEW_NAMES[section][old])
    text = StringIO()
    YAML(typ="safe").dump(tree, text)
    with pytest.raises(UserError, match=f"mine: {section}.{old} is now {section}.{NEW_NAMES[section][old]}; rename it"):
        parse_params(text.getvalue(), "mine")


def test_an_embedding(answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    network, info = open_model(old("embedding", tmp_path))
    assert (info.architecture.classes, info.short_edge, info.scores) == (("cat",), 64, {"pair_accuracy": 0.5})
    embedding, objectness = embed_image(network, IMAGE, info.short_edge)
    assert_near(embedding, answers["embedding"])
    assert_near(objectness, answers["objectness"])


def test_a_semantic_model(answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    network, info = open_model(old("semantic", tmp_path))
    assert (info.architecture.classes, info.start, info.augmentation) == (("background", "cat"), "amd", "heavy")
    assert_near(soft_masks(network, torch.from_numpy(IMAGE), info.short_edge)[:, ::8, ::8], answers["semantic"])
