"""The report's page: a fabricated run whose scores are known by hand, read back with an HTML parser."""

import base64
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from projects import REPOSITORY
from registering import put
from reports import (
    EVIL,
    HEIGHT,
    SHIFTS,
    WIDTH,
    Page,
    decoded,
    j_of,
    shifted_j,
    write_project,
)

from amd.config import load_params
from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.loading import open_as
from amd.report.page import Findings, make_report
from amd.report.pictures import FALSE_ALARM, HIT, MISS, SequencePictures, within_budget
from amd.runtime.files import read_json, write_json
from amd.runtime.store import relocate
from amd.runtime.tracking import connect
from stages import report, run_stage

MLFLOW = "http://127.0.0.1:5000/#/"  # of `make services`


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project on which the stage ran."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("AMD_RUN_ID", "test")
        run_stage("report", report.main)
        yield root


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project to harm, as the working folder; its MLflow store is set up already."""
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    relocate(root / "mlflow.db")
    monkeypatch.chdir(root)
    return root


def made_again() -> Page:
    """The page that the stage makes in the current folder."""
    run_stage("report", report.main)
    return Page(Path("report/report.html").read_text())


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    return (finished / "report/report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_needs_nothing_else(page: Page, html: str):
    pictures = page.all("img")
    assert len(pictures) == 1 + 2 * 3 * 5 + 1  # the wheel; two sequences, three frames, five kinds; a sheet
    for picture in pictures:
        assert picture["alt"]
        size = (
            (112, 112) if "wheel" in picture["alt"] else (60, 90) if "Robustness" in picture["alt"] else (HEIGHT, WIDTH)
        )
        assert decoded(picture["src"]).shape[:2] == size
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:image/", "data:video/webm;", "#", MLFLOW)), target
    assert not page.all("link")
    assert not page.all("iframe")
    assert all("src" not in script for script in page.all("script"))
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert set(re.findall(r"https?://[^#]*", html)) == {MLFLOW.removesuffix("#/")}, "links alone, that a user follows"


def test_ids_are_unique_and_every_reference_has_its_target(page: Page, html: str):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | {
        attributes["href"][1:]
        for tag, attributes in page.elements
        if tag in ("a", "use") and attributes["href"].startswith("#")
    }
    assert len(wanted) > 10
    assert wanted <= set(ids)


def test_headlines_come_label_free_first(page: Page):
    assert page.texts["title"][0] == "AMD run report"
    big = [float(text[1:]) for text in page.texts["p"] if re.fullmatch(r"J\d\.\d{3}", text)]
    means = [np.mean([j_of(name, sequence) for sequence in ("ant", "bee")]) for name in ("adapted", "image")]
    np.testing.assert_allclose(big, means * 2, atol=5.1e-4)  # segment 2 is the oracle's as well
    verdict = page.texts["p"][1]
    assert f"J {means[0]:.3f} on 2 held-out sequences of davis2016 (adapted masks)" in verdict
    assert f"{means[0] - means[1]:+.3f}" in verdict
    assert "helps 2 of 2" in verdict


def test_the_table_of_means(page: Page):
    head, bee, ant, mean = page.tables["means"]
    assert head[0] == "sequence"
    assert [row[0] for row in (bee, ant, mean)] == ["bee", "ant", "mean"]  # the worst adapted first
    for row in (bee, ant):
        adapted, image = j_of("adapted", row[0]), j_of("image", row[0])
        assert row[head.index("J adapted")] == f"{adapted:.3f}"
        assert row[head.index("J per image")] == f"{image:.3f}"
        assert row[head.index("change")] == f"{adapted - image:+.3f}"
        assert row[head.index("oracle J adapted")] == f"{adapted:.3f}"


def test_rows_without_learning_stand_in_the_sortable_table(page: Page, finished: Path):
    scores = read_json(finished / "metrics/vos.json")
    head, *rows = page.tables["methods"]
    by_name = {row[0]: row for row in rows}
    for title, name in {"fixed centre box": "centre_box", "optical flow minus camera": "flow_outliers"}.items():
        averages = scores["baselines"][name]["averages"]
        for average in ("sequences", "frames", "pooled"):
            column = next(place for place, label in enumerate(head) if label.startswith(f"J over {average}"))
            assert by_name[title][column] == f"{averages[average]['J']:.3f}"
    assert by_name["adapted"][2] == f"{np.mean([j_of('adapted', name) for name in ('ant', 'bee')]):.3f}"
    assert head[2] == "J over sequences (compared)"
    published = {row[0]: row[1] for row in page.tables["published"]}
    assert published["AMD, adapted"] == "0.578"


def test_the_table_of_all_statistics(page: Page, finished: Path):
    head, *rows = page.tables["statistics"]
    scores = read_json(finished / "metrics/vos.json")["scores"]
    assert len(rows) == 2 * 2 * 2
    for sequence, masks, choice, *numbers in rows:
        prediction = {"per image": "image", "adapted": "adapted"}[masks]
        measures = scores[prediction][choice]["sequences"][sequence]
        wanted = [measures[name.split()[0]][name.split()[1]] for name in head[3:]]
        assert numbers == [f"{value:.3f}" for value in wanted]
    recall = next(row for row in rows if row[:3] == ["bee", "adapted", "label-free"])[head.index("J recall")]
    assert float(recall) == 0.5  # shifts 2 and 3 are above J 0.5, shifts 4 and 5 are not


def test_sequences_and_frames_worst_first(page: Page):
    assert page.sequences == ["bee", "ant"]
    assert page.texts["h4"][:3] == ["Frame 00002, worst", "Frame 00003, median", "Frame 00001, best"]
    captions = [text for text in page.texts["figcaption"] if text.startswith("adapted")]
    wanted = [f"adaptedJ {shifted_j(shift):.3f}" for shift in (5, 3, 2)]
    assert captions[:3] == wanted


def test_pictures_show_hits_misses_and_false_alarms(page: Page):
    alt = "bee, frame 00002: adapted"  # the truth begins at column 22, the mask at 27
    picture = decoded(next(image["src"] for image in page.all("img") if image["alt"] == alt)).astype(int)
    for column, colour in ((24, MISS), (29, HIT), (34, FALSE_ALARM)):
        distances = {other: np.abs(picture[20, column] - other).sum() for other in (HIT, MISS, FALSE_ALARM)}
        assert min(distances, key=distances.get) == colour
    assert np.ptp(picture[5, 5]) < 12  # grey where there is neither


def test_lineage_and_data_on_the_page(html: str, page: Page, finished: Path):
    client = connect()
    runs = client.search_runs([client.get_experiment_by_name("amd").experiment_id])
    parent = next(run for run in runs if "amd.pipeline" in run.data.tags)
    stage = next(run for run in runs if run.info.run_name == "report")
    assert parent.info.run_id in html
    assert parent.data.metrics == read_json(finished / "metrics/summary.json")
    links = [link["href"] for link in page.all("a") if link["href"].startswith(MLFLOW)]
    run = f"{MLFLOW}experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}"
    assert links == [run, f"{MLFLOW}models/amd"]
    assert stage.data.tags["params.sha256"] in html
    assert f"torch {torch.__version__}" in html
    stored = client.download_artifacts(stage.info.run_id, "report.html")
    assert Path(stored).read_text() == html
    for fact in ("<dt>rejected</dt><dd>1</dd>", "<dt>frame pairs</dt><dd>1,234</dd>", "<dt>minutes</dt><dd>3.0</dd>"):
        assert fact in html
    assert "empty file" in html


def test_clips_show_the_masks_over_every_frame(page: Page, tmp_path: Path):
    clips = [video["src"].removeprefix("data:video/webm;base64,") for video in page.all("video")]
    assert len(clips) == 2
    (tmp_path / "bee.webm").write_bytes(base64.b64decode(clips[0], validate=True))
    with av.open(str(tmp_path / "bee.webm")) as clip:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in clip.decode(video=0)]
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 6
    for number, shift in enumerate(SHIFTS["adapted"]["bee"]):
        left = 20 + number + shift  # of the mask
        inside, outside = frames[number][18:22, left + 3 : left + 7], frames[number][18:22, left - 8 : left - 4]
        assert inside[..., 0].mean() - inside[..., 2].mean() > 40 > abs(outside[..., 0].mean() - outside[..., 2].mean())


def test_clips_stay_within_the_pages_size():
    sequences = [SequencePictures(name, {}, [], 0.0, clip) for name, clip in {"a": "xx", "b": "xxx", "c": None}.items()]
    assert [each.clip for each in within_budget(sequences, 4)] == ["xx", None, None]


def test_names_from_data_are_escaped(html: str):
    assert EVIL not in html
    assert "&lt;script&gt;alert" in html


def test_missing_inputs_are_said(project: Path):
    for path in ("metrics", "data", "models", "predictions"):
        shutil.rmtree(path)
    page = made_again()
    said = " ".join(page.texts["p"])
    for name in (
        "vos.json",
        "pretrain.json",
        "objectness.json",
        "manifest.parquet",
        "pairs.parquet",
        "amd.safetensors",
    ):
        assert name in said
    assert len(page.all("img")) == 0


def test_what_other_seeds_gave_stands_beside_the_scores(project: Path, page: Page):
    assert sum("one seed; how far others lie is not known" in text for text in page.texts["p"]) == 2
    model, info = open_as(AMD, Path("models/amd.safetensors"))
    vos, manifest = read_json("metrics/vos.json"), Path("data/manifest.parquet")
    for seed, image in ((1, 0.5), (2, 0.6), (0, 0.7)):
        params = {"pretrain": {"seed": seed, "iterations": 9}}
        save_checkpoint("models/amd.safetensors", model, replace(info, params=params))
        vos["summary"]["image"]["label_free_J"] = image
        if seed:
            put(load_params(Path("params.yaml")).register_.name, Path("models/amd.safetensors"), vos, manifest=manifest)
    write_json("metrics/vos.json", vos)
    run_stage("report", report.main)
    shown = Page((project / "report/report.html").read_text())
    assert any("seeds 0, 1, 2: 0.600 ± 0.100" in text for text in shown.texts["p"])


def test_without_adapted_masks_the_image_ones_judge(project: Path):
    shutil.rmtree("predictions/adapted")
    scores = read_json("metrics/vos.json")
    del scores["scores"]["adapted"], scores["summary"]["adapted"]
    write_json("metrics/vos.json", scores)
    page = made_again()
    assert page.sequences == ["bee", "ant"]
    assert any("predictions/adapted: no predictions there" in text for text in page.texts["p"])
    assert not any(image["alt"].endswith(": adapted") for image in page.all("img"))
    assert "J adapted" not in page.tables["means"][0]


def test_one_damaged_sequence_does_not_stop_the_others(project: Path):
    Path("predictions/adapted/masks/davis2016/bee/00002.png").write_bytes(b"\x89PNG")
    page = made_again()
    assert page.sequences == ["ant"]
    assert any("bee/00002.png: not a readable image" in text for text in page.texts["p"])


def test_a_sequence_that_was_not_adapted_is_shown_without(project: Path):
    shutil.rmtree("predictions/adapted/masks/davis2016/bee")
    page = made_again()
    shown = [image["alt"] for image in page.all("img")]
    assert not any(alt.startswith("bee") and alt.endswith("adapted") for alt in shown)
    assert sum(alt.startswith("bee") for alt in shown) == 3 * 4


def test_without_predictions_frames_are_chosen_by_place(project: Path):
    shutil.rmtree("predictions")
    page = made_again()
    assert page.texts["h4"][:3] == ["Frame 00001, first", "Frame 00003, middle", "Frame 00004, last"]
    assert sum(image["alt"].startswith("ant") for image in page.all("img")) == 3 * 3


def test_large_benchmarks_show_the_worst(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "PICTURED", 1)
    page = made_again()
    assert page.sequences == ["bee"]
    assert any("1 of 2 sequences" in text for text in page.texts["p"])


def test_a_page_of_nothing_at_all(tmp_path: Path):
    make_report(tmp_path / "page.html", Findings(load_params(REPOSITORY / "params.yaml"), {}))
    assert Page((tmp_path / "page.html").read_text()).texts["title"] == ["AMD run report"]
