"""What comes before `dvc repro` in `make run` and the flows: is this a project to work in, and is all in it ours.

`python -m stages.prepare` refuses a project without git, mends DVC's torn files (stages.lock_files), and refuses
foreign files where DVC removes files (stages.owned). In a folder that is no DVC project it does nothing.
"""

from pathlib import Path

from amd.runtime.errors import exit_on_user_error
from stages.lock_files import mend
from stages.owned import require_owned
from stages.project import open_project, require_own_store


def prepare() -> list[str]:
    """Make the current folder ready for `dvc repro`, if it is a DVC project; a line for whatever was mended or moved.

    Raises UserError for a project without git, a copy that DVC made for an experiment, and foreign files.
    """
    require_own_store()
    if not Path(".dvc").is_dir():
        return []
    with open_project() as project:
        return mend(project) + require_owned(project)


@exit_on_user_error
def main() -> None:
    """Prepare the current folder; a line per file that was mended or set aside."""
    for line in prepare():
        print(line)


if __name__ == "__main__":
    main()
