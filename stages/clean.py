"""`make clean`: remove what the pipeline made, and nothing else.

Of DVC's outputs go the files that are the pipeline's own (stages.owned); what else lies there stays and is named.
DVC's cache stays too: `dvc checkout` brings everything back for as long as its dvc.lock is there.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from amd.runtime.errors import exit_on_user_error
from stages.lock_files import lock_files
from stages.owned import files_below, strangers
from stages.project import open_project

STATE = Path(".amd")


@exit_on_user_error
def main() -> None:
    """Clean the current folder, a DVC project; a line per file that is somebody else's."""
    with open_project() as project:
        outputs = [Path(out.fs_path) for stage in project.index.stages for out in stage.outs]
        kept = strangers(project)
    for output in outputs:
        _remove(output, kept)
    for lock in lock_files():
        lock.unlink()
    shutil.rmtree(STATE, ignore_errors=True)
    for path in sorted(kept):
        print(f"{os.path.relpath(path)}: not made by the pipeline, so it stays")


def _remove(output: Path, kept: set[Path]) -> None:
    """Remove an output but for the files in `kept`, and the folders that are then empty, up to the project's."""
    if not os.path.lexists(output):
        return
    for path in files_below(output):
        if path not in kept:
            path.unlink()
    folders = [Path(folder) for folder, _, _ in os.walk(output, topdown=False)] or [output]
    above = output.parent.relative_to(Path.cwd()).parts
    folders += [Path.cwd().joinpath(*above[:depth]) for depth in range(len(above), 0, -1)]
    for folder in folders:
        with suppress(OSError):  # not empty, or a file that is gone
            _forget_ignored(folder)
            folder.rmdir()


def _forget_ignored(folder: Path) -> None:
    """DVC leaves a .gitignore beside its outputs; alone in a folder it has nothing to say."""
    if [path.name for path in folder.iterdir()] == [".gitignore"]:
        (folder / ".gitignore").unlink()


if __name__ == "__main__":
    main()
