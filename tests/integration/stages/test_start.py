"""pretrain.start: a training that begins with the weights of another model, from a file or from the registry."""

from pathlib import Path

import pytest
import torch
from checkpoints import save_amd
from projects import REPOSITORY, corpus_shards
from registering import make_checkpoint, put, scores

from amd.config import Params, load_params
from amd.models.amd import AMD
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.runtime.receipts import fingerprint
from amd.training.distributed import Process
from amd.training.launching import made_from
from amd.training.pretrain import pretraining
from amd.training.task import run_task
from stages.pretrain import INDEX
from stages.trainings import start_file

CORPUS = {"train_clips": 1, "heldout_clips": 1, "frames": 4, "width": 96, "height": 64, "workers": 1}
SHARD = {"short_edge": 64, "workers": 1, "min_change": 0.0}
MODEL = {"segments": 3, "motion_height": 64, "motion_width": 64}
STEP = {
    "iterations": 1, "batch_size": 2, "num_workers": 0, "short_edge": 50, "crop": 48, "precision": "float32",
    "learning_rate": 1e-9, "min_learning_rate": 1e-9, "weight_decay": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_shards(tmp_path_factory.mktemp("shards"), small(load_params(REPOSITORY / "params.yaml")))


def small(params: Params) -> Params:
    sections = {"corpus": CORPUS, "shard": SHARD, "model": MODEL, "pretrain": STEP}
    return params.model_copy(
        update={name: getattr(params, name).model_copy(update=values) for name, values in sections.items()}
    )


def furthest(model: AMD, other: AMD) -> float:
    """The largest difference of any two weights."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def test_training_begins_with_the_weights_of_start(shards: Path, tmp_path: Path) -> None:
    """A step of 1e-9 leaves the weights where the training began."""
    params = small(load_params(REPOSITORY / "params.yaml"))
    start = save_amd(tmp_path / "start.safetensors", 3, seed=11)
    process = Process(0, 1, torch.device("cpu"))
    began, _ = open_model(start)
    started, anew = (pretraining(params, shards, process, path) for path in (start, None))
    assert run_task(started, tmp_path / "a.safetensors", process).iteration == 1
    assert 0.0 < furthest(started.network, began) < 1e-7
    assert furthest(anew.network, began) > 1e-2


def test_start_of_another_architecture(shards: Path, tmp_path: Path) -> None:
    params = small(load_params(REPOSITORY / "params.yaml"))
    start = save_amd(tmp_path / "start.safetensors", 4, seed=11)
    with pytest.raises(UserError, match=r"start\.safetensors: key .* has shape .*, expected"):
        pretraining(params, shards, Process(0, 1, torch.device("cpu")), start)


def test_start_is_a_file_or_a_registered_version(store: Path) -> None:
    original = make_checkpoint(store / "start-champion.safetensors", seed=3)
    put("start", original, scores(0.5, 0.5))
    assert start_file("models:/start/1", "pretrain.start").read_bytes() == original.read_bytes()
    assert start_file(str(original), "pretrain.start") == original
    assert start_file(None, "pretrain.start") is None
    with pytest.raises(UserError, match=r"pretrain\.start: nowhere: no such checkpoint"):
        start_file("nowhere", "pretrain.start")


def test_state_of_another_start_is_not_gone_on_with(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shards.parents[1])
    Path("data").mkdir()
    Path("data/shards").symlink_to(shards.parent)
    params = small(load_params(REPOSITORY / "params.yaml"))
    starts = [None, *(make_checkpoint(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))]
    assert len({fingerprint(made_from(params, INDEX, start)) for start in starts}) == 3
    again = make_checkpoint(tmp_path / "again.safetensors", 1)
    assert made_from(params, INDEX, again) == made_from(params, INDEX, starts[2])
