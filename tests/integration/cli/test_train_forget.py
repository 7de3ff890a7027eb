"""`amd train` on real clips, gone on with and registered; `amd forget` of one of them."""

import json
import shutil
from hashlib import md5
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import refused
from moving_scenes import HEIGHT, WIDTH, clip, scene
from projects import write_params

from amd.cli.program import main
from amd.config.profiles import profile_text
from amd.data.tables import EVIDENCE, INDEX, MANIFEST, read_table
from amd.models.loading import open_model
from amd.runtime.files import write_json

TINY = {
    "ingest": {"workers": 1},
    "shard": {"short_edge": 64, "gap": 1, "workers": 1},
    "pretrain": {"iterations": 2, "batch_size": 2, "short_edge": 64, "crop": 56, "log_every": 1},
    "objectness": {"pairs": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two clips, parameters, and a model that was trained on the clips."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "videos").mkdir()
    for seed in (0, 4):
        clip(folder / "videos", f"clip{seed}", scene(seed, 3))
    write_params(folder / "tiny.yaml", TINY, base=profile_text("own"))
    main(["train", str(folder / "videos"), "--out", str(folder / "out"), "--params", str(folder / "tiny.yaml")])
    return folder


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file but locks: when it was written, and what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".tar", ".safetensors"))
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_it_ends_with_a_model_and_does_nothing_twice(folder, monkeypatch):
    out = folder / "out"
    _, info = open_model(out / "models/amd.safetensors")
    assert (info.object_segment, info.short_edge) == (1, 200)
    rows = read_table(out / "data/manifest.parquet", MANIFEST)
    assert info.lineage["videos"] == sorted(row["video_id"] for row in rows)
    assert len(read_table(out / "data/shards/evidence.parquet", EVIDENCE)) == 2
    before = state(out)
    monkeypatch.chdir(folder)  # the MLflow store is the current folder's
    main(["train", str(folder / "videos"), "--out", str(out), "--register"])
    assert state(out) == before
    from amd.runtime.tracking import connect

    (version,) = connect().search_model_versions("name='amd'")
    assert version.tags["data.videos"] == "2"
    assert connect().get_registered_model("amd").aliases.keys() == {"champion"}
    assert "the first champion: finite loss, and nothing else to judge it by" in version.tags["gate.reason"]


def test_runners_of_the_pipeline_are_refused(folder, capsys):
    write_params(folder / "dask.yaml", TINY | {"shard": TINY["shard"] | {"runner": "dask"}}, base=profile_text("own"))
    words = ["train", str(folder / "videos"), "--out", str(folder / "other"), "--params", str(folder / "dask.yaml")]
    assert "dask.yaml: shard.runner is 'dask'; `amd train` works on this machine alone" in refused(capsys, main, words)
    assert not (folder / "other/params.yaml").exists()


def test_of_six_videos_two_are_held_out_and_judge_the_model(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "videos").mkdir()
    for seed in range(6):
        clip(tmp_path / "videos", f"clip{seed}", scene(seed, 3))
    monkeypatch.chdir(tmp_path)
    main(["train", "videos", "--out", "out", "--params", str(folder / "tiny.yaml"), "--register"])
    said = capsys.readouterr().out
    assert "4 of 6 inputs accepted, 2 more held out" in said
    rows = read_table("out/data/manifest.parquet", MANIFEST)
    _, info = open_model("out/models/amd.safetensors")
    assert info.lineage["videos"] == sorted(row["video_id"] for row in rows if row["status"] == "accepted")
    from amd.runtime.tracking import connect

    (version,) = connect().search_model_versions("name='amd'")
    judged, held = json.loads(version.tags["held_out"]), [row for row in rows if row["status"] == "held out"]
    assert sorted(judged) == sorted(row["sha256"][:16] for row in held)
    assert version.tags["gate.reason"] in said
    assert "held-out videos" in version.tags["gate.reason"]


def test_the_model_segments_an_image_and_adapts_to_a_video_by_what_moves_in_it(folder, tmp_path):
    model, video = str(folder / "out/models/amd.safetensors"), folder / "videos/clip0.mp4"
    cv2.imwrite(str(tmp_path / "photo.png"), scene(1, 3)[0][..., ::-1])
    inputs = [str(video), str(tmp_path / "photo.png")]
    main(["segment", *inputs, "--model", model, "--adapt", "60", "--out", str(tmp_path / "masks")])
    assert len(list(tmp_path.glob("masks/photo*/masks/*.png"))) == 1
    shown = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in sorted(tmp_path.glob("masks/clip0/masks/*"))]
    truth = np.zeros((len(shown), HEIGHT, WIDTH), bool)
    for number, mask in enumerate(truth):
        mask[36:80, 20 + 3 * number : 64 + 3 * number] = True
    assert np.logical_and(shown, truth).sum() / np.logical_or(shown, truth).sum() > 0.5


def test_a_folder_of_somebody_else_is_left_alone(folder, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit):
        main(["train", str(folder / "videos"), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_forget_deletes_what_is_the_videos_alone_and_names_the_rest(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Path(shutil.copytree(folder / "out", tmp_path / "project"))
    rows = {Path(row["path"]).name: row for row in read_table(project / "data/manifest.parquet", MANIFEST)}
    gone, other = rows["clip0.mp4"]["video_id"], rows["clip4.mp4"]["video_id"]
    tars = {path.name: path for path in project.glob("data/shards/*.tar")}
    cached = cache_of(project, tars)
    main(["forget", "clip0.mp4", "--project", str(project)])
    said = capsys.readouterr().out
    left = {path.name for path in project.glob("data/shards/*.tar")}
    assert left == {name for name in tars if name.startswith(other)}
    assert {name for name, path in cached.items() if path.exists()} == left
    assert not (project / f"data/shards/videos/{gone}.json").exists()
    assert (folder / "videos/clip0.mp4").exists()
    assert f"stays: {folder / 'videos/clip0.mp4'}, which is yours" in said
    assert f"knows it: {project / 'models/amd.safetensors'} (a model trained on it)" in said
    for path in [*project.rglob("*.parquet"), *project.rglob("*.tar")]:
        assert gone.encode() not in path.read_bytes()
        if path.parent.name == "ingest":
            assert [row["video_id"] for row in read_table(path, MANIFEST)] == [other]
    with pytest.raises(SystemExit):
        main(["forget", "nobody.mp4", "--project", str(project)])
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy2(folder / "videos/clip4.mp4", videos)
    kept = {name: tars[name].stat().st_mtime_ns for name in left}
    main(["train", str(videos), "--out", str(project)])
    assert {row["video_ids"][0] for row in read_table(project / "data/shards/index.parquet", INDEX)} == {other}
    assert {name: tars[name].stat().st_mtime_ns for name in left} == kept
    assert open_model(project / "models/amd.safetensors")[1].lineage["videos"] == [other]


def cache_of(project: Path, tars: dict[str, Path]) -> dict[str, Path]:
    """Copies of the shards where DVC would keep them, with its list of their folder."""
    cache, entries, copies = project / ".dvc/cache/files/md5", [], {}
    for name, path in tars.items():
        hashed = md5(path.read_bytes()).hexdigest()
        copies[name] = cache / hashed[:2] / hashed[2:]
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copies[name])
        entries.append({"md5": hashed, "relpath": name})
    (cache / "ab").mkdir(exist_ok=True)
    write_json(cache / "ab/cdef.dir", entries)
    return copies


def test_forget_in_an_inbox(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "inbox/done/clip_1"
    (job / "results/masks").mkdir(parents=True)
    (job / "clip.mp4").write_bytes(b"video")
    (job / "contact_sheet.png").write_bytes(b"png")
    write_json(job / "claim.json", {"name": "clip.mp4", "file": "clip.mp4", "key": "1", "time": 0.0})
    (tmp_path / "data/shards").mkdir(parents=True)
    main(["forget", "clip.mp4", "--inbox", "inbox"])
    assert {path.name for path in job.iterdir()} == {"clip.mp4", "claim.json"}
    assert "--and-file deletes it" in capsys.readouterr().out
    main(["forget", "clip.mp4", "--inbox", "inbox", "--and-file"])
    assert not job.exists()
    with pytest.raises(SystemExit):
        main(["forget", "clip.mp4", "--inbox", "inbox"])
