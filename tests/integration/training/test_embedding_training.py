"""Training of the instance embedding by its program: it learns, goes on after a kill, in one process or two; scores."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from PIL import Image
from projects import REPOSITORY, write_params
from torch import Tensor, nn
from trainings import run

from amd.config import Embedding, InstanceCorpus, load_params
from amd.data.benchmarks.instances import open_instances
from amd.data.images import write_labels
from amd.data.synthetic.instances import FAMILIES, make_instance_corpus
from amd.evaluation.embedding_score import score_embedding
from amd.models.embedding import EmbeddingArchitecture, EmbeddingNetwork
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.runtime.files import read_json
from amd.training.distributed import Process
from amd.training.embedding import make_task, supervision
from stages.embedding import made_from
from stages.trainings import start_file

CORPUS = InstanceCorpus(train_images=24, heldout_images=12, width=96, height=64, seed=0, workers=2)
TINY = {
    "iterations": 30, "batch_size": 4, "points": 64, "short_edge": 64, "crop": 48, "precision": "float32",
    "device": "cpu", "learning_rate": 2.0e-3, "checkpoint_every": 10, "log_every": 5, "augmentation": "light",
    "embed_short_edge": 64, "layered": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny images with instances, and the params.yaml of a tiny training."""
    folder = tmp_path_factory.mktemp("project")
    make_instance_corpus(folder / "instances", CORPUS)
    params_of(folder, folder / "params.yaml")
    return folder


def params_of(project: Path, path: Path, **changes: object) -> Path:
    return write_params(path, {"embedding": {"data": [str(project / "instances")]} | TINY | changes})


@pytest.fixture(scope="module")
def undisturbed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    run("embedding", project / "params.yaml", out)
    return out


def test_thirty_steps_teach_something_about_objects_never_seen(project, undisturbed):
    """Families, coats and hues of val are not in train; colours alone give an untrained network some pairs."""
    trained, info = open_model(undisturbed / "model.safetensors")
    images = open_instances([project / "instances"], "val")
    torch.manual_seed(0)
    untrained = EmbeddingNetwork(trained.architecture).eval()
    scores = score_embedding(trained, images, info.short_edge)
    before = score_embedding(untrained, images, info.short_edge)
    assert scores["pair_accuracy"] > 0.7
    assert scores["pair_accuracy"] > before["pair_accuracy"] + 0.08
    assert scores["objectness_iou"] > before["objectness_iou"] + 0.2
    assert scores["images"] == 12
    assert scores["protocol"]["short_edge"] == 64


def test_the_checkpoint_says_what_it_is_and_what_it_learned_from(project, undisturbed):
    network, info = open_model(undisturbed / "model.safetensors")
    assert network.architecture.classes == FAMILIES
    assert info.short_edge == 64
    assert info.params["embedding"]["iterations"] == 30
    sets = {str(project / "instances"): {"images": 24, "with_instance_masks": 24, "with_class_masks": 24}}
    assert info.supervision == {"sets": sets, "start": "random weights"}
    history = read_json(undisturbed / "history.json")
    assert history["iterations"] == 30
    assert history["curve"][-1]["loss"] < history["curve"][0]["loss"]
    assert {"pair_loss", "semantic_loss", "pair_accuracy", "images_per_s"} <= history.keys()


def test_two_processes_train_as_one_with_the_whole_batch(project, tmp_path):
    few = {"iterations": 3, "log_every": 1, "learning_rate": 1.0e-4}
    one = run("embedding", params_of(project, tmp_path / "one.yaml", **few), tmp_path / "one")
    halved = params_of(project, tmp_path / "two.yaml", **few | {"batch_size": 2, "processes": 2})
    two = run("embedding", halved, tmp_path / "two", processes=2)
    for ours, theirs in zip(two["curve"], one["curve"], strict=True):
        assert abs(ours["loss"] - theirs["loss"]) < 2e-3 * theirs["loss"]
        assert abs(ours["pair_loss"] - theirs["pair_loss"]) < 2e-3 * theirs["pair_loss"]


def test_a_training_belongs_to_its_data_start_and_parameters(project, tmp_path):
    def key(**changes) -> list:
        settings = load_params(params_of(project, tmp_path / "params.yaml", **changes)).embedding
        return made_from(settings, start_file(settings.start, "embedding.start"))

    save_amd(tmp_path / "amd.safetensors", object_segment=0)
    assert key() == key(log_every=7, num_workers=2)
    assert key() != key(learning_rate=0.5)
    assert key() != key(start=str(tmp_path / "amd.safetensors"))
    before = key(start=str(tmp_path / "amd.safetensors"))
    save_amd(tmp_path / "amd.safetensors", object_segment=1)
    assert before != key(start=str(tmp_path / "amd.safetensors"))


def test_layered_images_are_told_as_what_needs_no_label(project, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_bytes(b"any")
    changes = {"layered": 0.25, "textures": str(tmp_path / "photos")}
    settings = load_params(params_of(project, tmp_path / "params.yaml", **changes)).embedding
    told = supervision(settings)["layered_images"]
    assert told == {"share": 0.25, "textures": str(tmp_path / "photos"), "labels": "none"}
    before = made_from(settings)
    (tmp_path / "photos/one.jpg").write_bytes(b"other")
    assert made_from(settings) != before
    with pytest.raises(UserError, match=r"nowhere: no such folder; embedding\.textures"):
        made_from(settings.model_copy(update={"textures": "nowhere"}))


def test_a_missing_data_folder_is_named(project, tmp_path):
    params = load_params(params_of(project, tmp_path / "params.yaml", data=[str(tmp_path / "nowhere")]))
    with pytest.raises(UserError, match=r"nowhere/ImageSets/Segmentation/train\.txt: no such list; embedding\.data"):
        made_from(params.embedding)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        make_task(params, argparse.Namespace(start=None, lineage={}), Process(0, 1, torch.device("cpu")))


def test_photos_are_supervision_of_their_own_kind(shared_data):
    settings = load_params(REPOSITORY / "params.yaml").embedding
    told = supervision(settings.model_copy(update={"data": [str(shared_data / "voc2012")]}))
    assert list(told["sets"].values()) == [{"images": 52, "with_instance_masks": 3, "with_class_masks": 52}]


# Scores


class Painted(nn.Module):
    """Embeds a pixel by its colour: what instances are painted with decides every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture = EmbeddingArchitecture("small", 4, 0.0, ("cat", "dog"))
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        background = (images.sum(1, keepdim=True) < 0.1).float() * 40 - 20
        return images * self.scale, torch.cat((background, torch.zeros_like(images[:, :2])), 1)


def painted_set(root: Path, colours: list[tuple[int, int, int]], instances: bool) -> Path:
    """Two images: background, a cat on the left, and two dogs on the right of the second one."""
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("one\ntwo\n")
    (root / "classes.txt").write_text("cat dog")
    for name, dogs in (("one", 0), ("two", 2)):
        owners = np.zeros((40, 60), np.uint8)
        owners[4:36, 4:20] = 1
        for dog in range(dogs):
            owners[4 + 16 * dog : 18 + 16 * dog, 30:56] = 2 + dog
        image = np.array(colours, np.uint8)[owners]
        Image.fromarray(image).save(root / f"JPEGImages/{name}.jpg", quality=100, subsampling=0)
        write_labels(root / f"SegmentationClass/{name}.png", np.array([0, 1, 2, 2], np.uint8)[owners])
        if instances:
            write_labels(root / f"SegmentationObject/{name}.png", owners)
    return root


def test_scores_of_embeddings_that_are_known(tmp_path):
    apart = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    twins = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 255, 0)]
    scored = {
        name: score_embedding(Painted(), open_instances([painted_set(tmp_path / name, colours, True)], "val"), None)
        for name, colours in (("apart", apart), ("twins", twins))
    }
    assert scored["apart"]["pair_accuracy"] > 0.99  # but for JPEG at the borders
    assert scored["apart"]["objectness_iou"] > 0.97
    # Two dogs alike: of 12 ordered pairs of instances in the second image 2 are wrong, of its 6 of objects 2 too.
    assert scored["twins"]["same_instance"] > 0.99
    assert abs(scored["twins"]["different_instance"] - (1 + 10 / 12) / 2) < 0.01
    assert abs(scored["twins"]["different_objects"] - 4 / 6) < 0.01


def test_without_instance_masks_twins_are_not_held_against_an_embedding(tmp_path):
    twins = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 255, 0)]
    root = painted_set(tmp_path / "set", twins, instances=False)
    assert score_embedding(Painted(), open_instances([root], "val"), None)["different_instance"] > 0.99


def test_the_scales_of_a_training_are_in_order():
    settings = load_params(REPOSITORY / "params.yaml").embedding.model_dump()
    with pytest.raises(ValueError, match=r"min_scale 2\.0 is above max_scale"):
        Embedding.model_validate(settings | {"min_scale": 2.0})
