"""Which videos are trained on, which folders a user may name, and what stands beside published numbers."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from squares import moving_squares

from amd.config import Data
from amd.data.benchmarks.davis import open_benchmark
from amd.evaluation.published import VOS, note, published_vos
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_folder, remove_half_written, write_json
from stages.ingest import BUILT_IN, training_videos
from stages.report import HEADLINES, score_rows, summary


def test_own_videos_are_trained_on_and_the_built_in_corpus_without_any(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / ".gitkeep").touch()
    assert training_videos(videos) == BUILT_IN
    (videos / "notes.txt").touch()  # nothing to train on: a mistake to be told of, not to be trained around
    assert training_videos(videos) == videos
    assert training_videos(tmp_path / "absent") == tmp_path / "absent"


@pytest.mark.parametrize("videos", ["data/corpus/train", "./data/corpus", "data/shards/mine"])
def test_an_output_of_the_pipeline_is_no_folder_for_videos(videos: str) -> None:
    values: dict[str, str | None] = {
        "benchmark": "davis2016",
        "benchmark_root": "x",
        "saliency": "duts",
        "saliency_root": None,
    }
    with pytest.raises(ValidationError, match="an output of the pipeline, which DVC empties"):
        Data(videos=videos, **values)
    assert Data(videos="data/films", **values).videos == "data/films"


def test_published_numbers_say_that_ours_are_of_other_data(tmp_path: Path) -> None:
    root = tmp_path / "davis"
    moving_squares(root)
    part, own = open_benchmark("davis2016", root), open_benchmark("builtin-clips", root)
    assert published_vos(part)["J"] == VOS["davis2016"]
    assert "2 sequences, 9 annotated frames" in published_vos(part)["note"]
    assert own[0].dataset == "builtin-clips"
    assert published_vos(own) == {}
    assert note(True, "all") == {}


def test_a_folder_is_not_replaced_where_a_file_would_be_lost(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for _ in range(2):
        with atomic_folder(made) as part:
            (part / "a").touch()
    (made / "mine").touch()
    with pytest.raises(UserError, match=f"^{made}/mine: would be lost"), atomic_folder(made) as part:
        (part / "a").touch()
    assert {path.name for path in made.iterdir()} == {"a", "mine"}
    for name in (".film.part", ".x.abcdefgh.part"):
        (tmp_path / name).touch()
    remove_half_written(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"made", ".film.part"}


def test_the_summary_has_a_number_for_what_ran(tmp_path: Path) -> None:
    per_sequence = {"label-free": {"sequences": {"bear": {"J": {"mean": 0.25}}}}}
    vos = {"summary": {"image": {"label_free_J": 0.123456}}, "scores": {"image": per_sequence}}
    write_json(tmp_path / "vos.json", vos)
    write_json(tmp_path / "saliency.json", {"skipped": "no images"})
    assert summary(tmp_path) == {"J": 0.1235}
    assert set(summary(tmp_path)) < set(HEADLINES)
    assert score_rows(vos) == [{"sequence": "bear", "masks": "image", "J": 0.25}]
    assert score_rows(None) == []
