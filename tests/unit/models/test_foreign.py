"""Checkpoints of other projects, made by hand with the keys that theirs have: recognised, taken over, or refused."""

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refused
from PIL import Image
from projects import REPOSITORY
from safetensors.torch import save_file
from torch import Tensor

from amd.cli import main
from amd.config import load_params
from amd.models.amd import AMD, Architecture
from amd.models.foreign import load_foreign
from amd.models.imagenet import read_state, resnet_name
from amd.models.loading import open_model
from amd.models.resnet import make_backbone
from amd.runtime.errors import UserError
from amd.training.importing import import_model

State = dict[str, Tensor]

PUBLISHED = (  # our names, and the published code's
    ("appearance.backbone.", "backbone2."),
    (r"appearance.head.(\d).0.", r"decode_head2.convs.\1.conv."),
    (r"appearance.head.(\d).1.", r"decode_head2.convs.\1.bn."),
    ("appearance.classifier.", "decode_head2.conv_seg."),
    (r"motion.pyramid.(\d).(\d).0.", r"decode_head.flownet.feature_pyramid_extractor.convs.\1.\2.0."),
    (r"motion.estimator.conv(\d).0.", r"decode_head.flownet.flow_estimators.conv\1.0."),
    ("motion.estimator.readout.0.0.", "decode_head.flownet.flow_estimators.predict_flow1.0."),
    ("motion.estimator.readout.1.", "decode_head.flownet.flow_estimators.predict_flow2.0."),
    (r"motion.reduce.(\d).0.", r"decode_head.flownet.conv_1x1.\1.0."),
)


@pytest.fixture(scope="module")
def resnet() -> State:
    """A ResNet-18 with torchvision's names, and a classifier, which is not taken."""
    torch.manual_seed(1)
    backbone = make_backbone("resnet18", 8)
    state = {name: value.float().normal_() for name, value in backbone.state_dict().items() if value.ndim}
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def published() -> State:
    """A state dict as the published AMD code saves it."""
    torch.manual_seed(2)
    return {their_name(name): value for name, value in AMD(Architecture()).state_dict().items()}


def their_name(name: str) -> str:
    pattern, theirs = next(rule for rule in PUBLISHED if re.match(rule[0], name))
    return re.sub(f"^{pattern}", theirs, name)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def other(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def layouts(state: State) -> dict[str, object]:
    """One backbone as each project wraps and names it."""
    momentum = prefixed(other(state), "module.encoder_k.")
    namespace = argparse.Namespace(arch="resnet18", lr=0.03)
    return {
        "torchvision": state,
        "densecl": {"state_dict": state},
        "moco v2": {"epoch": 200, "arch": "resnet50", "optimizer": {"state": {}},
                    "state_dict": {**momentum, **prefixed(state, "module.encoder_q."), "module.queue": torch.zeros(2)}},
        "dino, backbone": prefixed(state, "backbone."),
        "dino, whole": {"student": prefixed(other(state), "module.backbone."), "args": namespace, "epoch": 3,
                        "teacher": {**prefixed(state, "backbone."), "head.mlp.0.weight": torch.zeros(2, 2)}},
        "trainer": {"model": prefixed(state, "module.")},
        "lightning": {"model_state_dict": prefixed(state, "model.backbone.")},
    }  # fmt: skip


@pytest.mark.parametrize("layout", layouts({}))
def test_a_backbone_is_found_in_every_layout(layout: str, resnet: State, tmp_path: Path) -> None:
    found = read_state(saved(layouts(resnet)[layout], tmp_path / "theirs.pth"))
    assert all(torch.equal(found[name], value) for name, value in resnet.items())
    assert resnet_name(found) == "resnet18"


def test_a_backbone_is_taken_and_the_rest_is_the_same_every_time(resnet: State, tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file(resnet, path)
    (first, info), (second, _) = load_foreign(path), load_foreign(path)
    backbone = first.appearance.backbone.state_dict()
    assert all(torch.equal(value, resnet[name]) for name, value in backbone.items() if value.ndim)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert info.architecture == Architecture(backbone="resnet18")
    assert info.object_segment is None
    assert not first.training


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_networks_are_told_apart_by_their_keys(name: str) -> None:
    with torch.device("meta"):
        assert resnet_name(make_backbone(name, 8).state_dict()) == name


def test_a_training_can_begin_with_an_imported_backbone(resnet: State, tmp_path: Path) -> None:
    """The checkpoint fits params.yaml's model, which pretrain.start fills with it."""
    params = load_params(REPOSITORY / "params.yaml")
    text = (REPOSITORY / "params.yaml").read_text()
    changed, times = re.subn(rf"(?m)^(\s+backbone: ){params.model.backbone}\b", r"\1resnet18", text)
    assert times
    (tmp_path / "params.yaml").write_text(changed)
    out = tmp_path / "start.safetensors"
    import_model(saved(resnet, tmp_path / "theirs.pth"), out, params=tmp_path / "params.yaml")
    model, info = open_model(out)
    wanted = AMD(Architecture(**load_params(tmp_path / "params.yaml").model.model_dump()))
    wanted.load_state_dict(model.state_dict())
    assert torch.equal(wanted.appearance.backbone.conv1.weight, resnet["conv1.weight"])
    assert info.lineage == {"imported_from": "theirs.pth", "imported": "backbone"}
    with pytest.raises(UserError, match=r"theirs\.pth: a resnet18, not a .*; set model\.backbone to resnet18"):
        import_model(tmp_path / "theirs.pth", tmp_path / "b.safetensors", params=REPOSITORY / "params.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer2.0.conv1.weight": None}, r"theirs\.pth: key 'layer2\.0\.conv1\.weight' is missing"),
        ({"layer1.0.bn1.bias": torch.zeros(3)}, r"key 'layer1\.0\.bn1\.bias' has shape \(3,\), expected \(64,\)"),
        ({"conv1.weight": None}, r"not recognised by its keys \(the first is 'bn1\.weight'\); give the published"),
    ],
)
def test_the_first_missing_or_misshapen_key_is_named(
    change: dict[str, Tensor | None], message: str, resnet: State, tmp_path: Path
) -> None:
    state = {name: value for name, value in {**resnet, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        import_model(
            saved({"state_dict": prefixed(state, "module.")}, tmp_path / "theirs.pth"), tmp_path / "o.safetensors"
        )
    assert not (tmp_path / "o.safetensors").exists()


def test_the_published_amd_is_taken_whole_without_an_object_segment(published: State, tmp_path: Path) -> None:
    model, info = load_foreign(saved({"meta": {}, "state_dict": prefixed(published, "model.")}, tmp_path / "amd.pth"))
    assert (info.architecture, info.object_segment, info.short_edge) == (Architecture(), None, 392)
    ours = model.state_dict()
    assert all(torch.equal(ours[name], published[their_name(name)]) for name in ours)
    assert len(ours) == len(published)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decode_head2.convs.0.conv.weight": torch.zeros(256, 2304, 3, 3)}, "its head reads 2304 channels"),
        ({"decode_head3.conv_seg.weight": torch.zeros(4, 256, 1, 1)}, r"it has 'decode_head3\.conv_seg\.weight'"),
        ({"backbone2_ema.conv1.weight": torch.zeros(64, 3, 7, 7)}, r"it has 'backbone2_ema\.conv1\.weight'"),
    ],
)
def test_rcf_is_refused_with_the_reason(change: State, message: str, published: State, tmp_path: Path) -> None:
    path = saved({"state_dict": prefixed({**published, **change}, "model.")}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=rf"last\.ckpt: a checkpoint of RCF \({message}\), whose head .* AMD's"):
        load_foreign(path)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two frames in which a square moves over a still pattern."""
    root = tmp_path_factory.mktemp("videos")
    pattern = np.random.default_rng(0).integers(0, 120, (64, 96, 3), np.uint8)
    for clip in ("a",):
        (root / clip).mkdir()
        for frame in range(2):
            image = pattern.copy()
            image[20:44, 20 + 8 * frame : 44 + 8 * frame] = (240, 230, 200)
            Image.fromarray(image).save(root / clip / f"{frame}.png")
    return root


def test_videos_show_which_segment_is_the_object(published: State, moving: Path, tmp_path: Path) -> None:
    """Segments that change places in the classifier do so in the choice."""
    found = []
    for turn in (0, 2):
        state = {
            name: value.roll(turn, 0) if name.startswith("decode_head2.conv_seg.") else value
            for name, value in published.items()
        }
        out = tmp_path / f"{turn}.safetensors"
        info = import_model(saved(state, tmp_path / f"{turn}.pth"), out, videos=moving)
        assert open_model(out)[1] == info
        assert {row["frames"] for row in info.segments} == {2}
        candidates = [row for row in info.segments if row["area"] >= 0.01]
        assert info.object_segment == max(candidates, key=lambda row: row["motion"])["segment"]
        found.append(info.object_segment)
    assert found[1] == (found[0] + 2) % 5


def test_videos_in_which_nothing_moves_show_no_object(published: State, tmp_path: Path) -> None:
    (tmp_path / "still").mkdir()
    for frame in range(3):
        Image.new("RGB", (64, 48), (90, 120, 60)).save(tmp_path / "still" / f"{frame}.png")
    path = saved(published, tmp_path / "amd.pth")
    with pytest.raises(UserError, match=r"still: nothing moves in any video there"):
        import_model(path, tmp_path / "o.safetensors", videos=tmp_path / "still")


def test_the_command_says_what_it_made(
    published: State, resnet: State, moving: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    amd, backbone = saved(published, tmp_path / "amd.pth"), saved(resnet, tmp_path / "resnet.pth")
    main(["import", str(amd), "--out", str(tmp_path / "a.safetensors"), "--segment", "3"])
    main(["import", str(backbone), "--out", str(tmp_path / "new/b.safetensors")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.safetensors: resnet50, 5 segments, object segment 3")
    assert lines[1].endswith("b.safetensors: resnet18, 5 segments, no object segment yet")
    for arguments, message in [
        ([str(amd), "--segment", "5"], "--segment 5: the model has 5 segments"),
        ([str(backbone), "--segment", "1"], "--segment: .*resnet.pth is a backbone alone"),
        ([str(backbone), "--videos", str(moving)], "--videos: .*resnet.pth is a backbone alone"),
        ([str(amd), "--segment", "1", "--videos", str(moving)], "give one of them"),
    ]:
        words = ["import", *arguments, "--out", str(tmp_path / "c.safetensors")]
        assert re.search(message, refused(capsys, main, words))
        assert not (tmp_path / "c.safetensors").exists()
    words = ["import", str(amd), "--out", str(tmp_path / "a.safetensors")]
    assert "is there already" in refused(capsys, main, words)
