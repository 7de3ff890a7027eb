"""The folder that the pipeline works in, as DVC sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from amd.runtime.errors import UserError

if TYPE_CHECKING:
    from dvc.repo import Repo

EXPERIMENTS = Path(".dvc/tmp/exps")  # of a project, where `dvc exp run --temp` and `--queue` copy it to


@contextmanager
def open_project() -> Iterator["Repo"]:
    """DVC's view of the current folder; UserError where DVC cannot work."""
    from dvc.exceptions import DvcException  # here: DVC takes a while to import
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        project = Repo()
    except (DvcException, SCMError) as error:
        raise UserError(_no_project(str(error))) from None
    with project:
        yield project


def require_own_store() -> None:
    """UserError in a copy of a project that `dvc exp run --temp` or `--queue` made: its store would be thrown away."""
    here = str(Path.cwd())
    if f"/{EXPERIMENTS}/" in f"{here}/":
        main = here.partition(f"/{EXPERIMENTS}")[0]
        raise UserError(
            f"{here}: a temporary copy, without the videos and the MLflow store of {main}; a model registered here "
            "would be thrown away: use `dvc exp run` without --temp and --queue"
        )


def _no_project(reason: str) -> str:
    if "git" in reason:
        begin = "git init && git add --all && git commit -m 'Begin'"
        return f"{Path.cwd()}: not a git repository (a ZIP has none), which DVC needs; run: {begin}"
    return f"{Path.cwd()}: not a DVC project ({' '.join(reason.split())})"
