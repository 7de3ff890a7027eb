"""Fine-tuning: the loss by hand, what each start copies, and the program: one process or two, killed and resumed."""

import sys
from pathlib import Path

import pytest
import torch
from checkpoints import save_amd
from projects import write_params
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F
from trainings import command, kill, run
from voc import CLASSES, write_voc

from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.loading import open_as, open_model, start_backbone
from amd.models.resnet import make_backbone
from amd.models.semantic import SemanticArchitecture, SemanticInfo, SemanticNetwork
from amd.runtime.errors import UserError
from amd.training.__main__ import main
from amd.training.semantic import semantic_loss

SMALL = SemanticArchitecture("small", 4, 0.0, ("background", *CLASSES))
SETTINGS = {
    "iterations": 8, "batch_size": 2, "processes": 1, "num_workers": 0, "short_edge": 48, "crop": 40,
    "precision": "float32", "checkpoint_every": 2, "log_every": 1,
}  # fmt: skip


def test_the_loss_by_hand():
    logits = torch.tensor([[[[2.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]]], requires_grad=True)  # two classes at three pixels
    labels = torch.tensor([[[0, 0, 255]]])
    scalars = semantic_loss(logits, labels)
    expected = -(torch.tensor([2.0, 0.0]).log_softmax(0)[0] + torch.tensor([0.0, 1.0]).log_softmax(0)[0]) / 2
    torch.testing.assert_close(scalars["loss"], expected)
    assert scalars["accuracy"] == 0.5
    scalars["loss"].backward()
    assert (logits.grad[..., 2] == 0).all()


def test_the_loss_is_taken_at_the_size_of_the_labels():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 16, 16))
    larger = F.interpolate(logits, (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(semantic_loss(logits, labels)["loss"], F.cross_entropy(larger, labels))


def test_a_batch_without_labels_teaches_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    scalars = semantic_loss(logits, torch.full((1, 8, 8), 255))
    scalars["loss"].backward()
    assert (scalars["loss"], scalars["accuracy"]) == (0, 0)
    assert (logits.grad == 0).all()


def differ(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    theirs = second.state_dict()
    return any(not torch.equal(tensor, theirs[name]) for name, tensor in first.state_dict().items())


def test_an_amd_gives_backbone_and_blocks(tmp_path: Path):
    torch.manual_seed(0)
    architecture = Architecture("small", 3, 4, 0.0, "small", 64, 64)
    model, network = AMD(architecture), SemanticNetwork(SMALL)
    save_checkpoint(tmp_path / "amd.safetensors", model, ModelInfo(architecture))
    assert differ(network.backbone, model.appearance.backbone)
    start_backbone(network, tmp_path / "amd.safetensors", "model.backbone")
    assert not differ(network.backbone, model.appearance.backbone)
    assert not differ(network.head, model.appearance.head)
    assert network.classifier.weight.shape[0] == 4
    other = SemanticNetwork(SemanticArchitecture("resnet18", 8, 0.0, ("background", "thing")))
    with pytest.raises(UserError, match=r"amd\.safetensors: its backbone is not a resnet18; set model\.backbone"):
        start_backbone(other, tmp_path / "amd.safetensors", "model.backbone")


def test_an_imagenet_style_file_gives_the_backbone(tmp_path: Path):
    torch.manual_seed(0)
    backbone = make_backbone("resnet18", 8)
    save_file({**backbone.state_dict(), "fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.safetensors")
    network = SemanticNetwork(SemanticArchitecture("resnet18", 8, 0.0, ("background", "thing")))
    head = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
    start_backbone(network, tmp_path / "resnet18.safetensors", "model.backbone")
    assert not differ(network.backbone, backbone)
    assert all(torch.equal(tensor, head[name]) for name, tensor in network.head.state_dict().items())
    with pytest.raises(UserError, match="its backbone is not a small"):
        start_backbone(SemanticNetwork(SMALL), tmp_path / "resnet18.safetensors", "model.backbone")
    with pytest.raises(UserError, match=r"none\.safetensors: no such checkpoint"):
        start_backbone(network, tmp_path / "none.safetensors", "model.backbone")


def test_a_model_comes_back_as_it_went(tmp_path: Path):
    network, path = SemanticNetwork(SMALL).eval(), tmp_path / "model.safetensors"
    save_checkpoint(path, network, SemanticInfo(SMALL, 48, start="amd", seed=3))
    again, info = open_model(path)
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again.segment(image), network.segment(image))
    assert again.segment(image).sum(1).allclose(torch.ones(1))
    assert (info.architecture, info.start, info.seed) == (SMALL, "amd", 3)
    save_amd(path)
    with pytest.raises(UserError, match=r"a checkpoint of AMD .*give a model fine-tuned for semantic segmentation"):
        open_as(SemanticNetwork, path)
    with pytest.raises(UserError, match="no such checkpoint"):
        open_model(tmp_path / "none.safetensors")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny dataset and a parameter file for it."""
    folder = tmp_path_factory.mktemp("semantic")
    write_voc(folder / "VOC2012")
    params_of(folder)
    return folder


def params_of(folder: Path, **changes: object) -> Path:
    settings = SETTINGS | {"root": str(folder / "VOC2012")} | changes
    return write_params(folder / "params.yaml", {"model": {"dropout": 0.0}, "semantic": settings})


@pytest.fixture(scope="module")
def undisturbed(project: Path) -> list[dict]:
    return run("semantic", project / "params.yaml", project / "undisturbed", "--augmentation", "heavy")["curve"]


def test_it_learns_by_the_papers_schedule(project: Path, undisturbed: list[dict]):
    assert [row["iteration"] for row in undisturbed] == list(range(1, 9))
    assert [row["learning_rate"] for row in undisturbed] == pytest.approx([0.01 * (1 - i / 8) ** 0.9 for i in range(8)])
    assert undisturbed[-1]["loss"] < undisturbed[0]["loss"]
    _, info = open_model(project / "undisturbed/model.safetensors")
    assert (info.augmentation, info.images, info.short_edge) == ("heavy", 6, 48)


def test_killed_it_goes_on_as_if_nothing_had_happened(project: Path, undisturbed: list[dict]):
    out = project / "killed"
    kill("semantic", project / "params.yaml", out, "--augmentation", "heavy")
    with safe_open(out / "state.safetensors", framework="pt") as file:
        assert any(name.endswith("momentum_buffer") for name in file.keys())  # noqa: SIM118 - not a dict
    resumed = run("semantic", project / "params.yaml", out, "--augmentation", "heavy")["curve"]
    assert [row["loss"] for row in resumed] == [row["loss"] for row in undisturbed]


def test_a_missing_dataset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    for root, message in ((None, "semantic.root is empty"), (str(tmp_path), "not Pascal VOC 2012")):
        words = command("semantic", params_of(tmp_path, root=root), tmp_path)
        monkeypatch.setattr(sys, "argv", words[2:])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
