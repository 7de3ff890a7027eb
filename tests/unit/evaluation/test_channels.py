"""The label-free choice by each criterion, and the command's table and figure from real shards."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from PIL import Image
from projects import corpus_shards, write_params
from scipy.ndimage import map_coordinates
from scipy.stats import entropy
from skimage.metrics import structural_similarity
from torch.nn import functional

from amd.cli import main
from amd.config import load_params
from amd.evaluation.channels import channel_report, run_objectness, write_segment_figure
from amd.models.amd import AMD, Architecture
from amd.report.page import agreement_in_words
from amd.runtime.errors import UserError
from amd.runtime.files import read_json
from amd.training.objectness import choices, choose_object, segment_statistics


def row(segment: int, motion=1.0, area=0.2, entropy=0.5, error=0.1, x=0.1, y=0.1) -> dict[str, float]:
    found = {"segment": segment, "motion": motion, "area": area, "entropy": entropy, "reconstruction_error": error}
    return found | {"centre_x": x, "centre_y": y, "centre_deviation": 0.05, "spread": 0.2, "frames": 8}


def test_every_criterion_takes_its_own():
    rows = [row(0, motion=2.0), row(1, entropy=0.2), row(2, error=0.3), row(3, x=0.55, y=0.4), row(4, x=0.5, y=0.9)]
    assert choices(rows) == {"motion": 0, "entropy": 1, "reconstruction_error": 2, "centre": 3}
    assert choose_object(rows) == 0
    assert channel_report(rows)["agree"] is False
    assert "the criteria do not agree: largest motion segment 0, least entropy segment 1" in agreement_in_words(
        choices(rows)
    )


def test_an_all_but_empty_segment_is_no_candidate():
    rows = [row(0), row(1, motion=9.0, area=0.005, entropy=0.0, error=9.0, x=0.5, y=0.5)]
    report = channel_report(rows)
    assert set(report["choices"].values()) == {0}
    assert report["agree"] is True
    assert "all criteria agree" in agreement_in_words(report["choices"])


def test_places_against_sums_over_pixels():
    """Centre, its deviation from frame to frame and spread, written out with numpy; frames count by area."""
    torch.manual_seed(0)
    model = AMD(Architecture("small", 3, 4, 0.0, "small", 64, 64)).eval()
    first, second = torch.rand(2, 3, 48, 64), torch.rand(2, 3, 48, 64)
    rows = segment_statistics(model, [(first, second)])
    with torch.no_grad():
        masks = model.segment(torch.cat((first, second))).double().numpy()  # 4,3,h,w
    height, width = masks.shape[2:]
    y, x = ((np.indices((height, width)) + 0.5).T / (height, width)).T
    for segment, row in enumerate(rows):
        weights = masks[:, segment]
        areas = weights.sum((1, 2))
        centres = np.stack([(weights * x).sum((1, 2)) / areas, (weights * y).sum((1, 2)) / areas], 1)
        away = (x - centres[:, :1, None]) ** 2 + (y - centres[:, 1:, None]) ** 2
        centre = np.average(centres, axis=0, weights=areas)
        deviation = np.sqrt(np.average(((centres - centre) ** 2).sum(1), weights=areas))
        spread = np.average(np.sqrt((weights * away).sum((1, 2)) / areas), weights=areas)
        assert (row["centre_x"], row["centre_y"]) == pytest.approx(tuple(centre), abs=1e-5)
        assert row["spread"] == pytest.approx(spread, abs=1e-5)
        assert row["centre_deviation"] == pytest.approx(deviation, rel=0.02, abs=1e-5)


def test_motion_entropy_and_error_against_scipy_and_scikit_image():
    """Every frame's own statistics written out in numpy; motion and error count by the segment's area."""
    torch.manual_seed(1)
    model = AMD(Architecture("small", 3, 4, 0.0, "small", 64, 64)).eval()
    frames = torch.rand(2, 3, 48, 64)
    rows = segment_statistics(model, [(frames[:1], frames[1:])])
    with torch.no_grad():
        output = model(frames[:1], frames[1:])
        pictures = model.motion_input(frames).permute(0, 2, 3, 1).double().numpy()  # 2,H,W,3
    masks = torch.cat((output.masks_first, output.masks_second)).double()
    flows = (output.forward_flows[0][0].double().numpy(), output.backward_flows[0][0].double().numpy())
    errors = np.stack(
        [distance(pictures[1 - k], pictures[k], flow) for k, flow in enumerate(flows)]
    )  # of the first frame as the second gives it, and the other way round
    large = functional.interpolate(masks, errors.shape[1:], mode="bilinear", align_corners=True).numpy()
    masks = masks.numpy()
    region_flows = (output.backward_region_flow[0].numpy(), output.forward_region_flow[0].numpy())  # c,2
    for segment, row in enumerate(rows):
        share = masks[:, segment]
        areas = share.mean((1, 2))
        motion = [np.hypot(*flow[segment]) for flow in region_flows]
        error = (large[:, segment] * errors).sum((1, 2)) / large[:, segment].sum((1, 2))
        assert row["area"] == pytest.approx(areas.mean(), rel=1e-4)
        assert row["entropy"] == pytest.approx(entropy(np.stack((share, 1 - share))).mean(), rel=1e-4)
        assert row["motion"] == pytest.approx(np.average(motion, weights=areas), rel=1e-4)
        assert row["reconstruction_error"] == pytest.approx(np.average(error, weights=areas), rel=1e-3)


def distance(source: np.ndarray, target: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(1 - SSIM) / 2 of `target` H,W,3 and `source` sampled along `flow` 2,H,W; the border has its neighbour's."""
    y, x = np.indices(target.shape[:2])
    sampled = np.stack(
        [map_coordinates(source[..., k], (y + flow[1], x + flow[0]), order=1, mode="nearest") for k in range(3)], 2
    )
    options = {"win_size": 3, "use_sample_covariance": False, "data_range": 1.0, "channel_axis": 2, "full": True}
    similarity = structural_similarity(sampled, target, **options)[1]
    return np.pad(((1 - similarity) / 2).mean(2)[1:-1, 1:-1], 1, mode="edge")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure(tmp_path: Path, suffix: str):
    path = tmp_path / f"figure.{suffix}"
    write_segment_figure(path, [row(m, x=0.2 * m) for m in range(5)], 2)
    if suffix == "png":
        with Image.open(path) as picture:
            assert picture.size == (1350, 420)
    else:
        assert "reconstruction error, D_SSIM" in path.read_text()


def test_another_kind_of_figure_is_refused_before_any_work(tmp_path: Path):
    with pytest.raises(UserError, match=r"figure\.gif: a figure is drawn as \.svg or \.png"):
        run_objectness("none.safetensors", tmp_path, 8, None, tmp_path / "figure.gif")


def test_the_command_on_real_shards(tmp_path: Path, capsys: pytest.CaptureFixture):
    corpus = {"train_clips": 1, "heldout_clips": 1, "frames": 6, "width": 128, "height": 96, "workers": 1}
    changes = {"corpus": corpus, "ingest": {"workers": 1}, "shard": {"workers": 1, "min_change": 0.0}}
    params = load_params(write_params(tmp_path / "params.yaml", changes))
    corpus_shards(tmp_path, params)
    trained = {"pretrain": params.pretrain.model_dump() | {"batch_size": 2}}
    save_amd(tmp_path / "model.safetensors", params=trained)
    options = ["--pairs", "3", "--json", str(tmp_path / "report.json"), "--figure", str(tmp_path / "figure.svg")]
    main(["objectness", "--model", str(tmp_path / "model.safetensors"), "--shards", str(tmp_path / "shards"), *options])
    report = read_json(tmp_path / "report.json")
    assert report["protocol"]["frames"] == 8  # two batches of two pairs
    assert sum(row["area"] for row in report["segments"]) == pytest.approx(1, abs=1e-4)
    assert report["object_segment"] == report["choices"]["motion"]
    assert "object by criterion" in capsys.readouterr().out
    assert (tmp_path / "figure.svg").is_file()
