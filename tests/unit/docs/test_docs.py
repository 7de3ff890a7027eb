"""What the documents promise of themselves: a length, and paths and modules that exist."""

import re
from pathlib import Path

import pytest
from projects import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
TEXTS = [*PAGES, REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
TO_WRITE = {"amd/data/benchmarks/mybench.py", "stages/NAME.py"}  # by whoever follows CONTRIBUTING


def test_the_documents_stay_short():
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in PAGES) <= 12_000
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_what_a_document_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:amd|stages|flows|pipelines|tests|benchmarks|docs)/[\w./]+)`", text)) - TO_WRITE
    missing = [path for path in paths if "NAME" not in path and not (REPOSITORY / path).exists()]
    for module in set(re.findall(r"python -m ((?:amd|stages|flows|benchmarks|faults|fuzz)(?:\.\w+)*)", text)):
        file = REPOSITORY / module.replace(".", "/")
        missing += [] if file.is_dir() or file.with_suffix(".py").is_file() else [module]
    assert missing == []
