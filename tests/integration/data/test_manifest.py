"""Ingest: real good and bad inputs through the real pool, the manifest's rows and the report."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from clips import encode, encode_images, encode_sound, numbered_picture
from moving_scenes import EVERY_PAIR, content
from PIL import Image
from privileges import permission_bits_bind
from projects import REPOSITORY
from waiting import ended, wait_for

from amd.config import Ingest, load_params
from amd.data.ingest.examine import Limits, examine
from amd.data.ingest.manifest import ingest
from amd.data.ingest.report import validation_report
from amd.data.pool import Crash, each_in_pool
from amd.data.tables import MANIFEST, read_table, write_table
from amd.data.video.decode import Source
from stages import ingest as stage
from stages import run_stage

INGEST = Ingest(workers=2, max_pixels=1_000_000, max_hours=0.01)  # 36 seconds
SHARD = EVERY_PAIR.model_copy(update={"short_edge": 64, "min_change": 0.3, "max_change": 40.0})
LIMITS = Limits.of(INGEST, SHARD)


def save_frames(folder: Path, count: int, size: tuple[int, int] = (96, 72), first: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        Image.fromarray(numbered_picture(number, *size)).save(folder / f"{number}.png")
    return folder


def make_inputs(root: Path) -> None:
    """One input of every kind that ingest has a rule for."""
    root.mkdir()
    good = encode(root / "good.mp4", options={"bf": "2"})
    encode(root / "Grüße aus Köln 動画.webm", codec="libvpx-vp9", options={"deadline": "realtime"})
    encode(root / "turned.mov", rotation=90, size=(72, 96))
    shutil.copy(good, root / "zz_copy.mp4")
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is no video\n" * 50)
    encode_sound(root / "sound.mp4")
    (root / "headless.mp4").write_bytes(good.read_bytes()[:-600])
    (root / "half.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    encode(root / "one.gif", frames=1, codec="gif")
    encode(root / "none.avi", frames=0)
    encode(root / "large.mp4", frames=2, size=(1280, 800))
    encode(root / "long.mp4", times_ms=[20_000 * frame for frame in range(4)], frames=4)
    whole = encode(root / "cut.mkv", frames=60, options={"g": "10"}).read_bytes()
    (root / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    save_frames(root / "frames", 3)
    save_frames(root / "frames_copy", 3)
    save_frames(root / "frames_renamed", 3).joinpath("2.png").rename(root / "frames_renamed/3.png")
    save_frames(root / "mixed", 2)
    Image.fromarray(numbered_picture(5, 48, 36)).save(root / "mixed/5.png")
    save_frames(root / "torn", 3).joinpath("1.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    save_frames(root / "single", 1, first=9)
    (root / "loop").symlink_to(root, target_is_directory=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ingest") / "inputs"
    make_inputs(root)
    return root


@pytest.fixture(scope="module")
def rows(inputs) -> dict[str, dict]:
    found = ingest(inputs, INGEST, SHARD)
    assert len({row["video_id"] for row in found}) == len(found)
    return {Path(row["path"]).name: row for row in found}


def test_what_is_sound_is_accepted(rows):
    accepted = {name: row for name, row in rows.items() if row["status"] == "accepted"}
    assert {name: row["frames"] for name, row in accepted.items() if name != "cut.mkv"} == {
        "good.mp4": 12,
        "Grüße aus Köln 動画.webm": 12,
        "turned.mov": 12,
        "frames": 3,
        "frames_renamed": 3,
    }
    assert [name for name, row in accepted.items() if row["reason"]] == ["cut.mkv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", "an empty file"),
        ("text.mp4", "not a readable video"),
        ("headless.mp4", "damaged header"),
        ("half.mp4", "not a readable video"),
        ("sound.mp4", "sound"),
        ("one.gif", "1 frame;"),
        ("none.avi", "no frame decodes|no readable video stream"),
        ("single", "1 frame;"),
        ("large.mp4", "1280x800 .* ingest.max_pixels is 1000000"),
        ("long.mp4", "hours; ingest.max_hours is 0.01"),
        ("mixed", "5.png is 48x36, the frames before it 96x72"),
        ("torn", "1.png: not a readable image"),
        ("loop", "leads back"),
    ],
)
def test_what_is_not_is_rejected_with_its_reason(rows, name, reason):
    assert rows[name]["status"] == "rejected"
    assert re.search(reason, rows[name]["reason"])
    assert "\n" not in rows[name]["reason"]


def test_columns_of_a_video(rows, inputs):
    row = rows["turned.mov"]
    assert (row["width"], row["height"], row["rotation"]) == (72, 96, 90)
    assert (row["codec"], row["decoder"], row["kind"]) == ("h264", "decord", "video")
    assert (row["fps"], row["frames_promised"], row["duration_s"]) == (25.0, 12, pytest.approx(0.48))
    assert row["bytes"] == (inputs / "turned.mov").stat().st_size
    tool = subprocess.run(["sha256sum", inputs / "turned.mov"], capture_output=True, text=True, check=True)
    assert row["sha256"] == tool.stdout.split()[0]
    assert row["frame_names"] is None


def test_columns_of_a_frame_folder(rows):
    row = rows["frames"]
    assert (row["kind"], row["decoder"], row["codec"], row["fps"]) == ("frames", "images", "png", None)
    assert row["frame_names"] == ["0.png", "1.png", "2.png"]
    assert (row["width"], row["height"]) == (96, 72)


def test_exact_copies_are_rejected_and_keep_their_own_path(rows):
    copy, original = rows["zz_copy.mp4"], rows["good.mp4"]
    assert copy["reason"] == f"duplicate of {original['video_id']}"
    assert copy["path"].endswith("zz_copy.mp4")
    assert (copy["sha256"], copy["frames"]) == (original["sha256"], 12)
    assert rows["frames_copy"]["reason"] == f"duplicate of {rows['frames']['video_id']}"
    assert rows["frames_renamed"]["sha256"] != rows["frames"]["sha256"]  # another order of frames


def test_truncated_video_is_accepted_with_its_good_frames(rows):
    row = rows["cut.mkv"]
    assert row["status"] == "accepted"
    assert 20 < row["frames"] < 60
    assert re.fullmatch(r"truncated: frames end after \d\.\d of 2\.4 s", row["reason"])


def test_rows_fit_the_table(rows, tmp_path):
    write_table(tmp_path / "manifest.parquet", MANIFEST, rows.values())
    assert read_table(tmp_path / "manifest.parquet", MANIFEST) == list(rows.values())


def test_damage_between_good_frames_is_told(shared_data):
    row = examine(Source("clip", shared_data / "odd_videos/corrupted.mp4"), LIMITS)
    assert (row["status"], row["frames"], row["frames_promised"]) == ("accepted", 49, 50)
    assert (row["reason"], row["decoder"]) == ("1 of 50 frames lost near 2.9 s", "pyav")


def test_real_videos(shared_data):
    videos = shared_data / "videos"
    found = {name: examine(Source(name, videos / name), LIMITS) for name in ("truck.mp4", "bird.mkv", "test.mp4")}
    assert {name: row["frames"] for name, row in found.items()} == {
        "truck.mp4": 21,
        "bird.mkv": 63,
        "test.mp4": 300,
    }
    assert {(row["status"], row["reason"], row["decoder"]) for row in found.values()} == {("accepted", "", "decord")}
    large = examine(Source("large", videos / "S001C001P001R001A001_rgb.avi"), LIMITS)
    assert large["reason"] == "1920x1080 is 2073600 pixels; ingest.max_pixels is 1000000"


def test_still_pairs_and_cuts_are_counted(tmp_path):
    dark, bright = np.full((72, 96, 3), 30, np.uint8), np.full((72, 96, 3), 220, np.uint8)
    ramp = [np.full((72, 96, 3), level, np.uint8) for level in (220, 210, 200, 190)]
    path = encode_images(tmp_path / "clip.mp4", [dark, dark, dark, bright, *ramp[1:]], pixels="yuv420p", qp="0", g="1")
    row = examine(Source("clip", path), LIMITS)
    assert (row["frames"], row["still_pairs"], row["cuts"], row["reason"]) == (7, 2, 1, "")
    path = encode_images(tmp_path / "still.mp4", [dark] * 5, pixels="yuv420p", qp="0", g="1")
    row = examine(Source("still", path), LIMITS)
    assert (row["status"], row["still_pairs"]) == ("accepted", 4)
    assert "still" in row["reason"]


def test_unreadable_file_is_rejected_and_the_rest_goes_on(tmp_path):
    encode(tmp_path / "good.mp4")
    encode(tmp_path / "locked.mp4", frames=5).chmod(0o000)
    with permission_bits_bind():
        found = {Path(row["path"]).name: row for row in ingest(tmp_path, INGEST, SHARD)}
    assert found["good.mp4"]["status"] == "accepted"
    assert found["locked.mp4"]["status"] == "rejected"
    assert "ermission denied" in found["locked.mp4"]["reason"]


def test_unchanged_inputs_are_not_examined_again(tmp_path):
    root, memory = tmp_path / "inputs", tmp_path / "memory/rows.parquet"
    root.mkdir()
    encode(root / "a.mp4")
    encode(root / "b.mp4", frames=14)
    ingest(root, INGEST, SHARD, memory)
    marked = [row | {"cuts": 777} for row in read_table(memory, MANIFEST)]  # shows where a row came from
    write_table(memory, MANIFEST, marked)
    encode(root / "b.mp4", frames=16)
    encode(root / "0.mp4", frames=18)
    shutil.copy(root / "a.mp4", root / "copy.mp4")
    found = {Path(row["path"]).name: row for row in ingest(root, INGEST, SHARD, memory)}
    assert {name for name, row in found.items() if row["cuts"] == 777} == {"a.mp4", "copy.mp4"}
    assert {name: row["frames"] for name, row in found.items()} == {
        "0.mp4": 18,
        "a.mp4": 12,
        "b.mp4": 16,
        "copy.mp4": 12,
    }
    assert found["copy.mp4"]["status"] == "rejected"
    assert {Path(row["path"]).name for row in read_table(memory, MANIFEST)} == {"0.mp4", "a.mp4", "b.mp4"}


def test_key_follows_the_limits():
    assert LIMITS.key() == Limits.of(INGEST, SHARD).key()
    others = [
        Limits.of(INGEST.model_copy(update={"max_pixels": 5}), SHARD),
        Limits.of(INGEST, SHARD.model_copy(update={"min_change": 0.4})),
    ]
    assert len({LIMITS.key(), *(other.key() for other in others)}) == 3
    assert Limits.of(INGEST, SHARD.model_copy(update={"quality": 50})).key() == LIMITS.key()


def work_or_die(number: int) -> int:
    """Doubles a number, but dies hard on 3 and raises on 4."""
    if number == 3:
        ctypes.string_at(0)  # a segmentation fault
    if number == 4:
        raise ValueError("four")
    return 2 * number


def test_pool_outlives_a_process_that_crashes():
    outcomes = dict(each_in_pool(work_or_die, range(8), 2))
    assert isinstance(outcomes.pop(3), Crash)
    assert str(outcomes.pop(4)) == "four"
    assert outcomes == {0: 0, 1: 2, 2: 4, 5: 10, 6: 12, 7: 14}


def work_then_die(number: int) -> int:
    """Gives the number; on 1, the process dies a little later, when nobody asks anything of it."""
    if number == 1:
        threading.Timer(0.1, os._exit, (1,)).start()
    return number


def test_pool_outlives_a_process_that_dies_between_two_items():
    found = []
    for _, outcome in each_in_pool(work_then_die, range(4), 1):
        found.append(outcome)
        time.sleep(0.4)  # whoever takes the results is slow
    assert found == [0, 1, 2, 3]


def report_process(number: int) -> int:
    return os.getpid()


def test_pool_is_bounded_and_its_processes_are_used_again():
    assert 1 <= len({process for _, process in each_in_pool(report_process, range(12), 2)}) <= 2


def nap(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def test_processes_end_with_a_killed_parent(tmp_path):
    code = "from test_manifest import *; list(each_in_pool(nap, [sys.argv[1]], 1))"
    script, mark = tmp_path / "parent.py", tmp_path / "mark"
    script.write_text(f"import sys\nif __name__ == '__main__':\n    sys.path[:0] = sys.argv[2:]\n    exec({code!r})\n")
    words = [sys.executable, script, mark, REPOSITORY / "tests/support", Path(__file__).parent]
    parent = subprocess.Popen(words, cwd=REPOSITORY)
    wait_for(lambda: mark.exists() and mark.read_text() != "", 20)
    assert not ended(mark)
    parent.send_signal(signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    wait_for(lambda: ended(mark), 20)


def test_report_reads_well(rows, tmp_path):
    text = validation_report(list(rows.values()))
    accepted = sum(row["status"] == "accepted" for row in rows.values())
    assert f"- inputs: {len(rows)}: {accepted} accepted, {len(rows) - accepted} rejected (2 duplicates)" in text
    frames = sum(row["frames"] for row in rows.values() if row["status"] == "accepted")
    assert f"- frames: {frames}\n" in text
    for row in rows.values():
        if row["status"] == "rejected":
            assert any(
                Path(row["path"]).name.replace("_", "\\_") in line and row["reason"][:20].replace("_", "\\_") in line
                for line in text.splitlines()
            )
    assert "Accepted with a warning" in text
    assert "truncated: frames end after" in text


def test_report_survives_hostile_names_and_nothing_accepted():
    row = dict.fromkeys(MANIFEST.names) | {
        "path": "a|b\n# <script>.mp4",
        "status": "rejected",
        "reason": "an empty file",
    }
    text = validation_report([row])
    (line,) = [line for line in text.splitlines() if "empty file" in line]
    assert re.sub(r"\\.", "", line).count("|") == 3  # unescaped bars are the table's own
    assert "\n# <" not in text
    assert "<script" not in text.replace("\\<script", "")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a params.yaml whose videos are in `in`."""
    text = (REPOSITORY / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"(?m)^  videos: .*$", "  videos: in", text))
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    load_params()
    return tmp_path


def kill_one_at_work(killed: list[Path]) -> None:
    """Kill the first process of this one that has a video open, and say which."""
    deadline = time.monotonic() + 60
    while not killed and time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                videos = [Path(file.path) for file in process.open_files() if file.path.endswith(".mp4")]
                if videos:
                    process.kill()
                    killed += videos
                    return
        time.sleep(0.001)


def test_stage_with_a_process_killed_amid_a_video_ends_as_one_without(project):
    assert load_params().ingest.workers == 2
    for number in range(4):
        encode(project / f"in/{number}.mp4", frames=60 + number, size=(480, 360))
    run_stage("ingest", stage.main)
    outputs, (memory,) = content(project / "data"), (project / ".amd/ingest").iterdir()
    remembered = sorted(map(str, read_table(memory, MANIFEST)))  # as they got done
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".amd/ingest")
    killed: list[Path] = []
    thread = threading.Thread(target=kill_one_at_work, args=(killed,))
    thread.start()
    run_stage("ingest", stage.main)
    thread.join()
    assert len(killed) == 1
    assert content(project / "data") == outputs
    assert list((project / ".amd/ingest").iterdir()) == [memory]  # nothing half-written
    assert sorted(map(str, read_table(memory, MANIFEST))) == remembered


def test_stage_writes_manifest_and_report(project):
    encode(project / "in/good.mp4")
    (project / "in/empty.mp4").touch()
    run_stage("ingest", stage.main)
    table = read_table(project / "data/manifest.parquet", MANIFEST)
    assert [(row["path"], row["status"]) for row in table] == [
        ("in/empty.mp4", "rejected"),
        ("in/good.mp4", "accepted"),
    ]
    first = (project / "data/manifest.parquet").read_bytes()
    shutil.rmtree(project / "data")
    run_stage("ingest", stage.main)
    assert (project / "data/manifest.parquet").read_bytes() == first
    assert "1 accepted, 1 rejected" in (project / "data/manifest.md").read_text()


def test_stage_fails_when_nothing_is_accepted(project, capsys):
    for name in ("a.mp4", "b.mp4"):
        (project / "in" / name).touch()
    (project / "in/c.mp4").write_text("text")
    with pytest.raises(SystemExit, match="2"):
        run_stage("ingest", stage.main)
    assert "none of 3 inputs can be used: an empty file (2), not a readable video (1)" in capsys.readouterr().err
    assert "an empty file" in (project / "data/manifest.md").read_text()
