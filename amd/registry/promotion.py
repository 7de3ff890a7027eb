"""The champion: promotion through the gates, and the way back.

Input: a version of a registered model. Output: the alias `champion` on it, and an entry of the ledger that says who
did it, when and why. A decision is appended to the ledger first, against the champion it was made for; only then is
the alias moved. Who loses the race for an entry decides anew against the new champion, and a decision whose process
was killed before the alias moved is carried out by whoever comes next. So however many decide at once, on however
many machines, one champion is left and it is the one of the last entry.
"""

import getpass
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from amd.registry.gates import PAIR_ACCURACY_TAG, Champion, Evidence, Verdict, judge, judge_embedding
from amd.registry.ledger import Entry, Ledger, Page
from amd.runtime.errors import UserError
from amd.runtime.registered import (
    CHAMPION,
    MAX_DROP_TAG,
    REASON_TAG,
    VERDICT_TAG,
    aliases_of,
    find_version,
    is_absent,
    versions_of,
)
from amd.runtime.tracking import connect

OVERRIDDEN = "overridden"  # what the gates said to a version that became champion all the same begins so
ACTOR_VARIABLE = "AMD_ACTOR"
LOOK_AGAIN_S = 2.0  # an alias that differs for longer was moved by other means than this program
MAX_REASON = 1000  # characters; MLflow cuts parameters at 6,000


def promote(name: str, version: str, why: str = "", anyway: bool = False) -> Entry | None:
    """Make a version the champion if it passes the gates against the present one; None when it is that already.

    `anyway` makes it that also when it does not pass; the entry keeps what the gates said. Raises UserError with the
    gates' reason when it does not pass, for an unknown model or version, and for `anyway` without a reason `why`.
    """
    if anyway and not why.strip():
        raise UserError(
            "--anyway: the gates are overridden with a reason alone; give --reason, which the history keeps"
        )
    client = connect(create=False)
    candidate = find_version(client, f"models:/{name}/{version}")
    entry, verdict = promote_version(client, candidate, why, anyway)
    if not verdict.passed and entry is None:
        raise UserError(f"{name} version {version}: not promoted: {verdict.reason}")
    return entry


def promote_version(
    client: MlflowClient, candidate: ModelVersion, why: str, anyway: bool = False
) -> tuple[Entry | None, Verdict]:
    """The entry that made `candidate` the champion, None when it is not or was already; and what the gates said.

    `anyway`: it becomes champion whatever they say.
    """
    verdict = Verdict(True, "it is the champion already")

    def decide(page: Page) -> Entry | None:
        nonlocal verdict
        if page.champion == str(candidate.version):
            return None
        verdict = judge_version(client, candidate, page.champion)
        for key, value in verdict_tags(verdict).items():
            _upsert(client.set_model_version_tag, candidate.name, candidate.version, key, value)
        if not verdict.passed and not anyway:
            return None
        gates = verdict.reason if verdict.passed else f"{OVERRIDDEN}: {verdict.reason}"
        return _entry("promoted", page, candidate.version, why, gates)

    return _move(client, candidate.name, decide), verdict


def rollback(name: str, to: str | None = None, why: str = "") -> Entry:
    """Bring the previous champion back, or the earlier champion `to`; the gates are not asked.

    Raises UserError when there is none, or when it is not in the registry any more.
    """
    client = connect(create=False)
    versions_of(client, name)

    def decide(page: Page) -> Entry:
        earlier = page.reigns[:-1] if page.champion else page.reigns
        if not earlier:
            raise UserError(f"{name}: no earlier champion to go back to; see `amd models history {name}`")
        if to is not None and to not in earlier:
            were = ", ".join(dict.fromkeys(reversed(earlier)))
            raise UserError(f"{name} version {to}: no earlier champion, so promote it instead; earlier ones: {were}")
        version = find_version(client, f"models:/{name}/{to or earlier[-1]}")
        return _entry("rolled back", page, version.version, why, "not asked")

    return cast(Entry, _move(client, name, decide))


def judge_version(client: MlflowClient, candidate: ModelVersion, champion: str | None) -> Verdict:
    """What the gates say to a version after champion version `champion`."""
    try:
        max_drop = float(candidate.tags[MAX_DROP_TAG])
    except (KeyError, ValueError):  # someone took the tag off
        max_drop = 0.0
    if PAIR_ACCURACY_TAG in candidate.tags:
        held = (champion, client.get_model_version(candidate.name, champion).tags) if champion else None
        return judge_embedding(candidate.tags, held, max_drop)
    evidence = Evidence.from_tags(candidate.tags)
    if evidence is None:
        return Verdict(False, "it has no scores to judge by; register it with the register stage")
    return judge(evidence, champion_evidence(client, candidate.name, champion), max_drop)


def champion_evidence(client: MlflowClient, name: str, version: str | None) -> Champion | None:
    """The champion as the gates see it; None when there is none."""
    if version is None:
        return None
    return Champion(version, Evidence.from_tags(client.get_model_version(name, version).tags))


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """A verdict as tags of a version."""
    return {VERDICT_TAG: "passed" if verdict.passed else "refused", REASON_TAG: verdict.reason}


def _move(client: MlflowClient, name: str, decide: Callable[[Page], Entry | None]) -> Entry | None:
    """Append what `decide` says to the ledger as it then is, and move the alias; None when it says nothing."""
    ledger = Ledger(client, name)
    while True:
        page = _settled(client, name, ledger)
        entry = decide(page)
        if entry is None:
            return None
        if ledger.append(page, entry):
            _carry_out(client, name, ledger)
            return entry


def _settled(client: MlflowClient, name: str, ledger: Ledger) -> Page:
    """The ledger, with the last decision carried out and moves by other means entered."""
    while True:
        page = ledger.read()
        if not page.done:
            _carry_out(client, name, ledger)
            continue
        if _holder(client, name) == page.champion:
            return page
        time.sleep(LOOK_AGAIN_S)  # another process may be about to set it right
        holder = _holder(client, name)
        if holder != page.champion and ledger.read() == page:
            found = Entry("found", holder, page.champion, "unknown", _now(), "the alias was moved by other means", "")
            ledger.append(page, found)


def _carry_out(client: MlflowClient, name: str, ledger: Ledger) -> None:
    """Move the alias to the champion of the last entry, also of one that comes in meanwhile."""
    page = ledger.read()
    while True:
        _set_alias(client, name, page.champion)
        latest = ledger.read()
        if len(latest.entries) == len(page.entries):
            ledger.mark_done(page)
            return
        page = latest


def _set_alias(client: MlflowClient, name: str, version: str | None) -> None:
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
        return
    try:
        _upsert(client.set_registered_model_alias, name, CHAMPION, version)
    except MlflowException as error:
        if not is_absent(error):  # a version that was deleted: the next look finds the alias as it is
            raise


def _upsert(call: Callable[..., None], *arguments: str) -> None:
    """Set a tag or an alias. MLflow looks, then inserts: of two processes at once the slower hits the other's row."""
    try:
        call(*arguments)
    except MlflowException as error:
        if "unique constraint" not in str(error).lower():
            raise
        call(*arguments)  # the row is there now, and is updated


def _holder(client: MlflowClient, name: str) -> str | None:
    return aliases_of(client, name).get(CHAMPION)


def _entry(action: str, page: Page, version: str, why: str, gates: str) -> Entry:
    if len(why) > MAX_REASON:
        raise UserError(f"--reason: {len(why)} characters; at most {MAX_REASON} are kept")
    return Entry(action, str(version), page.champion, _actor(), _now(), why, gates)


def _actor() -> str:
    """Who decides: AMD_ACTOR, else user@host."""
    if actor := os.environ.get(ACTOR_VARIABLE):
        return actor
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
