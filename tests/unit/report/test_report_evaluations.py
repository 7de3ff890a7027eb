"""Sections of evaluations on the page: tables of any JSON by hand, the published beside ours, what was not run."""

from pathlib import Path

import numpy as np
import pytest
from projects import REPOSITORY
from reports import Page, write_evaluations

from amd.config import load_params
from amd.data.images import write_image
from amd.evaluation.saliency import PUBLISHED as PUBLISHED_SALIENCY
from amd.report.evaluations import EVALUATIONS, sections
from amd.report.page import Findings, make_report
from amd.report.tables import ROWS, grouped, result_facts, result_tables, text
from amd.report.vos_view import below_baselines, methods_table, published_table
from amd.runtime.files import write_json

FEATURES = {
    "protocol": {"pixels": 60, "videos": 3, "supervision": {"scorer": "truth"}},
    "published": "plots only",
    "probe_accuracy": {"mean": 0.976, "clip": None},
    "silhouette": 0.25,
}


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    write_evaluations(tmp_path / "metrics")
    return tmp_path / "metrics"


def section_of(metrics: Path, name: str):
    (section,) = (section for section in sections(metrics) if section.evaluation.name == name)
    return section


def page_of(metrics: Path) -> Page:
    out = metrics.parent / "page.html"
    make_report(out, Findings(load_params(REPOSITORY / "params.yaml"), {}, evaluations=sections(metrics)))
    return Page(out.read_text())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (True, "yes"), (7, "7"), (0.0, "0.000"), (0.12345, "0.123"), (-0.5, "-0.500"),
        (3e-6, "3.00e-06"), (123456.0, "1.23e+05"), ([1, 2.5], "1, 2.500"), ("<b>", "<b>"),
    ],
)  # fmt: skip
def test_values_in_words(value: object, shown: str):
    assert text(value) == shown


def test_groups_become_tables():
    report = {
        "protocol": {"a": 1},
        "published": {"J": {"x": 1.0}},
        "mIoU": 0.5,
        "by_class": {"cat": {"IoU": 0.25, "pixels": 3}, "dog": {"IoU": None}},
        "runs": [{"segments": 4, "J": {"mean": 0.5}}, {"segments": 8, "J": {"mean": 0.25}}],
        "by_name": {"a": 1.0, "b": 2.0},
        "empty": {},
    }
    assert result_facts(report) == {"mIoU": "0.500"}
    classes, runs, by_name = result_tables(report)
    assert classes.caption == "by class"
    assert classes.head == ("", "IoU", "pixels")
    assert classes.rows == [("cat", "0.250", "3"), ("dog", "–", "–")]
    assert classes.numeric == (False, True, True)
    assert (runs.head, runs.rows) == (("", "J mean"), [("segments 4", "0.500"), ("segments 8", "0.250")])
    assert by_name.rows == [("a", "1.000"), ("b", "2.000")]


def test_long_tables_say_what_they_leave_out():
    table = grouped("images", {f"{number:05d}": {"F": 0.5} for number in range(ROWS + 7)})
    assert (len(table.rows), table.left_out, table.folded) == (ROWS, 7, True)
    assert not grouped("images", {"a": {"F": 0.5}}).folded


def test_a_section_for_every_evaluation_with_what_is_there(metrics: Path):
    found = sections(metrics)
    assert [section.evaluation.name for section in found] == [evaluation.name for evaluation in EVALUATIONS]
    there = {section.evaluation.name for section in found if section.parts}
    assert there == {"adapt", "robustness"}
    assert section_of(metrics, "features").absent == "dvc repro evaluate_features"
    assert section_of(metrics, "saliency").absent == "no data.saliency_root is set; dvc repro evaluate_saliency"


def test_what_was_not_run_is_one_line_and_no_section(metrics: Path):
    page = page_of(metrics)
    (line,) = (text for text in page.texts["p"] if text.startswith("Not run: "))
    assert "Training (metrics/pretrain.json)" in line
    assert "Saliency (no data.saliency_root is set; dvc repro evaluate_saliency)" in line
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert [name for name in ids if name] == ["run", "adapt", "robustness"]


def test_a_mean_has_its_deviation_beside_it():
    table = grouped("", {"a": {"mIoU": {"mean": 0.5, "deviation": 0.125, "seeds": 3}}, "b": {"mIoU": {"mean": 0.25}}})
    assert table.head == ("", "mIoU mean", "mIoU seeds")
    assert table.rows == [("a", "0.500 ± 0.125", "3"), ("b", "0.250", "–")]
    assert table.numeric == (False, True, True)


def test_ours_and_the_published_stand_apart(metrics: Path):
    (part,) = section_of(metrics, "robustness").parts
    (ours,), (published,) = part.tables, part.published
    assert ours.rows[1] == ("inverted", *["0.500"] * 6)
    assert ours.rows[2] == ("jpeg", *["–"] * 6)
    assert published.caption.startswith("published, full benchmark: youtubevos valid")
    assert published.rows[1][1] == "0.277"
    assert "pooled over 8 frames: 0.750 normal, 0.500 inverted" in part.lead
    assert part.protocol.rows[0] == ("dataset", "davis2016")


def test_published_words_stand_without_a_table(metrics: Path):
    write_json(metrics / "features.json", FEATURES)
    (part,) = section_of(metrics, "features").parts
    assert [(table.caption, table.rows) for table in part.published] == [("published, full benchmark: plots only", [])]
    assert "balanced accuracy 0.976 (chance 0.5); their silhouette is 0.250" in part.lead
    assert ("supervision scorer", "truth") in part.protocol.rows
    page_of(metrics)


def test_the_other_methods_stand_beside_our_saliency(metrics: Path):
    report = {
        "protocol": {"images": 2},
        "published": PUBLISHED_SALIENCY,
        "F": {"adaptive": 0.5, "max": 0.75, "mean": 0.625},
        "MAE": 0.25,
        "images": {"a": {"F_adaptive": 0.5, "MAE": 0.25}},
    }
    write_json(metrics / "saliency.json", report)
    (part,) = section_of(metrics, "saliency").parts
    (published,) = part.published
    assert published.caption == "published, full benchmark: the paper's table 1: all 5,019 test images of DUTS"
    assert published.head == ("", "F", "MAE")
    assert published.rows[0] == ("AMD", "0.602", "0.130")
    assert len(published.rows) == 6
    assert part.lead.startswith("F 0.500 with the adaptive threshold (0.750 at its maximum")


def test_the_outcome_of_fine_tunings_and_of_the_sweep_in_words(metrics: Path):
    groups = {
        "scratch-light": {"mean": 0.25, "deviation": 0.125, "seeds": 3},
        "amd-light": {"mean": 0.5, "deviation": None, "seeds": 1},
    }
    write_json(metrics / "semantic.json", {"protocol": {"images": 25}, "mIoU": groups})
    write_json(metrics / "sweep.json", {"segments": {"4": {"label_free_J": 0.5}, "8": {"label_free_J": 0.25}}})
    for name, width in {"sweep": 600, "sweep_masks": 900}.items():
        write_image(metrics / f"{name}.png", np.zeros((4, width, 3), np.uint8))
    (semantic,), (sweep,) = section_of(metrics, "semantic").parts, section_of(metrics, "sweep").parts
    assert semantic.lead == (
        "mIoU on 25 images, mean and deviation over 3 seeds: 0.250 ± 0.125 scratch-light, 0.500 amd-light."
    )
    assert ": 0.500 with 4, 0.250 with 8. One seed each." in sweep.lead
    curve, masks = section_of(metrics, "sweep").pictures
    assert (curve.caption, curve.narrow) == ("J against the number of segments.", True)
    assert masks.caption.startswith("The segments of some frames")
    assert not masks.narrow


def test_the_adaptation_compares_no_losses_of_other_crops(metrics: Path):
    (part,) = section_of(metrics, "adapt").parts
    assert part.lead == "2 videos, 2 s each, 0 failed."
    assert part.plots == []
    assert part.facts["seconds"] == "4.500"


def test_several_files_are_parts_of_one_section(metrics: Path):
    write_json(metrics / "transfer.json", {"J": 0.5})
    write_json(metrics / "transfer_interval.json", {"k": {"1": {"J": 0.25}}})
    main, interval = section_of(metrics, "transfer").parts
    assert (main.title, main.facts) == ("", {"J": "0.500"})
    assert (interval.title, interval.tables[0].rows) == ("transfer interval", [("1", "0.250")])


def test_a_protocol_for_every_data_set(metrics: Path):
    write_json(metrics / "embedding_score.json", {"photos": {"accuracy": 0.5, "protocol": {"images": 4}}})
    (part,) = section_of(metrics, "embedding").parts
    assert [(table.caption, table.rows) for table in part.tables] == [("photos", [("accuracy", "0.500")])]
    assert part.protocol.rows == [("photos images", "4")]


@pytest.mark.parametrize("content", ["[1]", "{", '{"scores": 3, "protocol": {}}'])
def test_a_file_that_is_none_is_told_and_stops_no_other(metrics: Path, content: str):
    (metrics / "robustness.json").write_text(content)
    section = section_of(metrics, "robustness")
    assert not section.parts
    assert section.notes[0].startswith(f"{metrics / 'robustness.json'}: ")
    assert section_of(metrics, "adapt").parts


def test_a_damaged_picture_is_told(metrics: Path):
    (metrics / "robustness.png").write_bytes(b"PNG")
    section = section_of(metrics, "robustness")
    assert not section.pictures
    assert "robustness.png: not a readable image" in section.notes[0]


def test_names_from_files_are_escaped(metrics: Path):
    protocol, miou = {"images": 1}, {"scratch": {"mean": 0.5, "deviation": None, "seeds": 1}}
    report = {"protocol": protocol, "mIoU": miou, "classes": {"<script>alert(1)</script>": {"IoU": 0.5}}}
    write_json(metrics / "semantic.json", report)
    page = page_of(metrics)
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert any("<script>alert(1)</script>" in cell for row in page.tables[""] for cell in row)


def scores(j: float, segment: int | None = None) -> dict:
    averages = {"sequences": {"J": j, "F": 0.1}, "frames": {"J": j + 0.01, "F": 0.2}, "pooled": {"J": j + 0.02}}
    return {"mean": {"J": {"mean": j}}, "averages": averages, "protocol": {"compared": "frames"}, "segment": segment}


def test_rows_without_learning_stand_in_the_table_of_methods():
    vos = {
        "scores": {"image": {"label-free": scores(0.4), "oracle": scores(0.45)}},
        "baselines": {"centre_box": scores(0.3), "flow_outliers": scores(0.5)},
    }
    table = methods_table(vos, ["image"])
    assert table.head[2:5] == ("J over sequences", "J over frames (compared)", "J over pooled")
    assert [row[0] for row in table.rows] == [
        "per image", "fixed centre box", "optical flow minus camera", "per image, oracle"
    ]  # fmt: skip
    assert table.rows[0][2:] == ("0.400", "0.410", "0.420", "0.100", "0.200", "BELOW optical flow minus camera")
    assert table.rows[1][-1] == "learns nothing"


def vos(learned: float) -> dict:
    """metrics/vos.json as far as the comparison reads it."""
    baselines = {"centre_box": scores(0.3), "flow_outliers": scores(0.5)}
    return {"scores": {"image": {"label-free": scores(learned)}}, "baselines": baselines}


def test_the_report_says_which_learned_number_is_below_a_baseline():
    assert below_baselines(vos(0.6)) == []
    assert below_baselines(vos(0.4)) == [
        "J per image (0.400) is BELOW the optical flow minus camera (0.500), which learns nothing."
    ]
    assert len(below_baselines(vos(0.2))) == 2
    assert "(0.49990) is BELOW the optical flow minus camera (0.50000)" in below_baselines(vos(0.4999))[0]


def test_a_benchmark_without_published_numbers_has_no_such_table():
    assert published_table({}) is None
    known = {"size": "2 sequences", "average": "frames", "J": {"A": 0.5}}
    assert published_table(known).rows == [("A", "0.500")]
