"""Shards of frame pairs from real encoded clips: content, repeatability, reuse, interruption, bad input."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from clips import encode as encode_numbered
from clips import with_blank_samples
from moving_scenes import EVERY_PAIR, clip, content, row, samples

from amd.data.pairs.select import thumbnail
from amd.data.pairs.write import write_shards
from amd.data.tables import INDEX, MANIFEST, PAIRS, read_table, write_table
from amd.runtime.errors import UserError
from amd.runtime.files import run_lock
from stages import run_stage
from stages import shard as stage

SHARD = EVERY_PAIR.model_copy(update={"pairs_per_shard": 5, "min_change": 0.3, "max_change": 40.0})
FRAMES = 12


def moving(seed: int, frames: int = FRAMES, brightness: int = 0) -> np.ndarray:
    """uint8 T,64,96,3: a soft texture that moves 2 pixels a frame."""
    noise = np.random.default_rng(seed).integers(0, 256, (64, 96 + 2 * frames, 3)).astype(np.float32)
    soft = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 120, cv2.NORM_MINMAX) + brightness
    return np.stack([soft[:, 2 * i : 2 * i + 96].astype(np.uint8) for i in range(frames)])


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    """A moving clip, one with frame 5 shown three times, one with a cut between frames 5 and 6."""
    folder = tmp_path_factory.mktemp("videos")
    still = moving(1)
    still[6:8] = still[5]
    cut = np.concatenate([moving(2, 6), moving(3, 6, brightness=130)])
    return [clip(folder, "moving", moving(0)), clip(folder, "still", still), clip(folder, "cut", cut)]


@pytest.fixture(scope="module")
def sharded(rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert write_shards(rows, folder, SHARD) == 11 + 9 + 10
    return folder


def identity(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every shard: they change when a file is written again, even with the same bytes."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.tar")}


def frame_pairs(folder: Path, video_id: str) -> list[list[int]]:
    return [json.loads(sample["meta.json"])["frames"] for sample in samples(folder, video_id)]


def test_samples_hold_the_decoded_frames_and_say_which(rows, sharded):
    with av.open(rows[0]["path"]) as container:
        truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = samples(sharded, "moving")
    assert [sample["__key__"] for sample in found] == [f"moving-{index:08d}" for index in range(11)]
    for index, sample in enumerate(found):
        for name, frame in (("first.jpg", truth[index]), ("second.jpg", truth[index + 1])):
            error = np.abs(simplejpeg.decode_jpeg(sample[name]).astype(int) - frame)
            assert error.mean() < 2.5
        meta = json.loads(sample["meta.json"])
        assert meta.pop("timestamps") == pytest.approx([index / 24, (index + 1) / 24], abs=2e-3)
        assert meta == {"video_id": "moving", "frames": [index, index + 1], "height": 64, "width": 96}
        assert list(json.loads(sample["meta.json"])) == sorted(meta | {"timestamps": 0})
    for before, after in pairwise(found):
        assert before["second.jpg"] == after["first.jpg"]


def test_colour_is_kept_at_full_size(sharded):
    jpeg = samples(sharded, "moving")[0]["first.jpg"]
    assert simplejpeg.decode_jpeg_header(jpeg)[3] == "444"


def test_still_pairs_and_cuts_are_dropped_and_counted(sharded):
    assert frame_pairs(sharded, "still") == [[i, i + 1] for i in range(11) if i not in (5, 6)]
    assert frame_pairs(sharded, "cut") == [[i, i + 1] for i in range(11) if i != 5]
    table = {line["video_id"]: line for line in read_table(sharded / "pairs.parquet", PAIRS)}
    counts = {name: (line["pairs"], line["dropped_still"], line["dropped_cut"]) for name, line in table.items()}
    assert counts == {"moving": (11, 0, 0), "still": (9, 2, 0), "cut": (10, 0, 1)}
    assert all(1 < line["median_change"] < 40 for line in table.values())


def test_the_index_tells_the_truth(sharded):
    index = read_table(sharded / "index.parquet", INDEX)
    assert {line["shard"] for line in index} == {path.name for path in sharded.glob("*.tar")}
    assert [line["samples"] for line in index if line["video_ids"] == ["moving"]] == [5, 5, 1]
    for line in index:
        path = sharded / line["shard"]
        assert line["bytes"] == path.stat().st_size
        assert line["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert line["samples"] * 3 == len(members)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_two_workers_and_another_order_give_the_same_bytes(rows, sharded, tmp_path):
    write_shards(rows[::-1], tmp_path, SHARD.model_copy(update={"workers": 2}))
    assert content(tmp_path) == content(sharded)


def test_videos_come_and_go_without_touching_the_others(rows, sharded, tmp_path):
    assert write_shards(rows[:2], tmp_path, SHARD) == 11 + 9
    before = identity(tmp_path)
    assert write_shards(rows, tmp_path, SHARD) == 10
    assert before.items() < identity(tmp_path).items()
    assert content(tmp_path) == content(sharded)
    two_workers = SHARD.model_copy(update={"workers": 2})  # not a reason to do anything again
    assert write_shards(rows[:2], tmp_path, two_workers) == 0
    assert identity(tmp_path) == before
    assert {line["video_id"] for line in read_table(tmp_path / "pairs.parquet", PAIRS)} == {"moving", "still"}
    assert not (tmp_path / "videos/cut.json").exists()


def test_what_changed_or_was_damaged_is_done_again_and_nothing_else(rows, sharded, tmp_path):
    write_shards(rows, tmp_path, SHARD)
    shard = tmp_path / "still-00001.tar"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # its size is right: DVC would take it for the stage's work
    shard.write_bytes(damaged)
    (tmp_path / "videos/cut.json").write_text('{"video_id": "cut"')
    (tmp_path / ".moving-00000.tar.abcdefgh.part").write_bytes(b"half")  # as a killed run leaves behind
    before = identity(tmp_path)
    assert write_shards(rows, tmp_path, SHARD) == 9 + 10
    assert content(tmp_path) == content(sharded)
    after = identity(tmp_path)
    assert {name for name in after if after[name] == before[name]} == {f"moving-0000{i}.tar" for i in range(3)}
    changed = [rows[0] | {"sha256": "another"}, *rows[1:]]
    assert write_shards(changed, tmp_path, SHARD) == 11
    assert write_shards(changed, tmp_path, SHARD.model_copy(update={"pairs_per_shard": 100})) == 30
    assert len(identity(tmp_path)) == 3  # the shards that the smaller size needed are gone


def test_gap_rate_and_size(rows, tmp_path):
    write_shards(rows[:1], tmp_path / "gap", SHARD.model_copy(update={"gap": 2, "short_edge": 40}))
    assert frame_pairs(tmp_path / "gap", "moving") == [[i, i + 2] for i in range(10)]
    meta = json.loads(samples(tmp_path / "gap", "moving")[0]["meta.json"])
    assert (meta["height"], meta["width"]) == (40, 60)
    write_shards(rows[:1], tmp_path / "rate", SHARD.model_copy(update={"fps": 8.0}))
    assert frame_pairs(tmp_path / "rate", "moving") == [[0, 3], [3, 6], [6, 9]]


def test_a_frame_folder_gives_its_frames_in_the_given_order(tmp_path):
    frames = moving(5, 4)
    names = ["c.png", "a.png", "d.png", "b.png"]
    for name, frame in zip(names, frames, strict=True):
        cv2.imwrite(str(tmp_path / name), frame[..., ::-1])
    size = sum((tmp_path / name).stat().st_size for name in names)
    facts = {"video_id": "f", "path": str(tmp_path), "bytes": size, "frame_names": names, "decoder": "images"}
    folder = row(tmp_path / names[0], 4) | facts
    write_shards([folder], tmp_path / "out", SHARD)
    found = samples(tmp_path / "out", "f")
    assert len(found) == 3
    for sample, frame in zip(found, frames, strict=False):
        assert np.abs(simplejpeg.decode_jpeg(sample["first.jpg"]).astype(int) - frame).mean() < 2


def test_bad_videos_are_named_and_stop_no_other(rows, sharded, tmp_path, capsys):
    text = tmp_path / "text.mp4"
    text.write_text("no video at all " * 100)
    bad = row(text, 10)
    write_shards([bad, rows[0]], tmp_path / "out", SHARD)
    for name in identity(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (sharded / name).read_bytes()
    counts = {line["video_id"]: line["pairs"] for line in read_table(tmp_path / "out/pairs.parquet", PAIRS)}
    assert counts == {"moving": 11, "text": 0}
    messages = capsys.readouterr().err
    assert "text: 0 pairs" in messages
    assert "moving: " not in messages
    with pytest.raises(UserError, match="none of the 1 videos"):
        write_shards([bad], tmp_path / "out", SHARD)


def test_a_video_that_vanished_is_waited_for(rows, sharded, tmp_path):
    """Nothing else would bring its pairs back: DVC sees the manifest alone, which has not changed."""
    away = Path(rows[2]["path"]).rename(tmp_path / "away.mp4")
    try:
        with pytest.raises(UserError, match=r"cut\.mp4: not as ingested any more \(1 of 3 videos\)"):
            write_shards(rows, tmp_path / "out", SHARD)
    finally:
        away.rename(rows[2]["path"])
    assert not (tmp_path / "out/index.parquet").exists()
    done = identity(tmp_path / "out")
    assert {name.rpartition("-")[0] for name in done} == {"moving", "still"}
    assert write_shards(rows, tmp_path / "out", SHARD) == 10
    assert {name: identity(tmp_path / "out")[name] for name in done} == done
    assert content(tmp_path / "out") == content(sharded)


def test_a_corrupt_tail_keeps_the_pairs_before_it(tmp_path, capsys):
    whole = encode_numbered(tmp_path / "whole.mp4", frames=50, options={"g": "50", "bf": "0"})
    torn = with_blank_samples(whole, range(28, 50), tmp_path / "clip.mp4")
    video = row(torn, 29, decoder="pyav", video_id="corrupted")
    unjudged = SHARD.model_copy(update={"min_change": 0.0, "max_change": 255.0, "short_edge": 64})
    write_shards([video], tmp_path / "out", unjudged)
    assert frame_pairs(tmp_path / "out", "corrupted") == [[i, i + 1] for i in range(27)]
    assert "corrupted: 27 pairs kept" in capsys.readouterr().err


def test_a_lost_frame_is_in_no_pair_and_the_others_keep_their_places(tmp_path):
    whole = encode_numbered(tmp_path / "whole.mp4", frames=20, options={"g": "5", "bf": "0"})
    torn = with_blank_samples(whole, {7}, tmp_path / "clip.mp4")
    unjudged = SHARD.model_copy(update={"min_change": 0.0, "max_change": 255.0, "short_edge": 64})
    write_shards([row(torn, 19, decoder="pyav", video_id="clip")], tmp_path / "out", unjudged)
    kept = [*range(7), *range(8, 20)]
    assert frame_pairs(tmp_path / "out", "clip") == [list(pair) for pair in pairwise(kept)]


def test_a_name_that_would_leave_the_folder_is_refused(rows, tmp_path):
    with pytest.raises(UserError, match="video_id"):
        write_shards([rows[0] | {"video_id": "../up"}], tmp_path, SHARD)


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A disk of 256 kB, for which the tests must run as root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(small_disk, tmp_path):
    unmeasured = {"width": None, "height": None}  # or the stage would say beforehand that the disk is too small
    rows = [clip(tmp_path, name, moving(seed, 40)) | unmeasured for seed, name in enumerate("ab")]
    out = small_disk / "shards"
    with pytest.raises(UserError, match=r"^\S+-\d{5}\.tar: no space left on the disk[^\n]*$"):
        write_shards(rows, out, SHARD.model_copy(update={"workers": 2}))
    whole = [path for path in out.rglob("*") if path.is_file()]
    assert whole
    assert not [path for path in whole if path.suffix == ".part"]
    for path in out.glob("*.tar"):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
            assert len(tar.getmembers()) == 15
    assert not (out / "index.parquet").exists()


def test_the_stage_shards_what_was_accepted_and_says_so(rows, tmp_path, monkeypatch, capsys):
    parameters = (Path(stage.__file__).parents[1] / "params.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(parameters)
    rejected = rows[2] | {"status": "rejected", "reason": "duplicate"}
    write_table("data/manifest.parquet", MANIFEST, [*rows[:2], rejected])
    run_stage("shard", stage.main)
    assert "20 pairs of 2 videos in 2 shards" in capsys.readouterr().out
    run_stage("shard", stage.main)
    assert "; 0 new pairs" in capsys.readouterr().out
    with run_lock(".amd/locks/shard", "another"), pytest.raises(SystemExit, match="2"):
        run_stage("shard", stage.main)
    assert "shard: another run is at work" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(512, 1024), (64, 128), (128, 192), (1024, 512)])
def test_thumbnail_is_the_mean_of_what_each_pixel_covers(size: tuple[int, int]):
    grey = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    side = min(size) // 64
    means = grey.reshape(size[0] // side, side, size[1] // side, side).mean((1, 3))
    found = thumbnail(np.repeat(grey[..., None], 3, 2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, means, atol=2.0)  # rounded at every halving
