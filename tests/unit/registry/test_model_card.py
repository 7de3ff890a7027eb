"""The model card: every part that a user needs, from real metadata, and the spread over seeds by hand."""

from pathlib import Path

from registering import PARAMS, make_checkpoint, put, scores

from amd.data.tables import MANIFEST, write_table
from amd.models.loading import open_model
from amd.registry.gates import Evidence
from amd.registry.model_card import DataFacts, data_facts, model_card
from amd.runtime.files import sha256
from amd.runtime.tracking import connect


def evidence(image: float, adapted: float) -> Evidence:
    return Evidence(0.1, image, adapted, "davis2016", "x")


def test_the_card_has_every_part(checkpoint: Path):
    _, info = open_model(checkpoint)
    data = DataFacts("0123abcd", videos=48, rejected=2, frames=1536, hours=0.0178)
    card = model_card("amd", info, scores(0.61, 0.71), "the first champion", data)
    titles = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert titles == ["What", "Data", "Supervision", "Scores", "Without labels", "Protocol", "Gates", "Limits", "Use"]
    for part in (
        "segment 3 is the object",
        "`holiday/clips`: 48 videos, 1536 frames, 0.018 hours (frame folders count none), 0 more held out, 2 rejected",
        "Manifest SHA-256 `0123abcd`",
        "no label",
        "| image | 0.610 | 0.500 | 0.900 | 0.900 |",
        "| adapted | 0.710 |",
        "One training: the spread over seeds is not known.",
        "- dataset: davis2016",
        "- frames_scored: 5",
        "short edge of 48 pixels",
        'mlflow.pyfunc.load_model("models:/amd@champion")',
    ):
        assert part in card
    assert len(card) < 5000


def test_the_card_without_scores_and_manifest_says_so(checkpoint: Path):
    _, info = open_model(checkpoint)
    card = model_card("amd", info, {}, "refused")
    assert "- not scored" in card
    assert "the manifest was not at hand" in card


def test_the_spread_over_seeds(checkpoint: Path):
    _, info = open_model(checkpoint)
    seeds = {"0": evidence(0.5, 0.6), "1": evidence(0.6, 0.6), "2": evidence(0.7, 0.9)}
    card = model_card("amd", info, scores(0.7, 0.9), "", None, seeds)
    # 0.5, 0.6, 0.7: variance (0.01 + 0 + 0.01) / 2; 0.6, 0.6, 0.9: (0.01 + 0.01 + 0.04) / 2
    assert "3 trainings of these parameters (seeds 0, 1, 2)" in card
    assert "0.600 ± 0.100 per image, 0.700 ± 0.173 adapted" in card


def test_a_manifest_in_numbers(tmp_path: Path):
    rows = [
        {"video_id": "a", "status": "accepted", "frames": 100, "duration_s": 1800.0},
        {"video_id": "b", "status": "accepted", "frames": 50, "duration_s": None},  # a frame folder
        {"video_id": "c", "status": "rejected", "frames": 7, "duration_s": 900.0},
    ]
    path = tmp_path / "manifest.parquet"
    write_table(path, MANIFEST, rows)
    assert data_facts(path) == DataFacts(sha256(path), videos=2, rejected=1, frames=150, hours=0.5)


def test_registered_seeds_meet_in_the_card(store: Path, tmp_path: Path):
    def register_seed(seed: int, image: float, **more: object) -> str:
        params = {**PARAMS, "pretrain": {**PARAMS["pretrain"], "seed": seed, **more}}
        path = make_checkpoint(tmp_path / f"{seed}.safetensors", seed, params=params)
        put("seeded", path, scores(image, 0.7))
        newest = max(connect().search_model_versions("name = 'seeded'"), key=lambda version: int(version.version))
        return newest.description

    assert "One training" in register_seed(0, 0.60)
    assert "2 trainings of these parameters (seeds 0, 1): label-free J 0.650 ± 0.071" in register_seed(1, 0.70)
    newer = register_seed(1, 0.80)  # the newest of a seed counts
    assert "2 trainings" in newer
    assert "0.700 ± 0.141 per image" in newer
    assert "One training" in register_seed(2, 0.80, iterations=10)  # another recipe
