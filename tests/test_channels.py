"""The label-free choice by each criterion, and the command's table and figure from real shards."""

from pathlib import Path

import pytest
from PIL import Image

from amd.errors import UserError
from amd.evaluation.channels import channel_report, run_objectness
from amd.objectness import choices, choose_object
from amd.report.page import agreement_in_words
from amd.report.segment_figure import write_segment_figure


def row(segment: int, motion=1.0, area=0.2, entropy=0.5, error=0.1, x=0.1, y=0.1) -> dict[str, float]:
    return {
        "segment": segment,
        "motion": motion,
        "area": area,
        "entropy": entropy,
        "reconstruction_error": error,
        "centre_x": x,
        "centre_y": y,
        "spread": 0.2,
        "frames": 8,
    }


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
