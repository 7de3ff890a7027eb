"""Separability by synthetic features whose answer is known, and features of real networks and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from amd.checkpoint import ModelInfo, save_checkpoint
from amd.cli import main
from amd.data.benchmarks import open_benchmark
from amd.errors import UserError
from amd.evaluation.features import Pixels, collect_pixels, embed, linear_probe, open_network, silhouette
from amd.files import read_json
from amd.imagenet import load_imagenet
from amd.model.amd import AMD, Architecture
from amd.model.resnet import make_backbone

SMALL = Architecture("small", 3, 4, 0.0, "small", 64, 64)


def pixels(features: np.ndarray, foreground: np.ndarray, videos: int = 4) -> Pixels:
    return Pixels(
        features.astype(np.float32), foreground, np.array([f"v{i % videos}" for i in range(len(features))]), 1
    )


def sides(count: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    foreground = generator.random(count) < 0.3
    return generator.normal(size=(count, 6)) + gap * foreground[:, None], foreground


def benchmark(root: Path, truth: np.ndarray, names: tuple[str, ...] = ("bear", "cow")) -> Path:
    """Frames that are bright where the truth is, and dark elsewhere."""
    image = np.where(truth[..., None], 220, 30) + np.random.default_rng(0).integers(0, 30, (*truth.shape, 3))
    for name in names:
        for part, content in (("JPEGImages", image.astype(np.uint8)), ("Annotations", truth * np.uint8(255))):
            (root / part / "480p" / name).mkdir(parents=True)
            for number in range(4):
                Image.fromarray(content).save(root / part / "480p" / name / f"{number:05d}.png")
    return root


def half() -> np.ndarray:
    truth = np.zeros((48, 64), bool)
    truth[:, :32] = True
    return truth


def test_a_probe_tells_sides_that_are_apart():
    assert linear_probe(pixels(*sides(400, 8.0)))["mean"] > 0.99


def test_a_probe_is_at_chance_where_there_is_nothing_to_tell():
    assert linear_probe(pixels(*sides(2000, 0.0)))["mean"] == pytest.approx(0.5, abs=0.03)


def test_a_probe_is_judged_on_videos_it_has_not_seen():
    """In every video the sides are apart, but each time in another feature: nothing carries over."""
    generator = np.random.default_rng(0)
    foreground = np.arange(400) % 8 < 4  # four videos, each with both sides
    features = generator.normal(size=(400, 4)) * 0.1
    features[np.arange(400), np.arange(400) % 4] += np.where(foreground, 5, -5)
    seen = linear_probe(Pixels(features, foreground, np.array([f"v{i // 100}" for i in range(400)]), 1))
    unseen = linear_probe(pixels(features, foreground))
    assert seen["mean"] > 0.99
    assert unseen["mean"] < 0.9
    assert list(unseen) == ["mean", "v0", "v1", "v2", "v3"]


def test_one_video_leaves_none_to_judge():
    assert linear_probe(pixels(*sides(50, 1.0), videos=1)) == {"mean": None}


def test_the_silhouette_by_its_definition():
    features, foreground = sides(60, 2.0)
    standard = (features - features.mean(0)) / features.std(0)
    distances = np.linalg.norm(standard[:, None] - standard[None], axis=2)
    scores = []
    for i, side in enumerate(foreground):
        own = distances[i, foreground == side].sum() / ((foreground == side).sum() - 1)
        other = distances[i, foreground != side].mean()
        scores.append((other - own) / max(own, other))
    assert silhouette(features, foreground) == pytest.approx(np.mean(scores), abs=1e-6)


def test_the_plane_keeps_sides_apart_and_is_repeatable():
    features, foreground = sides(80, 10.0)
    first, second = embed(features), embed(features)
    for name in ("PCA", "t-SNE"):
        assert first[name].shape == (80, 2)
        assert np.array_equal(first[name], second[name])
        assert silhouette(first[name], foreground) > 0.5


def test_pixels_come_from_their_side(tmp_path: Path):
    sequences = open_benchmark("davis2016", benchmark(tmp_path, half()))
    drawn = collect_pixels(sequences, lambda image: image[::2, ::2, :1].astype(np.float32))
    assert len(drawn.foreground) == 2 * 2 * 32  # two videos, two frames that count, 16 pixels of either side
    assert drawn.foreground.sum() == 64
    assert (drawn.features[drawn.foreground] > 200).all()
    assert (drawn.features[~drawn.foreground] < 80).all()
    assert sorted(set(drawn.videos)) == ["bear", "cow"]


def test_a_benchmark_without_foreground_is_refused(tmp_path: Path):
    sequences = open_benchmark("davis2016", benchmark(tmp_path, np.zeros((48, 64), bool)))
    with pytest.raises(UserError, match=r"bear: no foreground pixel in any annotated frame"):
        collect_pixels(sequences, lambda image: image[..., :1])


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_imagenet_file_is_the_resnet_it_was_saved_from(tmp_path: Path, suffix: str):
    torch.manual_seed(0)
    source = make_backbone("resnet18", 8).eval()
    state = source.state_dict() | {"fc.weight": torch.zeros(10, 512)}
    path = tmp_path / f"resnet.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        save_file(state, path)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(load_imagenet(path, 8)(images), source(images), atol=1e-5)
    features = open_network(str(path))(np.zeros((32, 48, 3), np.uint8))
    assert features.shape == (28, 42, 512)  # 224 x 336 at stride 8


def test_a_file_without_a_layer_is_named(tmp_path: Path):
    state = make_backbone("resnet18", 8).state_dict()
    del state["layer3.1.conv2.weight"]
    save_file(state, tmp_path / "resnet.safetensors")
    with pytest.raises(UserError, match=r"resnet\.safetensors: key 'layer3\.1\.conv2\.weight' is missing"):
        load_imagenet(tmp_path / "resnet.safetensors", 8)


def test_pickled_code_is_not_run(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="nothing in it was run"):
        open_network(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


def test_the_command_writes_measures_and_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.manual_seed(0)
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, AMD(SMALL), ModelInfo(SMALL, object_segment=1, short_edge=48))
    root, out = benchmark(tmp_path / "davis", half()), tmp_path / "out"
    arguments = ["features", "--dataset", "davis2016", "--root", root, "--model", checkpoint, "--out", out]
    main([str(argument) for argument in arguments])
    report = read_json(tmp_path / "out" / "features.json")
    assert report["probe_accuracy"]["mean"] > 0.9  # bright against dark: any network tells
    assert report["protocol"]["dimensions"] == 64
    assert "silhouette" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "features.png") as figure:
        assert figure.size == (1080, 720)
