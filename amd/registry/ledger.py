"""The ledger of a registered model: who made which version the champion, when and why, append-only.

Input: decisions. Output: entries numbered 1, 2, 3 …, kept as parameters of one MLflow run a model. MLflow never
changes a parameter that is logged: of two processes that log the same number, on one machine or on several, the
store's own key lets one through and tells the other. That makes an append a compare-and-swap, which MLflow offers
neither for tags nor for aliases.

    000007             the decision, as JSON
    000007.done        the alias was moved accordingly; until then whoever comes next moves it
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import cast

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from amd.runtime.tracking import EXPERIMENT

LEDGER_TAG = "amd.ledger"
ENTRY = re.compile(r"([0-9]{6,})(\.done)?")


@dataclass(frozen=True)
class Entry:
    """One decision."""

    action: str  # promoted | rolled back | found: the alias was moved by other means
    version: str | None  # the champion from then on; None: none
    before: str | None  # the champion until then
    by: str
    at: str  # UTC
    why: str
    gates: str  # what the gates said


@dataclass(frozen=True)
class Page:
    """The ledger as it was when it was read."""

    entries: tuple[Entry, ...]
    done: bool  # whether the last entry was carried out

    @property
    def champion(self) -> str | None:
        """The version that is the champion by the last entry."""
        return self.entries[-1].version if self.entries else None

    @property
    def reigns(self) -> list[str]:
        """The champions that a rollback would bring back, the present one last; a rollback undoes what came after."""
        stack: list[str] = []
        for entry in self.entries:
            if entry.version is None:
                continue
            if entry.action == "rolled back" and entry.version in stack:
                while stack[-1] != entry.version:
                    stack.pop()
            elif stack[-1:] != [entry.version]:
                stack.append(entry.version)
        return stack


class Ledger:
    """The ledger of one registered model; opening it makes it, once, whoever comes first."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self._run = _ledger_run(client, name)

    def read(self) -> Page:
        """All entries so far."""
        logged = self._client.get_run(self._run).data.params
        numbers = sorted(int(match[1]) for key in logged if (match := ENTRY.fullmatch(key)) and not match[2])
        entries = tuple(Entry(**json.loads(logged[_key(number)])) for number in numbers)
        return Page(entries, not entries or f"{_key(len(entries))}.done" in logged)

    def append(self, page: Page, entry: Entry) -> bool:
        """Add an entry to what `page` shows; False when another process has added one since."""
        text = json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False)
        return self._log(_key(len(page.entries) + 1), text)

    def mark_done(self, page: Page) -> None:
        """Note that the last entry of `page` was carried out."""
        self._log(f"{_key(len(page.entries))}.done", "true")

    def _log(self, key: str, value: str) -> bool:
        """Log a parameter; False when it has another value already."""
        try:
            self._client.log_param(self._run, key, value)
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE" and "Changing param values" in str(error):
                return False
            raise
        return True


def _key(number: int) -> str:
    return f"{number:06d}"


def _ledger_run(client: MlflowClient, name: str) -> str:
    """The run that holds the ledger of `name`: an experiment's name is unique, and it is made with its tags at once."""
    label = f"{EXPERIMENT}-registry-{name}"
    experiment = client.get_experiment_by_name(label)
    if experiment is None:
        home = cast(Experiment, client.get_experiment_by_name(EXPERIMENT)).experiment_id
        run = client.create_run(home, run_name=label, tags={LEDGER_TAG: name}).info.run_id
        client.set_terminated(run)  # it does not run; parameters are taken all the same
        try:
            client.create_experiment(label, tags={LEDGER_TAG: run})
        except MlflowException as error:
            client.delete_run(run)
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = cast(Experiment, client.get_experiment_by_name(label))
    return experiment.tags[LEDGER_TAG]
