"""Receipts: what they stand for, and for how long; those of predictions, to the byte."""

import json
import shutil
from pathlib import Path

import pytest
from adapt_project import REPOSITORY, copy_project, make_project, wanted

from amd.config import load_params
from amd.data.benchmarks.davis import open_benchmark
from amd.runtime.receipts import fingerprint, standing, write_sealed
from stages.receipts import code_hash, origin, read_receipt, write_receipt


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "original").mkdir()
    return copy_project(make_project(tmp_path / "original"), tmp_path / "project", monkeypatch)


def test_a_receipt_stands_for_what_it_was_made_from_alone(tmp_path: Path) -> None:
    path, made_from = tmp_path / "done" / "receipt.json", {"settings": {"a": 1, "b": [2, None]}}
    assert standing(path, "origin", made_from) is None
    write_sealed(path, {"origin": made_from, "rows": 3})
    assert standing(path, "origin", {"settings": {"b": [2, None], "a": 1}}) == {"origin": made_from, "rows": 3}
    assert standing(path, "origin", {"settings": {"a": 1, "b": [2, 0]}}) is None
    assert standing(path, "rows", 4) is None
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 4}))
    assert standing(path, "origin", made_from) is None  # changed since: its word does not count


def test_fingerprints_are_of_the_data_not_of_its_order() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_receipt_counts_while_nothing_it_stands_for_changed(project: Path) -> None:
    settings = load_params().adapt
    sequence = open_benchmark("builtin-clips", "data/corpus/heldout")[0]
    out, made_from = Path("predictions/adapted"), origin("checkpoint", sequence, settings)
    for path in map(Path, wanted("clip-0000")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert read_receipt(out, sequence, made_from) is None
    write_receipt(out, sequence, made_from, {"seconds": 1.5})
    assert read_receipt(out, sequence, made_from)["seconds"] == 1.5
    how = settings.model_copy(update={"workers": 7, "threads": 3, "timeout_s": 9.0, "retries": 5})
    assert origin("checkpoint", sequence, how) == made_from
    what = settings.model_copy(update={"seed": 1})
    assert read_receipt(out, sequence, origin("checkpoint", sequence, what)) is None
    assert read_receipt(out, sequence, origin("another", sequence, settings)) is None

    (lost,) = out.glob("segments/*/clip-0000/00003.png")
    lost.unlink()
    assert read_receipt(out, sequence, made_from) is None
    lost.touch()
    assert read_receipt(out, sequence, made_from)
    shutil.copy(sequence.frames[0].image, sequence.frames[1].image)
    assert read_receipt(out, sequence, origin("checkpoint", sequence, settings)) is None
    Path("predictions/adapted/done/builtin-clips/clip-0000.json").write_text("{")
    assert read_receipt(out, sequence, made_from) is None


def test_receipts_stand_for_code_that_adapts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = code_hash()
    copied = tmp_path / "amd"
    shutil.copytree(REPOSITORY / "amd", copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("amd.__file__", str(copied / "__init__.py"))
    assert code_hash() == before
    for name in ("training/adaptation.py", "models/warp.py"):
        with (copied / name).open("a") as file:
            file.write("# changed\n")
        assert code_hash() != before
        before = code_hash()
