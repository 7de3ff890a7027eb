"""`amd segment` without a model: what moves is found, what does not is refused, and every way in gives the same."""

from pathlib import Path

import numpy as np
import pytest
from clips import encode_images
from PIL import Image

import amd
from amd.cli import main
from amd.inference.export import EXPORTS
from amd.runtime.errors import UserError
from amd.runtime.files import read_json

HEIGHT, WIDTH, FRAMES = 120, 160, 14


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A picture with detail at several sizes, uint8 H,W,3."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (height // grain, width // grain, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for grain in (2, 6, 20)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def scene(moving: bool, panning: float = 0.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames with a textured disc that moves or not, before a background that pans; and the disc's masks."""
    background, thing = texture(0, HEIGHT, 2 * WIDTH), texture(1, HEIGHT, WIDTH)
    thing[..., 0] = 230
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames, truth = [], []
    for number in range(FRAMES):
        left = round(panning * number)
        place = 40 + (4 * number if moving else -left)
        disc = (rows - 60) ** 2 + (columns - place) ** 2 < 24**2
        frame = background[:, left : left + WIDTH].copy()
        shifted = np.roll(thing, place, axis=1)
        frame[disc] = shifted[disc]
        frames.append(frame)
        truth.append(disc)
    return frames, truth


def overlap(masks: list[np.ndarray], truth: list[np.ndarray]) -> float:
    return float(np.mean([(a & b).sum() / max(1, (a | b).sum()) for a, b in zip(masks, truth, strict=True)]))


@pytest.fixture(scope="module")
def moving() -> tuple[list[np.ndarray], list[np.ndarray]]:
    return scene(moving=True, panning=1.0)


@pytest.mark.parametrize("method", ["fused", "motion", "amd"])
def test_what_moves_is_masked(method: str, moving: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    frames, truth = moving
    made = list(amd.Segmenter.from_pretrained(method=method).segment_video(frames))
    assert [frame.index for frame in made] == list(range(FRAMES))
    assert overlap([frame.mask for frame in made][1:-1], truth[1:-1]) > 0.6
    assert all(frame.confidence > 0 and not frame.reason for frame in made[1:-1])


@pytest.mark.parametrize("frames", ["still", "black", "noise"])
def test_nothing_that_moves_is_said_in_one_line(frames: str) -> None:
    rng = np.random.default_rng(0)
    made = {
        "still": scene(moving=False)[0],
        "black": [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 8,
        "noise": list(rng.integers(0, 256, (8, HEIGHT, WIDTH, 3), np.uint8)),
    }[frames]
    for frame in amd.Segmenter.from_pretrained().segment_video(made):
        assert not frame.mask.any()
        assert frame.confidence == 0
        assert frame.reason.startswith("no confident object")


def test_the_command_needs_no_other_word(
    moving: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encode_images(tmp_path / "clip.mp4", moving[0])
    main(["segment", "clip.mp4", "--threads", "1", "--export", ",".join(EXPORTS)])
    summary = read_json("segmented/summary.json")
    (row,) = summary["inputs"]
    assert (summary["method"], row["video_id"], row["frames"], row["warnings"]) == ("fused", "clip", FRAMES, [])
    assert row["confidence"] > 0.3
    for kind in EXPORTS.values():
        assert list(Path("segmented/clip").glob(kind.place + "*" if kind.place.endswith("/") else kind.place))
    masks = [np.array(Image.open(path)) == 255 for path in sorted(Path("segmented/clip/masks").iterdir())]
    assert overlap(masks[1:-1], moving[1][1:-1]) > 0.6
    first = {path: path.read_bytes() for path in Path("segmented/clip/masks").iterdir()}
    main(["segment", "clip.mp4", "--threads", "1", "--out", "again"])
    assert {path: Path("again/clip/masks", path.name).read_bytes() for path in first} == first  # to the bit


def test_a_part_of_the_video_and_an_object_at_a_point(
    moving: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = encode_images(tmp_path / "clip.mp4", moving[0])
    words = ["segment", str(clip), "--method", "flow", "--threads", "1", "--out", str(tmp_path / "out")]
    main([*words, "--start", "0.2", "--end", "0.4", "--every", "2"])
    assert sorted(path.stem for path in (tmp_path / "out/clip/masks").iterdir()) == ["000005", "000007", "000009"]
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--keep", "155,5@0.2"])
    assert "no object at that point" in capsys.readouterr().err


def test_a_photo_is_refused_in_one_line(tmp_path: Path) -> None:
    Image.fromarray(texture(0, 40, 60)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match="a photo has no motion"):
        amd.Segmenter.from_pretrained().segment_image(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "motion", "--model", "m.safetensors"], "--model: the method motion has no use for it"),
        (["--method", "transfer"], "--method transfer: needs an instance embedding"),
        (["--segment", "1"], "--segment: without --model"),
        (["--start", "3", "--end", "2"], "the end must lie after the start"),
        (["--keep", "here"], "--keep here: not a point"),
        (["--export", "gif"], "'gif' is no export"),
    ],
)
def test_words_that_do_not_go_together(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["segment", str(tmp_path), "--out", str(tmp_path / "out"), *words])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
