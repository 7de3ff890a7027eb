"""Images, folders and videos in, masks out: right, whole, resumable, and one bad input stops no other."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import ANY

import av
import numpy as np
import pytest
import torch
from checkpoints import save_amd
from clips import (
    cornered_picture,
    corners,
    encode,
    photo,
    read_number,
    with_blank_samples,
)
from layouts import write_davis
from PIL import Image

from amd.config import load_params
from amd.data.benchmarks.davis import Sequence, davis2016
from amd.data.benchmarks.predictions import check_predictions, masks_folder, segments_folder
from amd.data.images import read_mask
from amd.data.pairs.select import PairFilter
from amd.draw.overlay import COLOUR, OPACITY, draw_mask
from amd.inference.inputs import segment_inputs
from amd.inference.segmenter import segment_sequence
from amd.models.amd import AMD
from amd.models.inference import soft_masks
from amd.models.loading import open_model
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, run_lock, write_json
from amd.training.adaptation import adapt, sample_pairs
from amd.training.draws import Clip
from stages import predict

SHORT_EDGE = 32
SEGMENT = 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_amd(tmp_path_factory.mktemp("model") / "small.safetensors", 5, SEGMENT, SHORT_EDGE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve numbered frames of 96x72."""
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4")


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_frames(folder: Path, names: list[str], **size: int) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        Image.fromarray(noise(seed, **size)).save(folder / name)
    return folder


def run(paths: Path | list[Path], checkpoint: Path, out: Path, **options) -> list[dict]:
    """Segment without failures; the summary's rows."""
    segment_inputs(paths if isinstance(paths, list) else [paths], out, str(checkpoint), **options)
    return read_json(out / "summary.json")["inputs"]


def only_folder(out: Path) -> Path:
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def probabilities(checkpoint: Path, image: np.ndarray) -> np.ndarray:
    model, info = open_model(checkpoint)
    return soft_masks(model, torch.from_numpy(np.ascontiguousarray(image)), info.short_edge).numpy()


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_a_video_gets_a_mask_per_frame_at_its_own_size(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    (row,) = run(clip, checkpoint, tmp_path / "out", soft=True)
    folder = tmp_path / "out" / row["video_id"]
    assert sorted(path.name for path in (folder / "masks").iterdir()) == [f"{n:06d}.png" for n in range(12)]
    areas = []
    for number, image in enumerate(decoded(clip)):
        expected = probabilities(checkpoint, image)
        mask, soft = (pixels(folder / kind / f"{number:06d}.png") for kind in ("masks", "soft"))
        assert mask.shape == soft.shape == (72, 96)
        assert set(np.unique(mask)) <= {0, 255}
        # decoders differ by a grey level or so
        assert np.mean((mask == 255) == (expected.argmax(0) == SEGMENT)) > 0.99
        assert np.abs(soft / 255 - expected[SEGMENT]).max() < 0.03
        areas.append(np.mean(mask == 255))
    assert 0 < row["mean_area"] < 1
    assert row["mean_area"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert (row["frames"], row["width"], row["height"], row["failed"], row["warnings"]) == (12, 96, 72, False, [])
    summary = read_json(tmp_path / "out/summary.json")
    assert (summary["model"], summary["object_segment"], summary["adapt"]) == (str(checkpoint), SEGMENT, None)


def test_images_and_folders_keep_their_frames_names(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "my frames", ["b1.png", "b2.png", "b10.png"])
    image = write_frames(tmp_path / "bilder", ["löwe im gras.png"], height=41, width=33) / "löwe im gras.png"
    rows = run([folder, image], checkpoint, tmp_path / "out")
    names = [sorted(path.stem for path in (tmp_path / "out" / row["video_id"] / "masks").iterdir()) for row in rows]
    assert names == [["b1", "b10", "b2"], ["löwe im gras"]]
    mask = pixels(tmp_path / "out" / rows[1]["video_id"] / "masks" / "löwe im gras.png") == 255
    assert mask.shape == (41, 33)
    assert np.array_equal(mask, probabilities(checkpoint, pixels(image)).argmax(0) == SEGMENT)


def test_frames_of_one_stem_do_not_overwrite_each_other(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", ["a.png", "a.bmp"])
    run(folder, checkpoint, tmp_path / "out")
    masks = only_folder(tmp_path / "out") / "masks"
    assert sorted(path.name for path in masks.iterdir()) == ["a.bmp.png", "a.png.png"]


def test_draw_mask_tints_inside_and_leaves_outside() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    drawn = draw_mask(image, mask)
    inside = [int(100 * (1 - OPACITY) + colour * OPACITY) for colour in COLOUR]
    assert np.abs(drawn[20, 20].astype(int) - inside).max() <= 1
    assert np.abs(drawn[10, 20].astype(int) - COLOUR).max() < 20  # the outline, but for antialiasing
    assert (drawn[:8] == 100).all()
    assert (image == 100).all()


@pytest.mark.parametrize(("object_segment", "segment"), [(None, None), (2, 5), (2, -1)])
def test_without_an_object_segment_nothing_is_done(
    object_segment: int | None, segment: int | None, clip: Path, tmp_path: Path
) -> None:
    model = save_amd(tmp_path / "m.safetensors", 5, object_segment)
    with pytest.raises(UserError, match="--segment"):
        run(clip, model, tmp_path / "out", segment=segment)
    assert not (tmp_path / "out").exists()


def test_another_segment_can_be_chosen(clip: Path, checkpoint: Path, tmp_path: Path) -> None:
    union = np.zeros((72, 96), int)
    for segment in range(5):
        run(clip, checkpoint, tmp_path / str(segment), segment=segment)
        union += pixels(only_folder(tmp_path / str(segment)) / "masks" / "000000.png") == 255
    assert (union == 1).all()  # every pixel belongs to one segment


def test_a_bad_input_is_reported_and_stops_no_other(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    mixed = write_frames(tmp_path / "mixed", ["0.png", "1.png"])
    Image.fromarray(noise(9, 30, 30)).save(mixed / "2.png")
    broken = write_frames(tmp_path / "broken", ["x.png"]) / "x.png"
    broken.write_bytes(broken.read_bytes()[:90])
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    paths = [tmp_path / "empty.mp4", tmp_path / "text.mp4", mixed, tmp_path / "none.mp4", broken, loop, clip]
    with pytest.raises(UserError, match=r"^6 of 7 inputs failed: empty\.mp4: .*; text\.mp4: .*; and 3 more"):
        run(paths, checkpoint, tmp_path / "out")
    rows = {Path(row["path"]).name: row for row in read_json(tmp_path / "out" / "summary.json")["inputs"]}
    assert [row["failed"] for row in rows.values()] == [True] * 6 + [False]
    assert rows["clip.mp4"]["frames"] == 12
    assert "2 of 3 images" in rows["mixed"]["reason"]
    assert "2.png is 30x30" in rows["mixed"]["reason"]
    assert "no such file" in rows["none.mp4"]["reason"]
    assert "x.png" in rows["broken"]["reason"]


def test_a_damaged_end_is_a_warning(checkpoint: Path, tmp_path: Path) -> None:
    clips = [
        encode(tmp_path / "uncounted.mkv", frames=40),
        encode(tmp_path / "counted.mp4", frames=40, container_options={"movflags": "faststart"}),
    ]
    for clip in clips:
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 4 // 5])
    rows = run(clips, checkpoint, tmp_path / "out", overlay=True)
    for row in rows:
        assert 5 < row["frames"] < 40
        assert len(decoded(tmp_path / "out" / row["video_id"] / "overlay.mp4")) == row["frames"]
    warning = rows[1]["warnings"][0]
    assert f"{rows[1]['frames']} " in warning
    assert warning.startswith(("damaged: ", "truncated: "))


def test_a_rerun_does_nothing_twice(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    first = run(clip, checkpoint, tmp_path / "out", soft=True)
    masks = only_folder(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in masks.rglob("*.png")}
    assert run(clip, checkpoint, tmp_path / "out", soft=True) == first
    second = run(clip, checkpoint, tmp_path / "out", overlay=True)  # asks for more: the masks are taken as they are
    assert second[0]["mean_area"] == first[0]["mean_area"]
    assert {path: path.stat().st_mtime_ns for path in masks.rglob("*.png")} == times
    assert len(decoded(masks / "overlay.mp4")) == 12
    (masks / "masks" / "000003.png").unlink()
    run(clip, checkpoint, tmp_path / "out")
    remade = [path.name for path, old in times.items() if path.stat().st_mtime_ns != old]
    assert remade == ["000003.png"]


@pytest.mark.parametrize("change", ["input", "model", "segment", "adapt", "every"])
def test_masks_of_anything_else_get_a_folder_of_their_own(
    change: str, checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    video = shutil.copy(clip, tmp_path / "clip.mp4")
    run(Path(video), checkpoint, tmp_path / "out", overlay=True)
    before = files(tmp_path / "out/clip")
    options = {}
    if change == "input":
        encode(Path(video), frames=5)
    elif change == "model":
        checkpoint = save_amd(tmp_path / "other.safetensors", 5, SEGMENT, SHORT_EDGE, seed=1)
    else:
        options = {change: 3}
    (row,) = [row for row in run(Path(video), checkpoint, tmp_path / "out", **options) if row["video_id"] == "clip-2"]
    run(Path(video), checkpoint, tmp_path / "fresh", **options)
    assert files(tmp_path / "out/clip-2") == files(tmp_path / "fresh/clip") != before
    assert files(tmp_path / "out/clip") == before
    assert len(files(tmp_path / "out/clip-2")) == row["frames"]


def test_a_killed_run_goes_on_where_it_was(checkpoint: Path, tmp_path: Path) -> None:
    clip = encode(tmp_path / "long.mp4", frames=60, size=(480, 360))
    command = [sys.executable, "-m", "amd.cli", "segment", clip, "--model", checkpoint, "--out", tmp_path / "out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--overlay"], stderr=subprocess.DEVNULL, env=environment)
    while len(done := sorted((tmp_path / "out").glob("*/masks/*.png"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = [path.stat().st_mtime_ns for path in done]
    assert not list((tmp_path / "out").rglob("overlay.mp4"))
    run(clip, checkpoint, tmp_path / "out", overlay=True)
    run(clip, checkpoint, tmp_path / "fresh")
    assert [path.stat().st_mtime_ns for path in done] == times
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_two_runs_at_once_do_not_mix(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    with run_lock(tmp_path / "out" / ".segment.lock", "the other"), pytest.raises(UserError, match="another run"):
        run(clip, checkpoint, tmp_path / "out")


def test_files_of_one_name_stay_apart(checkpoint: Path, tmp_path: Path) -> None:
    clips = []
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        clips.append(encode(tmp_path / name / "clip.mp4", frames=3 + number))
    rows = run([*clips, clips[0]], checkpoint, tmp_path / "both")  # the same file twice is one input
    assert [row["frames"] for row in rows] == [3, 4]
    assert len({row["video_id"] for row in rows}) == 2
    assert [row["video_id"] for row in rows] == ["clip", "clip-2"]
    run(clips[0], checkpoint, tmp_path / "out")
    before = files(tmp_path / "out")
    run(clips[1], checkpoint, tmp_path / "out")
    assert files(tmp_path / "out") == before | {f"clip-2/masks/{n:06d}.png": ANY for n in range(4)}


def test_a_folder_that_is_not_ours_is_left_alone(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    run(clip, checkpoint, tmp_path / "out")
    folder = only_folder(tmp_path / "out")
    shutil.rmtree(folder)
    (folder / "masks").mkdir(parents=True)
    (folder / "masks" / "000000.png").write_bytes(b"precious")
    with pytest.raises(UserError, match="not made by amd segment"):
        run(clip, checkpoint, tmp_path / "out")
    assert (folder / "masks" / "000000.png").read_bytes() == b"precious"


def test_adaptation_changes_masks_the_same_way_every_time(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    (plain,) = run(clip, checkpoint, tmp_path / "plain")
    (adapted,) = run(clip, checkpoint, tmp_path / "adapted", adapt=4)
    run(clip, checkpoint, tmp_path / "again", adapt=4)
    assert adapted["warnings"] == plain["warnings"] == []
    assert files(tmp_path / "adapted") == files(tmp_path / "again") != files(tmp_path / "plain")


def test_an_image_or_a_still_video_is_not_adapted_to(checkpoint: Path, tmp_path: Path) -> None:
    still = write_frames(tmp_path / "still", ["0.png"])
    shutil.copy(still / "0.png", still / "1.png")
    rows = run([still, still / "0.png"], checkpoint, tmp_path / "out", adapt=4)
    run([still], checkpoint, tmp_path / "plain")
    assert [row["warnings"][0].split(";")[0] for row in rows] == [
        "nothing moves in it, so there is nothing to adapt to",
        "one image has no motion to adapt to",
    ]
    plain = only_folder(tmp_path / "plain")
    assert files(tmp_path / "out" / plain.name) == files(plain)


def test_adaptation_draws_pairs_of_adjacent_frames_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def watched(model: AMD, clip: Clip, settings, **_: object) -> AMD:
        numbers = [read_number(image.permute(1, 2, 0).numpy()) for image in clip.images]
        drawn.extend((numbers[first], numbers[second]) for first, second in clip.pairs)
        return adapt(model, clip, settings)

    monkeypatch.setattr("amd.training.adaptation.adapt", watched)
    run(encode(tmp_path / "clip.mp4", frames=20), checkpoint, tmp_path / "out", adapt=1)
    cuts = [7, 15]  # where so many columns change that it is one
    assert drawn == [(n, n + 1) for n in range(19) if n not in cuts]


@pytest.mark.parametrize("frames", [2, 9, 17, 40, 300])
def test_sampled_pairs_are_few_even_and_adjacent(frames: int) -> None:
    images = [noise(n, 16, 16) + np.uint8(0) for n in range(frames)]
    number = {id(image): n for n, image in enumerate(images)}
    pairs = sample_pairs(images, 2, PairFilter(0.0, 255.0), most=8)
    starts = [number[id(first)] for first, _ in pairs]
    assert all(number[id(second)] == start + 2 for start, (_, second) in zip(starts, pairs, strict=True))
    available = frames - 2
    stride = next(2**power for power in range(20) if -(-available // 2**power) <= 8)
    assert starts == list(range(0, available, stride))


def test_still_pairs_and_cuts_are_not_sampled() -> None:
    grey = [np.full((32, 32, 3), value, np.uint8) for value in (10, 10, 14, 18, 22, 26, 230, 234, 238)]
    pairs = sample_pairs(grey, 1, PairFilter(0.3, 40.0))
    assert [int(first[0, 0, 0]) for first, _ in pairs] == [10, 14, 18, 22, 230, 234]


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    """Three frames of 64x48 with annotations, in DAVIS's layout under tmp_path."""
    nothing = np.zeros((48, 64), bool)
    return davis2016(write_davis(tmp_path, "bear", [(noise(seed), nothing) for seed in range(3)], "png"))[0]


def test_a_sequence_gets_masks_and_label_maps(checkpoint: Path, sequence: Sequence, tmp_path: Path) -> None:
    model, info = open_model(checkpoint)
    segment_sequence(model, info, sequence, tmp_path / "out", "davis2016")
    masks, segments = (folder(tmp_path / "out", "davis2016") for folder in (masks_folder, segments_folder))
    check_predictions([sequence], masks)
    check_predictions([sequence], segments)
    for frame in sequence.frames:
        expected = probabilities(checkpoint, pixels(frame.image)).argmax(0)
        assert np.array_equal(pixels(segments / "bear" / f"{frame.name}.png"), expected)
        assert np.array_equal(pixels(masks / "bear" / f"{frame.name}.png"), 255 * (expected == SEGMENT))


def test_a_sequence_needs_an_object_segment(sequence: Sequence, tmp_path: Path) -> None:
    model, info = open_model(save_amd(tmp_path / "m.safetensors", 5, None))
    with pytest.raises(UserError, match="objectness"):
        segment_sequence(model, info, sequence, tmp_path / "out", "davis2016")


def test_the_predict_stage_keeps_finished_sequences(
    checkpoint: Path, sequence: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Numbers:
        def metrics(self, values: dict) -> None:
            assert values == {"sequences": 1, "frames": 3}

    params = load_params(Path(predict.__file__).parent.parent / "params.yaml")
    data = params.data.model_copy(update={"benchmark": "davis2016", "benchmark_root": str(tmp_path)})
    params = params.model_copy(update={"data": data})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    shutil.copy(checkpoint, "models/amd.safetensors")
    stray = Path("predictions/image/masks/davis2016/gone/0.png")
    stray.parent.mkdir(parents=True)
    stray.touch()
    times = []
    for _ in range(2):
        predict.main(params, Numbers())
        check_predictions([sequence], Path("predictions/image/masks/davis2016"))
        times.append([path.stat().st_mtime_ns for path in sorted(Path("predictions/image").rglob("*.png"))])
    save_amd("models/amd.safetensors", 5, SEGMENT, SHORT_EDGE, seed=1)
    predict.main(params, Numbers())
    times.append([path.stat().st_mtime_ns for path in sorted(Path("predictions/image").rglob("*.png"))])
    assert len(times[0]) == 6
    assert times[0] == times[1]
    assert not set(times[1]) & set(times[2])


def test_odd_real_videos_are_segmented(checkpoint: Path, shared_data: Path, tmp_path: Path) -> None:
    sizes = {
        "h265_10bits.mp4": (200, 200),
        "imageio_issue245.gif": (30, 24),
        "unordered.mov": (50, 50),
        "video_90.mov": (320, 568),
        "h265_video.mp4": (128, 128),
    }
    rows = run([shared_data / "odd_videos" / name for name in sizes], checkpoint, tmp_path / "out")
    assert [(row["width"], row["height"]) for row in rows] == list(sizes.values())
    assert [row["frames"] for row in rows] == [30, 1, 4, 3, 10]


def test_masks_of_a_damaged_receipt_are_not_believed(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    run(clip, checkpoint, tmp_path / "out")
    receipt = tmp_path / "out/clip/receipt.json"
    for content in ([], {"key": 3}):
        write_json(receipt, content)
        assert "clip-2" in [row["video_id"] for row in run(clip, checkpoint, tmp_path / "out")]
    assert files(tmp_path / "out/clip") == files(tmp_path / "out/clip-2")


@pytest.mark.parametrize(
    ("name", "orientation"),
    [*((name, turn) for name in ("photo.jpg", "photo.png") for turn in (1, 3, 6, 8)), ("photo.heic", 6)],
)
def test_a_photo_is_segmented_as_it_is_displayed(name: str, orientation: int, checkpoint: Path, tmp_path: Path) -> None:
    path = photo(tmp_path / name, orientation, quality=95)
    (row,) = run(path, checkpoint, tmp_path / "out", overlay=True, soft=True)
    assert (row["width"], row["height"], row["failed"]) == (64, 32, False)
    folder = only_folder(tmp_path / "out")
    assert read_mask(folder / "masks/photo.png").shape == (32, 64)
    overlay, mask = np.array(Image.open(folder / "overlay.png")), read_mask(folder / "masks/photo.png")
    assert corners(np.where(mask[..., None], cornered_picture(64, 32), overlay)) == "RGBW"
    expected = probabilities(checkpoint, cornered_picture(64, 32)).argmax(0) == SEGMENT
    heic = name.endswith("heic")  # whose own rotation stands beside EXIF's, as phones write it
    assert not heic or b"irot" in path.read_bytes()
    assert (mask == expected).mean() > (0.95 if heic else 0.97)  # the coding's own differences
    (raw,) = run(path, checkpoint, tmp_path / "raw", raw_orientation=True)
    assert (raw["width"], raw["height"]) == ((32, 64) if orientation in (6, 8) and not heic else (64, 32))


def test_damaged_exif_is_no_reason_to_refuse_a_photo(checkpoint: Path, tmp_path: Path) -> None:
    path = photo(tmp_path / "photo.jpg", 6)
    path.write_bytes(path.read_bytes().replace(b"MM\x00*", b"MM\xff*"))
    (row,) = run(path, checkpoint, tmp_path / "out")
    assert not row["failed"]


def test_results_inside_the_input_are_not_segmented_again(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/clip.mp4")
    for _ in range(2):
        rows = run(tmp_path / "in", checkpoint, tmp_path / "in/out", overlay=True)
        assert [Path(row["path"]).name for row in rows] == ["clip.mp4"]
    assert "left out 1 folder made by amd segment" in capsys.readouterr().err


def test_a_second_run_into_a_folder_keeps_the_inputs_of_the_first(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = encode(tmp_path / "a.mp4", frames=2), encode(tmp_path / "b.mp4", frames=3)
    run(first, checkpoint, out)
    assert [row["frames"] for row in run(second, checkpoint, out)] == [2, 3]
    assert [row["frames"] for row in run(first, checkpoint, out)] == [3, 2]
    (gone,) = out.glob("b")
    shutil.rmtree(gone)
    assert [Path(row["path"]).name for row in run(first, checkpoint, out)] == ["a.mp4"]
    (out / "summary.json").write_text("torn")
    assert [Path(row["path"]).name for row in run(first, checkpoint, out)] == ["a.mp4"]


def test_a_lost_frame_leaves_a_gap_and_a_word(checkpoint: Path, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", frames=20, options={"g": "5", "bf": "0"})
    path = with_blank_samples(whole, {12}, tmp_path / "clip.mp4")
    (row,) = run(path, checkpoint, tmp_path / "out", overlay=True)
    assert row["warnings"][0] == "1 of 20 frames lost near 0.4 s"
    folder = only_folder(tmp_path / "out")
    masks = sorted(int(mask.stem) for mask in (folder / "masks").iterdir())
    assert masks == [*range(12), *range(13, 20)]
    with av.open(str(folder / "overlay.mp4")) as overlay:
        times = sorted(float(frame.time) for frame in overlay.decode(video=0))
    assert times == pytest.approx(np.array(masks) / 25, abs=1e-3)
