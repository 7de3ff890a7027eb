"""Pretraining with motion evidence: the loss, the warps, what is not trained, and a run that is killed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from moving_scenes import clip, scene
from projects import write_params
from torch import nn
from trainings import kill, run

from amd.config import load_params
from amd.config.pipeline import Objective
from amd.config.profiles import profile_text
from amd.data.pairs.read import Batch, to_float
from amd.data.pairs.write import write_shards
from amd.data.tables import HELD_OUT, MANIFEST, write_table
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.loading import open_as, open_model
from amd.motion.source import MotionSource
from amd.training.changes import Changes
from amd.training.distributed import Process
from amd.training.left_out import LeftOut
from amd.training.losses import view_synthesis_loss
from amd.training.pretrain import PairObjective, pretraining

EVIDENCE = Objective(view_synthesis=0.0, evidence=1.0)
TINY = {
    "shard": {"short_edge": 64, "gap": 1, "workers": 1},
    "pretrain": {
        "iterations": 40, "batch_size": 4, "short_edge": 64, "crop": 56, "precision": "float32",
        "checkpoint_every": 8, "log_every": 1,
    },
}  # fmt: skip
STOPPING = {"iterations": 120, "judge_every": 10, "patience": 2}


def unet() -> AMD:
    torch.manual_seed(0)
    return AMD(Architecture("unet", 2, 1, 0.0, "small", 64, 64))


def red_batch() -> Batch:
    """Frames whose red says where evidence is."""
    torch.manual_seed(1)
    red = torch.nn.functional.interpolate(torch.rand(4, 1, 6, 6), (48, 48), mode="bilinear")[:, 0]
    frames = torch.stack((red, torch.rand(4, 48, 48), red * 0), 3).mul(255).round().byte()
    return Batch(frames[:2], frames[2:], ["a", "b"], frames[..., 0].clone())


def test_without_weights_it_is_the_papers_loss():
    model, batch = AMD(Architecture("small", 3, 4, 0.0, "small", 64, 64)), red_batch()
    model.eval()
    first, second = to_float(batch)
    assert torch.equal(PairObjective(model)(batch)["loss"], view_synthesis_loss(model(first, second), first, second))


def test_the_loss_by_numpy():
    model, batch = unet().eval(), red_batch()
    scalars = PairObjective(model, EVIDENCE)(batch)
    mask = model.segment(torch.cat(to_float(batch)))[:, 1].detach().double().numpy().clip(1e-4, 1 - 1e-4)
    p = batch.evidence.numpy() / 255
    entropy, weight = -(p * np.log(mask) + (1 - p) * np.log(1 - mask)), np.abs(2 * p - 1)
    dice = 1 - (2 * (mask * p).sum() + 1) / (mask.sum() + p.sum() + 1)
    assert scalars["loss"].item() == pytest.approx((weight * entropy).sum() / weight.sum() + dice, rel=1e-5)
    assert scalars.keys() == {"loss", "area_0", "area_1"}
    scalars["loss"].backward()
    assert all(weights.grad is None for weights in model.motion.parameters())
    assert all(weights.grad is not None for weights in model.appearance.parameters())


def test_frames_and_evidence_are_warped_alike_and_repeatably():
    objective, batch = PairObjective(unet(), EVIDENCE, changes=Changes(affine=0.15)), red_batch()
    torch.manual_seed(5)
    warped = objective._known(batch)
    assert torch.allclose(warped.images[:, 0], warped.evidence, atol=1e-6)
    assert (warped.evidence - batch.evidence / 255).abs().mean() > 0.02
    torch.manual_seed(5)
    assert torch.equal(objective._known(batch).images, warped.images)
    pairs = PairObjective(unet(), Objective(view_synthesis=1.0, evidence=1.0), changes=Changes(affine=0.15))
    same = Batch(batch.first, batch.first, batch.keys, batch.evidence[[0, 1, 0, 1]])
    twins = pairs._known(same).images
    assert torch.equal(twins[:2], twins[2:])  # the frames of a pair move together


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Shards with evidence of two clips, and the profile `own` at a small size."""
    folder = tmp_path_factory.mktemp("own")
    write_params(folder / "params.yaml", TINY, base=profile_text("own"))
    rows = [clip(folder, f"clip{seed}", scene(seed, 3)) for seed in (0, 4)]
    write_shards(rows, folder / "shards", load_params(folder / "params.yaml").shard, MotionSource())
    return folder


def test_the_object_stays_the_segment_that_it_was_in_what_a_training_begins_with(project, tmp_path):
    params, begun = load_params(project / "params.yaml"), tmp_path / "begun.safetensors"
    architecture = Architecture(**params.model.model_dump())
    save_checkpoint(begun, AMD(architecture), ModelInfo(architecture, object_segment=0, lineage={"videos": ["before"]}))
    index, alone = project / "shards/index.parquet", Process(0, 1, torch.device("cpu"))
    assert pretraining(params, index, alone, begun).info().object_segment == 0
    assert pretraining(params, index, alone, begun).info().lineage["videos"] == ["before", "clip0", "clip4"]
    assert pretraining(params, index, alone).info().object_segment == 1
    paper = params.pretrain.model_copy(update={"objective": Objective()})
    assert pretraining(params.model_copy(update={"pretrain": paper}), index, alone).info().object_segment is None


def test_it_learns_the_square_and_a_killed_run_goes_on_as_if_nothing_had_happened(project, tmp_path):
    params, index = project / "params.yaml", ("--index", str(project / "shards/index.parquet"))
    kill("pretrain", params, tmp_path / "killed", *index)
    whole, resumed = (run("pretrain", params, tmp_path / name, *index)["curve"] for name in ("whole", "killed"))
    assert [row["loss"] for row in resumed] == [row["loss"] for row in whole]
    assert np.mean([row["loss"] for row in whole[-5:]]) < 0.7 * np.mean([row["loss"] for row in whole[:5]])
    model, info = open_model(tmp_path / "killed/model.safetensors")
    assert info.object_segment == 1
    frame = torch.from_numpy(scene(0, 3)[4]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        mask = model.segment(torch.nn.functional.interpolate(frame, (64, 85), mode="area"))[0, 1]
    assert mask[22:40, 20:38].mean() > mask[:, 60:].mean() + 0.2  # the square, which is at 32 to 76 of 160


@pytest.fixture(scope="module")
def left_out(project) -> Path:
    """A manifest with two held-out clips of the same kind, and one that is no longer there."""
    rows = [clip(project, f"left{seed}", scene(seed, 3)) for seed in (7, 9)]
    rows.append(rows[0] | {"video_id": "gone", "path": str(project / "gone.mp4"), "sha256": "f" * 64})
    write_table(project / "manifest.parquet", MANIFEST, [row | {"status": HELD_OUT} for row in rows])
    return project / "manifest.parquet"


def test_held_out_videos_say_when_to_stop_and_which_weights_are_kept(project, left_out, tmp_path):
    write_params(tmp_path / "p.yaml", TINY | {"pretrain": TINY["pretrain"] | STOPPING}, base=profile_text("own"))
    options = ("--index", str(project / "shards/index.parquet"), "--left-out", str(left_out))
    kill("pretrain", tmp_path / "p.yaml", tmp_path / "killed", *options)
    whole, resumed = (run("pretrain", tmp_path / "p.yaml", tmp_path / name, *options) for name in ("whole", "killed"))
    seen = {row["iteration"]: row["agreement"] for row in whole["curve"] if "agreement" in row}
    assert resumed["curve"][-1]["agreement"] == whole["curve"][-1]["agreement"]
    assert (resumed["kept"], resumed["agreement"]) == (whole["kept"], whole["agreement"])
    assert whole["agreement"] == max(seen.values()) == seen[whole["kept"]]
    assert whole["iterations"] == min(STOPPING["iterations"], whole["kept"] + 2 * STOPPING["judge_every"])
    model, _ = open_as(AMD, tmp_path / "whole/model.safetensors")
    kept = LeftOut(left_out, 1, load_params(tmp_path / "p.yaml").predict.short_edge)(nn.ModuleDict({"model": model}))
    assert kept == pytest.approx(whole["agreement"], abs=1e-6)
    assert kept > 0.3  # the squares of videos that it never saw


def test_videos_that_nothing_moves_in_have_no_say(project, left_out, tmp_path):
    still = clip(tmp_path, "still", np.repeat(scene(2, 0)[:1], 6, 0))
    write_table(tmp_path / "manifest.parquet", MANIFEST, [still | {"status": HELD_OUT}])
    assert np.isnan(LeftOut(tmp_path / "manifest.parquet", 1, 64)(nn.ModuleDict({"model": unet()})))
