"""The appearance pathway in other formats: the same masks at every batch and size, checked before a file appears."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from commands import refused

from amd.cli import main
from amd.inference.export_model import METADATA, TOLERANCES, export_model
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.loading import open_as
from amd.runtime.errors import UserError

SIZES = ((1, 64, 64), (2, 71, 130), (4, 100, 67))


def make(path: Path, backbone: str, stride: int) -> tuple[Path, AMD]:
    torch.manual_seed(0)
    model = AMD(Architecture(backbone, 4, stride, 0.1, "small", 64, 64)).eval()
    for layer in model.modules():  # statistics that do something
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    save_checkpoint(path, model, ModelInfo(model.architecture, object_segment=2, short_edge=50))
    return path, model


def expected(model: AMD, batch: int, height: int, width: int) -> tuple[torch.Tensor, np.ndarray]:
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    with torch.no_grad():
        return images, model.segment(images).numpy()


@pytest.mark.parametrize(("backbone", "stride"), [("small", 4), ("resnet18", 8)])
def test_onnx_gives_the_models_masks_at_every_size(backbone: str, stride: int, tmp_path: Path) -> None:
    path, model = make(tmp_path / "m.safetensors", backbone, stride)
    assert export_model(str(path), "onnx", tmp_path / "m.onnx") <= 1e-4
    assert [found.name for found in tmp_path.glob("m.onnx*")] == ["m.onnx"]  # one file, weights inside
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for size in SIZES:
        images, masks = expected(model, *size)
        found = session.run(["masks"], {"images": images.numpy()})[0]
        assert found.shape == masks.shape
        assert np.abs(found - masks).max() <= 1e-4
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert properties["object_segment"] == 2
    assert properties["short_edge"] == 50


def test_half_is_the_same_checkpoint_in_half_the_bytes(tmp_path: Path) -> None:
    path, model = make(tmp_path / "m.safetensors", "small", 4)
    assert 0 < export_model(str(path), "half", tmp_path / "half.safetensors") <= 2e-2
    found, info = open_as(AMD, tmp_path / "half.safetensors")
    assert (info.object_segment, info.short_edge, found.architecture) == (2, 50, model.architecture)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * path.stat().st_size
    images, masks = expected(model, 2, 71, 130)
    assert np.abs(found.segment(images).detach().numpy() - masks).max() <= 2e-2


@pytest.mark.parametrize(("backbone", "stride"), [("small", 4), ("resnet18", 8)])
def test_torchscript_gives_the_models_masks_at_every_size(backbone: str, stride: int, tmp_path: Path) -> None:
    path, model = make(tmp_path / "m.safetensors", backbone, stride)
    export_model(str(path), "torchscript", tmp_path / "m.pt")
    extra = {METADATA: ""}
    recorded = torch.jit.load(str(tmp_path / "m.pt"), _extra_files=extra)
    for size in SIZES:
        images, masks = expected(model, *size)
        with torch.no_grad():
            assert np.abs(recorded(images).numpy() - masks).max() <= 1e-4
    assert json.loads(extra[METADATA])["object_segment"] == "2"


def test_a_file_whose_masks_differ_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = make(tmp_path / "m.safetensors", "small", 4)
    monkeypatch.setitem(TOLERANCES, "torchscript", -1.0)
    with pytest.raises(UserError, match=r"m\.pt: its masks differ from the model's by .*; it is not written"):
        export_model(str(path), "torchscript", tmp_path / "m.pt")
    assert [found.name for found in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_command_says_what_it_wrote_and_refuses_what_it_must(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, _ = make(tmp_path / "m.safetensors", "small", 4)
    main(["export", str(path), "--format", "torchscript", "--out", str(tmp_path / "m.pt")])
    assert "m.pt: images B,3,H,W in [0, 1] to masks B,c,h,w" in capsys.readouterr().out
    for out, message in [("m.pt", "is there already"), ("m.onnx", "ends in .pt")]:
        words = ["export", str(path), "--format", "torchscript", "--out", str(tmp_path / out)]
        assert message in refused(capsys, main, words)
