"""Models from what users call them: registry names, checkpoints, the published reference; nothing pickled runs."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

import amd
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.training.importing import import_model

SMALL = Architecture("small", 5, 4, 0.1, "small", 128, 128)


class Payload:
    """Pickles to a call that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def contents(state: dict[str, torch.Tensor]) -> list[str]:
    """What a state dict holds, whatever the names."""
    return sorted(hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for tensor in state.values())


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_a_checkpoint_gives_its_model_and_what_it_knows(tmp_path: Path) -> None:
    model = AMD(SMALL)
    save_checkpoint(tmp_path / "m.safetensors", model, ModelInfo(SMALL, object_segment=3, short_edge=100))
    loaded, info = open_model(str(tmp_path / "m.safetensors"))
    assert (info.architecture, info.object_segment, info.short_edge) == (SMALL, 3, 100)
    assert not loaded.training
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("layout", ["wrapped", "bare", "module"])
def test_the_reference_is_imported_in_every_layout(layout: str, reference_state: dict, tmp_path: Path) -> None:
    content = {
        "wrapped": {"meta": {"iter": 0}, "state_dict": reference_state},
        "bare": reference_state,
        "module": {"state_dict": {f"module.{name}": tensor for name, tensor in reference_state.items()}},
    }[layout]
    info = import_model(saved(content, tmp_path / "ref.pth"), tmp_path / "ref.safetensors")
    model, loaded_info = open_model(tmp_path / "ref.safetensors")
    assert loaded_info == info
    assert (info.architecture, info.object_segment, info.short_edge) == (Architecture(), None, 392)
    ours = model.state_dict()
    assert contents(ours) == contents(reference_state)  # every tensor arrived, none twice
    assert torch.equal(ours["appearance.classifier.weight"], reference_state["decode_head2.conv_seg.weight"])
    assert torch.equal(ours["appearance.backbone.conv1.weight"], reference_state["backbone2.conv1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone2.layer3.4.conv2.weight": None}, r"layer3\.4\.conv2\.weight' is missing"),
        (
            {"backbone2.layer1.0.conv2.weight": torch.zeros(64, 64, 1, 1)},
            r"layer1\.0\.conv2\.weight' has shape \(64, 64, 1, 1\), expected",
        ),
        ({"backbone3.conv1.weight": torch.zeros(1)}, r"unexpected key 'backbone3\.conv1\.weight'"),
    ],
)
def test_the_first_key_that_does_not_fit_is_named(
    change: dict, message: str, reference_state: dict, tmp_path: Path
) -> None:
    state = {key: tensor for key, tensor in (reference_state | change).items() if tensor is not None}
    with pytest.raises(UserError, match=message):
        import_model(saved({"state_dict": state}, tmp_path / "ref.pth"), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickled_code_never_runs(writer: str, tmp_path: Path) -> None:
    victim, path = tmp_path / "it_ran", tmp_path / "evil.pth"
    content = {"state_dict": {"backbone2.conv1.weight": torch.zeros(1), "payload": Payload(victim)}}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="nothing in it was run"):
        import_model(path, tmp_path / "out.safetensors")
    assert not victim.exists()
    torch.load(path, weights_only=False) if writer == "torch" else pickle.loads(path.read_bytes())
    assert victim.exists()  # the payload was a live one


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": 3}, {"a": "text"}, {}])
def test_what_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ref\.pth: "):
        open_model(str(saved(content, tmp_path / "ref.pth")))


@pytest.mark.parametrize("name", ["clip.mp4", "runs:/1/model", "model", "s3://bucket/model"])
def test_what_is_no_model_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(UserError, match=r"not a model; give models:/NAME@ALIAS.*\.safetensors.*\.pth"):
        open_model(name)


@pytest.mark.parametrize("name", ["none.safetensors", "none.pth"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{name}: no such checkpoint"):
        open_model(str(tmp_path / name))


def test_an_unknown_registered_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI|no model"):
        open_model("models:/nobody@champion")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    other = Architecture("small", 4, 4, 0.1, "small", 128, 128)
    save_checkpoint(tmp_path / "m.safetensors", AMD(SMALL), ModelInfo(other))
    with pytest.raises(UserError, match=r"classifier\.weight' has shape \(5, .*expected \(4,"):
        open_model(str(tmp_path / "m.safetensors"))


def test_a_checkpoint_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        import_model(tmp_path / "ref.pth", tmp_path / "out.pth")


def test_load_model_is_the_public_way(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m.safetensors", AMD(SMALL), ModelInfo(SMALL))
    masks = amd.load_model(str(tmp_path / "m.safetensors")).segment(torch.rand(1, 3, 64, 96))
    assert masks.shape == (1, 5, 16, 24)
