"""`amd segment` without a model: what moves is found, what does not is refused, and every way in gives the same."""

import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import encode_images
from commands import refused
from PIL import Image
from projects import REPOSITORY
from scenes import FRAMES, HEIGHT, WIDTH, scene

import amd
from amd.cli import main
from amd.config.fused import Confidence, Fused
from amd.data.synthetic.layer_textures import Textures
from amd.data.synthetic.still_scenes import draw_still
from amd.evaluation.metrics import jaccard
from amd.inference.export import EXPORTS
from amd.models.evidence import load_evidence, save_evidence
from amd.motion.per_image import PHOTOS
from amd.runtime.errors import UserError
from amd.runtime.files import read_json

SEED_OF_A_NEAR_THING = 800_038


@pytest.fixture(scope="module")
def moving() -> tuple[list[np.ndarray], list[np.ndarray]]:
    return scene(moving=True, panning=1.0)


@pytest.mark.parametrize(("method", "adapt"), [("motion", None), ("amd", 50)])  # fused: as a command, below
def test_what_moves_is_masked(
    method: str, adapt: int | None, moving: tuple[list[np.ndarray], list[np.ndarray]]
) -> None:
    frames, truth = moving
    made = list(amd.Segmenter.from_pretrained(method=method, adapt=adapt).segment_video(frames))
    assert [frame.index for frame in made] == list(range(FRAMES))
    assert np.mean([jaccard(frame.mask, mask) for frame, mask in zip(made, truth, strict=True)][1:-1]) > 0.6
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


def test_near_things_that_a_moving_camera_passes_are_no_object() -> None:
    frames = draw_still(Textures([], 1.0, seed=77), "past", SEED_OF_A_NEAR_THING, range(-5, 6))
    made = list(amd.Segmenter.from_pretrained().segment_video(frames))
    assert not any(frame.mask.any() for frame in made)
    assert "as near and far things do before a moving camera" in made[0].reason
    lenient = Fused(confidence=Confidence(most_parallax=1.0))
    taken = amd.Segmenter.from_pretrained(settings=lenient).segment_video(frames)
    assert any(frame.mask.any() for frame in taken)  # what refuses it is nothing else


def test_the_command_needs_no_other_word(
    moving: tuple[list[np.ndarray], list[np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    encode_images(tmp_path / "clip.mp4", moving[0])
    main(["segment", "clip.mp4", "--threads", "1", "--export", ",".join(EXPORTS)])
    progress = capsys.readouterr().err
    for phase, total in (("flow and evidence", FRAMES), ("masks", FRAMES)):
        assert re.search(rf"clip {phase}: 100%.* {total}/{total} ", progress)
    summary = read_json("segmented/summary.json")
    (row,) = summary["inputs"]
    assert (summary["method"], row["video_id"], row["frames"], row["warnings"]) == ("fused", "clip", FRAMES, [])
    assert row["confidence"] > 0.3
    for kind in EXPORTS.values():
        assert list(Path("segmented/clip").glob(kind.place + "*" if kind.place.endswith("/") else kind.place))
    masks = [np.array(Image.open(path)) == 255 for path in sorted(Path("segmented/clip/masks").iterdir())]
    assert np.mean([jaccard(*pair) for pair in zip(masks, moving[1], strict=True)][1:-1]) > 0.6
    made = []
    for out in "ab":  # a fit of 3 iterations shows as well that it is the same to the bit
        main(["segment", "clip.mp4", "--threads", "1", "--adapt", "3", "--soft", "--out", out])
        assert "clip fit: 100%" in capsys.readouterr().err
        made.append([path.read_bytes() for path in sorted(Path(out, "clip").glob("*/*.png"))])
    assert len(made[0]) == 2 * FRAMES
    assert made[0] == made[1]


def test_evidence_of_ones_own_takes_the_place_of_the_packaged(
    moving: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that says "moves" of nothing leaves no mask; a file that is none is refused before any work."""
    clip = encode_images(tmp_path / "clip.mp4", moving[0])
    network, info = load_evidence()
    torch.nn.init.zeros_(network.unet.head.weight)
    torch.nn.init.constant_(network.unet.head.bias, -5.0)
    save_evidence(tmp_path / "own.safetensors", network, info)
    words = ["segment", str(clip), "--method", "motion", "--threads", "1", "--out", str(tmp_path / "out"), "--evidence"]
    main([*words, str(tmp_path / "own.safetensors")])
    assert read_json(tmp_path / "out/summary.json")["inputs"][0]["mean_area"] == 0
    assert "clip.mp4: not a readable file of weights" in refused(capsys, main, [*words, str(clip)])


def test_a_part_of_the_video_and_an_object_at_a_point(
    moving: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = encode_images(tmp_path / "clip.mp4", moving[0])
    words = ["segment", str(clip), "--method", "flow", "--threads", "1", "--out", str(tmp_path / "out")]
    main([*words, "--start", "0.2", "--end", "0.4", "--every", "2"])
    assert sorted(path.stem for path in (tmp_path / "out/clip/masks").iterdir()) == ["000005", "000007", "000009"]
    assert "| 3/3 " in capsys.readouterr().err, "time left is told of a part, too"
    for point in ("155,5@0.2", "154,5@0.2"):
        assert "no object at that point" in refused(capsys, main, [*words, "--keep", point])
    assert not (tmp_path / "out/clip-3").exists(), "a point that meant nothing takes no folder"


def test_a_photo_is_segmented_by_the_packaged_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As `--model` with its file does; where motion alone is asked for, it is refused."""
    photo = tmp_path / "photo.png"
    with av.open(str(REPOSITORY / "examples/blackswan.mp4")) as clip:
        frame = next(clip.decode(video=0)).to_ndarray(format="rgb24")
    Image.fromarray(frame).save(photo)
    main(["segment", str(photo), "--out", str(tmp_path / "out")])
    assert "warning: a photo shows no motion: the packaged model" in capsys.readouterr().out
    main(["segment", str(photo), "--out", str(tmp_path / "same"), "--model", str(PHOTOS)])
    made, same = (np.array(Image.open(tmp_path / name / "photo/masks/photo.png")) for name in ("out", "same"))
    assert made.shape == frame.shape[:2]
    np.testing.assert_array_equal(made, same)
    found = amd.Segmenter.from_pretrained().segment_image(photo)
    np.testing.assert_array_equal(found.mask, made > 0)
    assert found.confidence == pytest.approx(2 * found.soft[found.mask].mean() - 1 if found.mask.any() else 0)
    with pytest.raises(UserError, match="a photo has no motion"):
        amd.Segmenter.from_pretrained(method="motion").segment_image(photo)


def test_packaged_weights_are_small_together() -> None:
    assert sum(path.stat().st_size for path in PHOTOS.parent.iterdir()) <= 4_000_000


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
    assert message in refused(capsys, main, ["segment", str(tmp_path), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()
