"""An instance embedding in the registry: its own name and gates, what it says of its labels, and getting it back."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork, embed_image
from amd.models.loading import open_as, open_model
from amd.registry.embedding import register_embedding
from amd.registry.gates import judge_embedding
from amd.registry.listing import list_models
from amd.registry.promotion import promote
from amd.runtime.errors import UserError
from amd.runtime.files import sha256
from amd.runtime.registered import pull
from amd.runtime.tracking import connect, stage_run

NAME = "amd-transfer"
SETS = {"holiday/photos": {"images": 70, "with_instance_masks": 12, "with_class_masks": 70}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("AMD_PIPELINE_RUN", "test-embedding")
        connect()
        yield folder


def checkpoint(path: Path, accuracy: float | None, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = EmbeddingNetwork(EmbeddingArchitecture("small", 4, 0.0, ("cat", "dog")))
    rates = dict.fromkeys(("same_instance", "different_instance", "different_objects", "objectness_iou"), 0.5)
    row = {"pair_accuracy": accuracy, **rates, "images": 9, "protocol": {"pairs": "all of them", "points": 4}}
    scores = {} if accuracy is None else {"holiday/photos": row}
    params = {"embedding": {"seed": seed}}
    supervision = {"sets": SETS, "start": "resnet18.pth"}
    save_checkpoint(path, network, EmbeddingInfo(network.architecture, 40, supervision, scores, params))
    return path


def put(path: Path):
    with stage_run("embedding_register", {}, {}) as run:
        return register_embedding(path, NAME, 0.02, run)


@pytest.fixture(scope="module")
def registered(store: Path):
    """Three versions: the first, one that is worse, one that is better."""
    accuracies = (0.90, 0.85, 0.95)
    paths = [checkpoint(store / f"{seed}.safetensors", value, seed) for seed, value in enumerate(accuracies)]
    return paths, [put(path) for path in paths]


def test_the_better_one_becomes_champion_and_the_worse_one_is_told_why(registered):
    _, results = registered
    assert [result.promoted for result in results] == [True, False, True]
    assert "0.850 is more than 0.02 below the 0.900 of champion version 1" in results[1].reason
    assert str(connect().get_registered_model(NAME).aliases["champion"]) == "3"
    with pytest.raises(UserError, match=r"version 2: not promoted: pair accuracy 0\.850"):
        promote(NAME, "2")


def test_a_version_says_what_labels_it_learned_from(registered, capsys):
    version = connect().get_model_version(NAME, "1")
    assert '"with_instance_masks": 12' in version.tags["supervision"]
    assert "70 images with class masks, 12 with instance masks" in version.description
    assert "resnet18.pth" in version.description
    assert "--method transfer" in version.description
    assert len(version.description) < 5000
    list_models()
    assert NAME in capsys.readouterr().out


def test_it_comes_back_as_it_was_and_is_no_amd(registered):
    paths, _ = registered
    assert sha256(pull(f"models:/{NAME}@champion")) == sha256(paths[2])
    _, info = open_model(f"models:/{NAME}/1")
    assert info.supervision["sets"] == SETS
    with pytest.raises(UserError, match="a checkpoint of the instance embedding"):
        open_as(AMD, f"models:/{NAME}@champion")


def test_the_pyfunc_gives_the_projects_bits(registered):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    network, info = open_model(f"models:/{NAME}@champion")
    embedding, objectness = embed_image(network, image, info.short_edge)
    result = mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict(image)
    np.testing.assert_array_equal(result["embedding"][0], embedding.numpy())
    np.testing.assert_array_equal(result["objectness"][0], objectness.numpy())


def test_without_scores_there_is_nothing_to_judge_by(store):
    with pytest.raises(UserError, match="has no scores yet; run the stage embedding_score first"):
        put(checkpoint(store / "unscored.safetensors", None))


@pytest.mark.parametrize(
    ("tags", "champion", "passed"),
    [
        ({"pair_accuracy": "0.5"}, None, True),
        ({"pair_accuracy": "nan"}, None, False),
        ({"pair_accuracy": "0.88", "benchmark.sha256": "x"}, {"pair_accuracy": "0.9", "benchmark.sha256": "x"}, True),
        ({"pair_accuracy": "0.87", "benchmark.sha256": "x"}, {"pair_accuracy": "0.9", "benchmark.sha256": "x"}, False),
        ({"pair_accuracy": "0.99", "benchmark.sha256": "x"}, {"pair_accuracy": "0.9", "benchmark.sha256": "y"}, False),
        ({"pair_accuracy": "0.99", "benchmark.sha256": "x"}, {}, False),
    ],
)
def test_the_gates(tags, champion, passed):
    verdict = judge_embedding(tags, None if champion is None else ("7", champion), 0.02)
    assert verdict.passed is passed
    assert verdict.reason
