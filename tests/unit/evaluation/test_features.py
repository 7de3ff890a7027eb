"""Separability by synthetic features whose answer is known, and features of real networks and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from layouts import write_davis
from PIL import Image
from safetensors.torch import save_file

from amd.cli import main
from amd.config.profiles import load_profile
from amd.data.benchmarks.davis import BenchmarkFrame, Sequence, open_benchmark
from amd.data.images import read_image
from amd.evaluation.features import linear_probe
from amd.evaluation.pixels import Pixels, collect_pixels, network_features, saved_features
from amd.models.imagenet import load_imagenet
from amd.models.resnet import make_backbone
from amd.runtime.errors import UserError
from amd.runtime.files import read_json

SETTINGS = load_profile("quickstart").features
FOLDS = SETTINGS.folds


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
        write_davis(root, name, [(image.astype(np.uint8), truth)] * 4, "png")
    return root


def brightness(frame: BenchmarkFrame) -> np.ndarray:
    return read_image(frame.image)[::2, ::2].astype(np.float32)


def half() -> np.ndarray:
    truth = np.zeros((48, 64), bool)
    truth[:, :32] = True
    return truth


def test_a_probe_is_at_chance_where_there_is_nothing_to_tell():
    assert linear_probe(pixels(*sides(2000, 0.0)), FOLDS)["mean"] == pytest.approx(0.5, abs=0.03)


def test_a_probe_is_judged_on_videos_it_has_not_seen():
    """In every video the sides are apart, but each time in another feature: nothing carries over."""
    generator = np.random.default_rng(0)
    foreground = np.arange(400) % 8 < 4  # four videos, each with both sides
    features = generator.normal(size=(400, 4)) * 0.1
    features[np.arange(400), np.arange(400) % 4] += np.where(foreground, 5, -5)
    seen = linear_probe(Pixels(features, foreground, np.array([f"v{i // 100}" for i in range(400)]), 1), FOLDS)
    unseen = linear_probe(pixels(features, foreground), FOLDS)
    assert seen["mean"] > 0.99
    assert unseen["mean"] < 0.9
    assert list(unseen) == ["mean", "v0", "v1", "v2", "v3"]


def test_one_video_leaves_none_to_judge():
    assert linear_probe(pixels(*sides(50, 1.0), videos=1), FOLDS) == {"mean": None}


def test_pixels_come_from_their_side(tmp_path: Path):
    sequences = open_benchmark("davis2016", benchmark(tmp_path, half()))
    drawn = collect_pixels(sequences, lambda sequence, frame: brightness(frame), SETTINGS)
    assert len(drawn.foreground) == 2 * 2 * 32  # two videos, two frames that count, 16 pixels of either side
    assert drawn.foreground.sum() == 64
    assert (drawn.features[drawn.foreground] > 200).all()
    assert (drawn.features[~drawn.foreground] < 80).all()
    assert sorted(set(drawn.videos)) == ["bear", "cow"]


def test_a_benchmark_without_foreground_is_refused(tmp_path: Path):
    sequences = open_benchmark("davis2016", benchmark(tmp_path, np.zeros((48, 64), bool)))
    with pytest.raises(UserError, match=r"bear: no foreground pixel in any annotated frame"):
        collect_pixels(sequences, lambda sequence, frame: brightness(frame), SETTINGS)


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
    Image.new("RGB", (48, 32)).save(tmp_path / "black.png")
    features = network_features(str(path))(Sequence("a", ()), BenchmarkFrame("a", tmp_path / "black.png", None))
    assert features.shape == (28, 42, 512)  # 224 x 336 at stride 8


def test_the_command_writes_measures_and_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture):
    checkpoint = save_amd(tmp_path / "model.safetensors")
    root, out = benchmark(tmp_path / "davis", half()), tmp_path / "out"
    arguments = ["features", "--dataset", "davis2016", "--root", root, "--model", checkpoint, "--out", out]
    main([str(argument) for argument in arguments])
    report = read_json(tmp_path / "out" / "features.json")
    assert report["probe_accuracy"]["mean"] > 0.9  # bright against dark: any network tells
    assert report["protocol"]["dimensions"] == 64
    assert "silhouette" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "features.png") as figure:
        assert figure.size == (1080, 720)


def write_maps(sequences: list[Sequence], folder: Path) -> Path:
    for sequence in sequences:
        (folder / sequence.name).mkdir(parents=True)
        for frame in sequence.frames:
            np.save(folder / sequence.name / f"{frame.name}.npy", brightness(frame))
    return folder


def test_saved_maps_are_measured_like_a_network(tmp_path: Path):
    root = benchmark(tmp_path / "davis", half())
    sequences = open_benchmark("davis2016", root)
    maps = write_maps(sequences, tmp_path / "maps")
    drawn = collect_pixels(sequences, saved_features(maps), SETTINGS)
    wanted = collect_pixels(sequences, lambda sequence, frame: brightness(frame), SETTINGS)
    assert np.array_equal(drawn.features, wanted.features)
    arguments = ["features", "--dataset", "davis2016", "--root", root, "--maps", maps, "--out", tmp_path / "out"]
    main([str(argument) for argument in arguments])
    report = read_json(tmp_path / "out/features.json")
    assert report["probe_accuracy"]["mean"] == 1.0
    assert report["protocol"]["network"] == f"maps as given: {maps}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "this map of features is missing"),
        (b"", "not an array that is read"),
        (b"no array at all", "not an array that is read"),
        (np.array([{"a": 1}]), "not an array that is read"),  # pickled
        (np.zeros((4, 6)), r"float64 of shape \(4, 6\); a map of features is float h,w,C"),
        (np.zeros((4, 6, 2), np.uint8), "uint8 of shape"),
        (np.full((4, 6, 2), np.nan), "values that are not finite"),
        (np.zeros((4, 6, 1)), r"float64 of shape \(4, 6, 1\); a map"),
        (np.zeros((4, 6, 2)), r"2 channels, but .*00001\.npy has 3"),
    ],
)
def test_saved_maps_are_not_trusted(tmp_path: Path, content: object, message: str):
    sequences = open_benchmark("davis2016", benchmark(tmp_path / "davis", half()))
    maps = write_maps(sequences, tmp_path / "maps")
    path = maps / "bear/00002.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=rf"bear/00002\.npy: .*{message}"):
        collect_pixels(sequences, saved_features(maps), SETTINGS)


def test_truth_is_read_as_the_benchmark_codes_it(tmp_path: Path):
    """The background of FBMS-59 has a colour of its own, which is not black."""
    truth = half()
    colours = np.where(truth[..., None], 0, 255) * np.ones(3)  # the object is black
    folder = tmp_path / "FBMS/Testset/bear"
    (folder / "GroundTruth").mkdir(parents=True)
    for number in range(2):
        Image.fromarray(truth * np.uint8(200)).convert("RGB").save(folder / f"bear_{number}.jpg")
        Image.fromarray(colours.astype(np.uint8)).save(folder / f"GroundTruth/bear_{number}_gt.ppm")
    sequences = open_benchmark("fbms59", tmp_path / "FBMS")
    drawn = collect_pixels(sequences, lambda sequence, frame: brightness(frame), SETTINGS)
    assert drawn.features[drawn.foreground].min() > 100
    assert drawn.features[~drawn.foreground].max() < 100
