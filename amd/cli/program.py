"""The `amd` command: arguments in, one function of the command's subject each; `amd --help` is the manual.

Errors are one line on stderr with exit status 2; Ctrl-C ends with 130. Libraries are imported by the command that
needs them, so that help and mistakes in the arguments answer at once.
"""

import argparse
from collections.abc import Sequence

from amd.cli import data, evaluating, models, segmenting, settings, transferring
from amd.cli.arguments import Parser
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.processes import keep_freed_memory

MANUAL = """\
Learn to see objects from unlabeled video, and segment images and videos with what was learnt.

The pipeline (videos in, a registered model out) is run by `dvc repro`; see README.md. This command is for
everything around it: segmenting, scoring, looking at data, and getting models in and out.
"""

EXAMPLES = """\
MODEL is one of
  models:/NAME@ALIAS, models:/NAME/VERSION   a registered model (MLFLOW_TRACKING_URI, else ./mlflow.db)
  FILE.safetensors                           a checkpoint, as the pipeline and `amd import` write it
  FILE.pth                                   the published reference's weights; pickled code is never run

examples
  amd profile quickstart                                       write params.yaml
  amd doctor my_videos                                         what can be used of these videos?
  amd segment clip.mp4 --model models:/amd@champion --out out --overlay
  amd score --dataset davis2016 --root DAVIS --predictions predictions/adapted/masks/davis2016

exit status: 0 well, 2 a mistake or a failed input (one line on stderr says which), 130 interrupted
"""


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of this process, or `arguments`."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    keep_freed_memory()
    try:
        command(**options)
    except OSError as error:  # a locked folder, a name too long, a disk that is gone
        raise UserError(f"{error.filename or 'the system'}: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="amd", description=MANUAL, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subject in (segmenting, evaluating, transferring, data, models, settings):
        subject.add(subparsers)
    return parser
