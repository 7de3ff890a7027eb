"""Models judged in held-out videos on their way into a real registry: real clips, networks, MLflow store."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from moving_scenes import clip, scene
from registering import PARAMS, champion, make_checkpoint, user_error

from amd.config import Register
from amd.data.ingest.held_out import held_out, hold_out
from amd.data.tables import MANIFEST, write_table
from amd.evaluation.judged import Figures
from amd.evaluation.label_free import KEY, judge_masks
from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.loading import open_as
from amd.motion.footage import footage
from amd.motion.source import MotionSource
from amd.registry import register
from amd.registry.gates import HELD_OUT_TAG
from amd.registry.ledger import Ledger
from amd.registry.listing import print_history
from amd.registry.promotion import promote
from amd.registry.registration import Registration
from amd.runtime.tracking import connect, stage_run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Six clips in which a square moves, two of them held out."""
    folder = tmp_path_factory.mktemp("held-out")
    rows = [clip(folder, f"clip{seed}", scene(seed, 3)) for seed in range(6)]
    hold_out(rows, 0.05)
    write_table(folder / "manifest.parquet", MANIFEST, rows)
    return folder / "manifest.parquet"


def put(name: str, checkpoint: Path, manifest: Path) -> Registration:
    """Register as `amd train --register` does."""
    with stage_run("train", {}, {}) as run:
        return register(checkpoint, {}, {"loss": 0.25}, Register(name=name, max_drop=0.02), run, manifest=manifest)


def figures(name: str, version: str) -> dict[str, Figures]:
    tag = connect().get_model_version(name, version).tags[HELD_OUT_TAG]
    return {key: Figures(*row) for key, row in json.loads(tag).items()}


def plain_model(folder: Path) -> Path:
    """Of random weights, and as trained by evidence: nobody asks for its motion pathway."""
    params = PARAMS | {"pretrain": {"seed": 0, "objective": {"view_synthesis": 0.0, "evidence": 1.0}}}
    return make_checkpoint(folder / "plain.safetensors", seed=0, params=params)


def changed(checkpoint: Path, to: Path, videos: list[str], bias: float) -> Path:
    """The checkpoint as one that was trained on `videos`, with this much more of the object everywhere."""
    model, info = open_as(AMD, checkpoint)
    last = [module for module in model.appearance.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        last.bias[info.object_segment] += bias
    info.lineage["videos"] = videos
    save_checkpoint(to, model, info)
    return to


def test_footage_of_a_moving_square_is_sure_of_the_square():
    seen = footage(list(scene(0, 3)), MotionSource())
    assert sum(seen.sure) > 5
    truth = [p > 0.5 for p in seen.maps]
    assert judge_masks(truth, seen).agreement == 1.0
    assert judge_masks(truth, seen).stability > 0.6
    assert judge_masks([~mask for mask in truth], seen).agreement == 0.0
    cut = footage([*scene(0, 3)[:4], *255 - scene(1, 3)[:4]], MotionSource())
    assert [flow is None for flow in cut.flows] == [False] * 3 + [True] + [False] * 3
    assert not any(cut.sure[3:5])


def test_held_out_videos_decide_and_a_reason_overrides(store: Path, manifest: Path, tmp_path: Path, capsys):
    plain, aside = plain_model(tmp_path), held_out(manifest, 40)
    assert len(aside) == 2
    everything = changed(plain, tmp_path / "everything.safetensors", [], 100.0)
    refused = put("own", everything, manifest)
    assert (refused.promoted, champion("own")) == (False, None)
    assert "100% of its masks are of nothing or of most of the frame (mean area 1.00)" in refused.reason
    moves = put("own", make_checkpoint(tmp_path / "moves.safetensors", seed=0), manifest)  # its motion is random
    assert "predicts frames worse than if nothing moved" in moves.reason
    first = put("own", plain, manifest)
    assert (first.promoted, champion("own")) == (True, "3"), first.reason
    assert "on 2 held-out videos" in first.reason
    assert figures("own", "3").keys() == {row["sha256"][:KEY] for row in aside}
    assert "In 2 held-out videos: agreement 0." in connect().get_model_version("own", "3").description

    same = put("own", changed(plain, tmp_path / "same.safetensors", [], 0.0), manifest)
    assert same.promoted
    assert "not below the" in same.reason
    assert figures("own", "4") == figures("own", "3")
    asked = user_error(promote, "own", "1")
    assert "promote NAME VERSION --anyway --reason WHY" in asked
    assert "give --reason" in user_error(promote, "own", "1", " ", True)
    entry = promote("own", "1", "to see it fail", anyway=True)
    assert (champion("own"), entry.why) == ("1", "to see it fail")
    assert entry.gates.startswith("overridden: on 2 held-out videos 100% of its masks")
    assert Ledger(connect(), "own").read().entries[-1] == entry
    print_history("own")
    assert "version 1 against the gates: overridden:" in " ".join(capsys.readouterr().out.split())


def test_a_champion_is_judged_anew_and_not_by_what_it_was_trained_on(store: Path, manifest: Path, tmp_path: Path):
    plain = plain_model(tmp_path)
    one, other = held_out(manifest, 40)
    trained = changed(plain, tmp_path / "trained.safetensors", [one["video_id"]], 0.0)
    assert put("anew", trained, manifest).promoted
    client = connect()
    assert figures("anew", "1").keys() == {other["sha256"][:KEY]}
    client.set_model_version_tag("anew", "1", HELD_OUT_TAG, "{}")  # as of before videos were held out
    again = put("anew", plain, manifest)
    assert "on 1 held-out videos" in again.reason
    assert figures("anew", "1")[other["sha256"][:KEY]] == figures("anew", "2")[other["sha256"][:KEY]]
    both = changed(plain, tmp_path / "both.safetensors", [one["video_id"], other["video_id"]], 0.0)
    assert "no video is held out (ingest.held_out) that both have not seen" in put("anew", both, manifest).reason


def test_a_video_that_is_gone_is_left_out(store: Path, manifest: Path, tmp_path: Path, capsys):
    rows = held_out(manifest, 40)
    moved = [row | {"path": str(shutil.copy(row["path"], tmp_path / f"{row['video_id']}.mp4"))} for row in rows]
    Path(moved[0]["path"]).unlink()
    write_table(tmp_path / "manifest.parquet", MANIFEST, moved)
    assert put("gone-video", plain_model(tmp_path), tmp_path / "manifest.parquet").promoted
    assert figures("gone-video", "1").keys() == {moved[1]["sha256"][:KEY]}
    assert f"held out: left out: {moved[0]['path']}" in capsys.readouterr().err
