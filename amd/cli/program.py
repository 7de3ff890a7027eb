"""The `amd` command: arguments in, one function of the command's subject each; `amd --help` is the manual.

Errors are one line on stderr with exit status 2; Ctrl-C and SIGTERM end with 130. Libraries are imported by the
command that needs them, so that help and mistakes in the arguments answer at once.
"""

import argparse
import os
import signal
import threading
from collections.abc import Sequence

import amd
from amd.cli import data, evaluating, forgetting, models, segmenting, training
from amd.cli.arguments import Parser, PrintCompletion, add_commands
from amd.runtime.errors import UserError, exit_on_user_error

COMMANDS = (
    *segmenting.COMMANDS,
    *training.COMMANDS,
    *evaluating.COMMANDS,
    *data.COMMANDS,
    *forgetting.COMMANDS,
    *models.COMMANDS,
)

MANUAL = """\
Learn to see objects from unlabeled video, and segment images and videos with what was learnt.

The pipeline (videos in, a registered model out) is run by `dvc repro`, or in short by `amd train`; see README.md. This
command is for everything around it: segmenting, scoring, looking at data, and getting models in and out.
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

exit status: 0 well, 2 a mistake, a failed input or data that cannot be used (one line on stderr says which), 130
interrupted
"""


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of this process, or `arguments`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a shutdown ends it as Ctrl-C does
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait by spinning starve a busy machine
    options = vars(make_parser().parse_args(arguments))
    command = options.pop("command")

    from amd.runtime.processes import keep_freed_memory  # here: psutil takes longer to import than help to print

    keep_freed_memory()
    try:
        command.function()(**options)
    except BrokenPipeError:
        raise
    except OSError as error:  # a locked folder, a name too long, a disk that is gone
        raise UserError(f"{error.filename or 'the system'}: {error.strerror or error}") from error


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="amd", description=MANUAL, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"amd {amd.__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh"),
        default=argparse.SUPPRESS,
        help="print a script that completes this command in a shell, such as: source <(amd --print-completion bash)",
    )
    add_commands(parser, COMMANDS, "commands", "COMMAND")
    return parser
