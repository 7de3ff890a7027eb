"""The champion on a real SQLite store: promotion, rollback, what others or killed processes leave behind."""

import getpass
import platform
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registering import champion, put, scores, user_error

from amd.registry import promotion
from amd.registry.gates import J_ADAPTED
from amd.registry.ledger import Entry, Ledger, Page
from amd.registry.listing import print_history
from amd.registry.promotion import promote, rollback
from amd.runtime.tracking import connect


@pytest.fixture(scope="module", autouse=True)
def _impatient():
    """Nobody else works on these models: no need to wait for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "LOOK_AGAIN_S", 0.01)
        yield


def version(name: str, image: float, adapted: float = 0.7, max_drop: float = 0.02) -> str:
    """A version without files: tags are all that promotion looks at."""
    client = connect()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    tags = {"loss": "0.1", "J.image": repr(image), "J.adapted": repr(adapted), "scored_on": "x"}
    tags |= {"benchmark.sha256": "x", "gate.max_drop": repr(max_drop), "checkpoint.sha256": "0"}
    return str(client.create_model_version(name, "s3://nowhere/model", tags=tags).version)


def versions(name: str, *values: float) -> MlflowClient:
    for value in values:
        version(name, value)
    return connect()


def moves(name: str) -> list[tuple[str, str | None, str | None]]:
    """The history, in short; its chain must be unbroken and end where the alias is."""
    page = Ledger(connect(), name).read()
    assert [entry.before for entry in page.entries] == [None, *(entry.version for entry in page.entries[:-1])]
    assert page.done
    assert page.champion == champion(name)
    return [(entry.action, entry.before, entry.version) for entry in page.entries]


def test_promote_runs_the_gates_again(store: Path):
    client = versions("again", 0.60, 0.50, 0.59)
    promote("again", "1")
    promote("again", "3", "a little worse, much smaller")
    assert user_error(promote, "again", "2").startswith("again version 2: not promoted: J per image 0.500 is more than")
    assert client.get_model_version("again", "2").tags["gate.verdict"] == "refused"
    assert champion("again") == "3"
    assert promote("again", "3") is None
    assert promote("again", "1").version == "1"
    assert client.get_model_version("again", "1").tags["gate.verdict"] == "passed"
    assert moves("again") == [("promoted", None, "1"), ("promoted", "1", "3"), ("promoted", "3", "1")]
    assert "has no version 8" in user_error(promote, "again", "8")
    assert "no model 'nobody'" in user_error(promote, "nobody", "1")


def test_missing_evidence_is_refused(store: Path):
    client = versions("bare", 0.60, 0.70)
    client.delete_model_version_tag("bare", "2", J_ADAPTED)
    promote("bare", "1")
    assert "no scores to judge by" in user_error(promote, "bare", "2")
    client.set_model_version_tag("bare", "2", J_ADAPTED, "0.69")  # 0.01 below; but how far it may drop is not known
    client.delete_model_version_tag("bare", "2", "gate.max_drop")
    assert "more than 0 below" in user_error(promote, "bare", "2")


def test_the_history_says_who_when_and_why(store: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    versions("signed", 0.60, 0.61)
    before = datetime.now(UTC) - timedelta(seconds=1)
    first = promote("signed", "1", "première · 初")
    monkeypatch.setenv("AMD_ACTOR", "ci job 17")
    second = promote("signed", "2", "line\nbreaks")
    assert (first.by, second.by) == (f"{getpass.getuser()}@{platform.node()}", "ci job 17")
    assert before <= datetime.fromisoformat(first.at) <= datetime.now(UTC)
    assert second.gates == "J 0.610 per image, 0.700 adapted; not below the 0.600 and 0.700 of champion version 1 " + (
        "by more than 0.02"
    )
    assert Ledger(connect(), "signed").read().entries == (first, second)
    print_history("signed")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("première · 初")
    assert lines[2].split()[1:] == ["promoted", "2", "1", "ci", "job", "17", "line", "breaks"]
    assert "at most 1000" in user_error(promote, "signed", "1", "x" * 1001)


def test_rollback_undoes_promotions_one_by_one(store: Path):
    versions("undone", 0.60, 0.61, 0.62)
    assert "no earlier champion" in user_error(rollback, "undone")
    for number in "123":
        promote("undone", number)
    assert (rollback("undone", why="too slow").version, champion("undone")) == ("2", "2")
    assert rollback("undone").version == "1"
    assert "no earlier champion" in user_error(rollback, "undone")
    promote("undone", "3")
    assert rollback("undone").version == "1"
    assert [action for action, _, _ in moves("undone")] == [*["promoted"] * 3, *["rolled back"] * 2, "promoted"] + [
        "rolled back"
    ]


def test_rollback_to_an_earlier_champion(store: Path):
    client = versions("chosen", 0.60, 0.61, 0.62, 0.30)
    for number in "123":
        promote("chosen", number)
    reason = user_error(rollback, "chosen", "4")
    assert reason == "chosen version 4: no earlier champion, so promote it instead; earlier ones: 2, 1"
    assert rollback("chosen", "1").version == champion("chosen") == "1"
    promote("chosen", "2")
    client.delete_model_version("chosen", "1")
    assert "has no version 1; versions: 2, 3, 4" in user_error(rollback, "chosen")
    assert champion("chosen") == "2"


def test_a_rollback_asks_no_gate(store: Path):
    versions("worse", 0.30, 0.90)
    promote("worse", "1")
    promote("worse", "2")
    assert "more than 0.02 below" in user_error(promote, "worse", "1")
    assert rollback("worse").gates == "not asked"


def test_a_move_by_other_means_is_entered_and_respected(store: Path):
    client = versions("moved", 0.60, 0.10, 0.30)
    promote("moved", "1")
    client.delete_registered_model_alias("moved", "champion")
    promote("moved", "2")  # the first anew, or the gates would refuse it
    client.set_registered_model_alias("moved", "champion", "3")
    assert "below the 0.300 of champion version 3" in user_error(promote, "moved", "2")
    assert moves("moved") == [
        ("promoted", None, "1"), ("found", "1", None), ("promoted", None, "2"), ("found", "2", "3"),
    ]  # fmt: skip
    assert rollback("moved").version == "2"


def test_a_decision_that_was_cut_short_is_carried_out_by_the_next(store: Path, capsys: pytest.CaptureFixture[str]):
    client = versions("killed", 0.60, 0.70, 0.65)
    promote("killed", "1")
    ledger = Ledger(client, "killed")
    killed = Entry("promoted", "2", "1", "someone", "2026-01-01T00:00:00+00:00", "", "passed")
    assert ledger.append(ledger.read(), killed)  # and its process was killed before the alias moved
    print_history("killed")
    assert "`amd models promote killed 2` moves it" in capsys.readouterr().out
    assert "below the 0.700 of champion version 2" in user_error(promote, "killed", "3")
    assert moves("killed") == [("promoted", None, "1"), ("promoted", "1", "2")]


def test_a_decision_for_a_version_that_is_gone_blocks_nothing(store: Path):
    client = versions("gone", 0.60, 0.70, 0.65)
    promote("gone", "1")
    ledger = Ledger(client, "gone")
    ledger.append(ledger.read(), Entry("promoted", "2", "1", "someone", "2026-01-01T00:00:00+00:00", "", "passed"))
    client.delete_model_version("gone", "2")
    promote("gone", "3")
    assert moves("gone")[1:] == [("promoted", "1", "2"), ("found", "2", "1"), ("promoted", "1", "3")]


def test_an_entry_has_room_for_one(store: Path):
    """Two decisions on the same page: the second is told, and nothing of the first is overwritten."""
    client = versions("room", 0.60)
    one, two = Ledger(client, "room"), Ledger(MlflowClient(client.tracking_uri), "room")
    page = one.read()
    first, second = (Entry("promoted", "1", None, who, "2026-01-01T00:00:00+00:00", "", "") for who in ("a", "b"))
    assert one.append(page, first)
    assert not two.append(page, second)
    assert two.read().entries == (first,)
    assert two.append(two.read(), second)
    assert one.read().entries == (first, second)


def test_what_a_rollback_would_bring_back():
    def reigns(*actions: tuple[str, str | None]) -> list[str]:
        return Page(tuple(Entry(action, to, None, "", "", "", "") for action, to in actions), True).reigns

    assert reigns() == []
    assert reigns(("promoted", "1"), ("promoted", "2"), ("promoted", "1")) == ["1", "2", "1"]
    assert reigns(("promoted", "1"), ("promoted", "2"), ("rolled back", "1"), ("promoted", "3")) == ["1", "3"]
    assert reigns(("promoted", "1"), ("found", None), ("promoted", "1")) == ["1"]
    assert reigns(("rolled back", "9"), ("found", "2")) == ["9", "2"]


def test_the_register_stage_leaves_its_entry(store: Path, checkpoint: Path):
    put("staged", checkpoint, scores(0.60, 0.70))
    put("staged", checkpoint, scores(0.10, 0.70))
    put("staged", checkpoint, scores(0.61, 0.70))
    assert moves("staged") == [("promoted", None, "1"), ("promoted", "1", "3")]
    assert {entry.why for entry in Ledger(connect(), "staged").read().entries} == {"the register stage"}
