"""Motion evidence in shards: the maps that are stored, what is left out, repeatability, interruption, disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_scenes import EVERY_PAIR, FRAMES, HEIGHT, WIDTH, clip, content, samples, scene, texture

from amd.data.pairs.evidence import EvidenceJudge, pair_quality
from amd.data.pairs.read import PairReader, evidence_chances, positions
from amd.data.pairs.shard import Shard as Pack
from amd.data.pairs.transforms import PairTransform
from amd.data.pairs.write import write_shards
from amd.data.tables import EVIDENCE, INDEX, MANIFEST, read_table, write_table
from amd.data.video.decode import Source, read_frames
from amd.models.evidence import load_evidence
from amd.motion.evidence import motion_evidence
from amd.motion.source import MotionSource
from amd.runtime.errors import UserError

SHARD = EVERY_PAIR.model_copy(update={"short_edge": 64, "pairs_per_shard": 6, "max_change": 40.0})


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    """A square that moves, one that does not, and a cut from one scene to another in the middle."""
    folder = tmp_path_factory.mktemp("videos")
    cut = np.concatenate([scene(2, 3, 5), 255 - scene(3, 3, 5)])
    return [clip(folder, "moves", scene(0, 3)), clip(folder, "rests", scene(1, 0)), clip(folder, "cut", cut)]


@pytest.fixture(scope="module")
def sharded(rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(rows, folder, SHARD, MotionSource())
    return folder


def grey(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def direct(row: dict) -> list[np.ndarray]:
    """The evidence of a video's frames, at their own size."""
    frames = (frame.image for frame in read_frames(Source(row["video_id"], Path(row["path"]))))
    return list(motion_evidence(frames, *load_evidence()))


def test_stored_maps_are_the_evidence_of_the_frames(rows, sharded):
    truth = direct(rows[0])
    found = samples(sharded, "moves")
    assert len(found) == FRAMES - 1
    for number, sample in enumerate(found):
        assert json.loads(sample["meta.json"])["frames"] == [number, number + 1]
        assert json.loads(sample["meta.json"])["height"] == 64  # while flow saw 120
        for name, probability in (("first.png", truth[number]), ("second.png", truth[number + 1])):
            stored = grey(sample[name])
            assert (stored.shape, stored.dtype) == (probability.shape, np.uint8)
            assert np.abs(stored / 255 - probability).max() <= 0.5 / 255 + 1e-6
    inside = np.mean([grey(sample["first.png"])[40:76, 50:60].mean() for sample in found[2:6]])
    outside = np.mean([grey(sample["first.png"])[:, 130:].mean() for sample in found[2:6]])
    assert inside > 4 * outside


def test_quality_is_how_sure_evidence_is_and_the_table_tells_what_was_left_out(rows, sharded):
    sure = [float((2 * p[p > 0.5] - 1).mean()) if (p > 0.5).any() else 0.0 for p in direct(rows[0])]
    quality = [value for row in read_table(sharded / "index.parquet", INDEX) for value in row["quality"]
               if row["video_ids"] == ["moves"]]  # fmt: skip
    assert quality == pytest.approx([255 * min(a, b) for a, b in pairwise(sure)], abs=0.6)
    assert min(quality) > 100
    table = {row["video_id"]: row for row in read_table(sharded / "evidence.parquet", EVIDENCE)}
    assert (table["moves"]["pairs"], table["moves"]["reason"]) == (FRAMES - 1, "")
    assert 0.03 < table["moves"]["moving"] < 0.4
    stored = sum(len(sample[name]) for sample in samples(sharded, "moves") for name in ("first.png", "second.png"))
    assert table["moves"]["bytes"] == stored
    assert table["rests"]["pairs"] == 0
    assert "nothing moves" in table["rests"]["reason"]
    assert table["cut"]["left_out_cut"] == 2
    beside = {json.loads(sample["meta.json"])["frames"][0] for sample in samples(sharded, "cut")}
    assert beside == set(range(FRAMES - 1)) - {4}  # the pair over the cut is none
    cut = [value for row in read_table(sharded / "index.parquet", INDEX) for value in row["quality"]
           if row["video_ids"] == ["cut"]]  # fmt: skip
    assert cut[3] == cut[4] == 0  # 3-4 and 5-6 have a frame whose flow goes over the cut


def test_the_judge_by_hand():
    judge = EvidenceJudge()
    half = np.full((2, 4), 0.1, np.float32)
    half[0, :2] = 0.9, 0.7  # a quarter of the frame: 2 * 0.8 - 1
    assert judge.judge(half, beside_cut=False) == pytest.approx(0.6)
    assert judge.judge(np.full((2, 4), 0.5, np.float32), beside_cut=False) == 0  # nothing is said to move
    assert judge.judge(np.full((2, 4), 0.9, np.float32), beside_cut=False) == 0  # all of it
    assert judge.judge(half, beside_cut=True) == 0
    row = judge.row()
    assert (row["left_out_still"], row["left_out_scene"], row["left_out_cut"]) == (1, 1, 1)
    assert row["moving"] == pytest.approx((0.25 + 0 + 1 + 0.25) / 4)
    assert row["confidence"] == pytest.approx((2 * 0.25 * 0.6 + 0.8) / 1.5)
    assert not row["reason"]
    unsure = EvidenceJudge()
    unsure.judge(np.where(half > 0.5, 0.6, half), beside_cut=False)
    assert "nothing moves on its own for sure (0.20)" in unsure.refusal
    assert pair_quality(0.6, 0.4) == 102


@dataclass(frozen=True)
class Mortal(MotionSource):
    """The packaged network, but the first process that has made half of the maps of a video is killed."""

    grave: Path = Path()

    def __call__(self, frames):
        for number, p in enumerate(super().__call__(frames)):
            yield p
            if number == FRAMES // 2:
                with suppress(FileExistsError):
                    self.grave.open("x").close()
                    os.kill(os.getpid(), signal.SIGKILL)


def test_two_workers_of_which_one_is_killed_and_another_order_give_the_same_bytes(rows, sharded, tmp_path):
    shards = tmp_path / "shards"
    two_workers = SHARD.model_copy(update={"workers": 2})
    write_shards(rows[::-1], shards, two_workers, Mortal(grave=tmp_path / "grave"))
    assert (tmp_path / "grave").exists()
    assert content(shards) == content(sharded)


def test_a_killed_run_goes_on_and_a_new_video_touches_no_other(rows, sharded, tmp_path):
    write_table(tmp_path / "manifest.parquet", MANIFEST, rows)
    program = (
        "import sys; from pathlib import Path; from amd.data.pairs.write import write_shards; "
        "from amd.motion.source import MotionSource; "
        "from amd.config import Shard; from amd.data.tables import MANIFEST, read_table\n"
        "if __name__ == '__main__': write_shards(read_table('manifest.parquet', MANIFEST), Path('killed'), "
        "Shard.model_validate_json(sys.argv[1]), MotionSource())"
    )
    (tmp_path / "program.py").write_text(program)
    root = str(Path(__file__).resolve().parents[3])
    run = subprocess.Popen([sys.executable, "program.py", SHARD.model_dump_json()], cwd=tmp_path,
                           env=os.environ | {"PYTHONPATH": root}, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("killed/videos/*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(0.5)  # its orphaned process ends by itself
    killed = tmp_path / "killed"
    done = {path.stem for path in killed.glob("videos/*.json")}
    assert 1 <= len(done) < len(rows)
    before = {path: path.stat().st_mtime_ns for path in killed.glob("*.tar") if path.name.rsplit("-", 1)[0] in done}
    write_shards(rows, killed, SHARD, MotionSource())
    assert content(killed) == content(sharded)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_without_a_use_for_it_there_is_none(rows, tmp_path):
    write_shards(rows[:1], tmp_path, SHARD, Red())
    assert (tmp_path / "evidence.parquet").exists()
    write_shards(rows[:1], tmp_path, SHARD)
    assert not (tmp_path / "evidence.parquet").exists()
    assert {name for name in samples(tmp_path, "moves")[0] if not name.startswith("_")} == {
        "first.jpg", "second.jpg", "meta.json",
    }  # fmt: skip
    with pytest.raises(UserError, match="hold no motion evidence"):
        PairReader(tmp_path / "index.parquet", PairTransform(60, 1.0, 56), batch_size=2, seed=0, evidence=True)


def test_disk_is_told_and_refused_before_anything_is_decoded(rows, tmp_path, capsys):
    write_shards(rows[:1], tmp_path / "small", SHARD)
    told, made = capsys.readouterr().err, sum(path.stat().st_size for path in (tmp_path / "small").glob("*.tar"))
    assert "1 videos take about" in told
    assert 0.3 < float(told.split("about ")[1].split()[0]) * 1000 / made < 3
    vast = [rows[0] | {"path": "/no/such/video.mp4", "frames": 10**12}]
    with pytest.raises(UserError, match=r"TB, .* are free"):
        write_shards(vast, tmp_path / "vast", SHARD, Red())
    assert not list((tmp_path / "vast").glob("*.tar"))


class Red:
    """A source whose maps are known from the picture: how red it is, on a grid of half the frame's size."""

    short_edge, grid = 16, 60

    def key(self) -> dict:
        return {"red": 1}

    def __call__(self, frames):
        for frame in frames:
            yield cv2.resize(frame[..., 0], (80, 60), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def red_scene(seed: int) -> np.ndarray:
    """Frames whose right part, moving in, is red."""
    made = np.repeat(texture(seed, HEIGHT, WIDTH)[None] // 4, 8, 0)
    for number, frame in enumerate(made):
        frame[:, 90 + 4 * number :, 0] = 220
    return made


def test_maps_follow_their_frames_through_crop_and_mirror(tmp_path):
    rows = [clip(tmp_path, f"red{seed}", red_scene(seed)) for seed in range(2)]
    write_shards(rows, tmp_path / "shards", SHARD, Red())
    reader = PairReader(
        tmp_path / "shards/index.parquet", PairTransform(62, 0.9, 48), batch_size=3, seed=1, evidence=True
    )
    shares = []
    for batch in islice(reader, 6):
        assert batch.evidence.shape == (6, 48, 48)
        for frames, maps in ((batch.first, batch.evidence[:3]), (batch.second, batch.evidence[3:])):
            red = frames[..., 0].numpy() > 128
            shares.append(red.mean())
            assert np.mean((maps.numpy() > 128) != red) < 0.04
    assert np.std(shares) > 0.05  # crops differ


def test_samples_are_drawn_by_quality():
    counts = np.array([5, 1, 3])
    chances = [np.array([0, 1, 0.25, 0.5, 1.0]), np.zeros(1), np.array([0.75, 0, 1])]
    epochs = 1200
    seen: Counter = Counter()
    for position in positions(counts, 3, 0, 1, 0, chances):
        if position.epoch == epochs:
            break
        seen[position.shard, position.number] += 1
    for shard, expected in enumerate(chances):
        for number, chance in enumerate(expected):
            error = 4 * np.sqrt(epochs * chance * (1 - chance))  # four standard deviations
            assert abs(seen[shard, number] - epochs * chance) <= error, (shard, number)
    through = list(islice(positions(counts, 3, 1, 2, 0, chances), 300))
    for skip in (0, 1, 7, 100):
        found = [p for p in islice(positions(counts, 3, 1, 2, skip, chances), 150) if not p.skipped]
        assert found == through[skip : skip + len(found)]
    whole = [p for p in through if p.epoch < through[-1].epoch]
    for position in whole:  # a shard is closed at the last sample that comes
        later = [p for p in whole if p.epoch == position.epoch and p.shard == position.shard]
        assert position.last == (position == later[-1])


def test_a_long_video_comes_no_more_often_than_the_one_in_the_middle():
    good = np.full(10, 200, np.uint8)
    packs = [
        ("long", good),
        ("long", good),
        ("long", good // 2),
        ("middle", good),
        ("short", good[:2]),
        ("no", good[:3] * 0),
    ]
    shards = [Pack(Path("-"), len(quality), (video,), quality) for video, quality in packs]
    drawn = [chances.sum() for chances in evidence_chances(shards, Path("index.parquet"))]
    np.testing.assert_allclose(drawn, [4, 4, 2, 10, 2, 0])  # in an epoch: 10 of the long video's 25
