"""Mends what DVC left half-written when it was killed; `make run` and the flows begin with it."""

from amd.errors import exit_on_user_error
from stages.lock_files import mend


@exit_on_user_error
def main() -> None:
    """Mend the DVC project in the current folder; a line per file that was torn."""
    for line in mend():
        print(line)


if __name__ == "__main__":
    main()
