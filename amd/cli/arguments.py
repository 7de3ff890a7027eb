"""What the commands' parsers share: a parser whose errors are one line, a command's entry, types of values."""

import argparse
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from amd.runtime.errors import UserError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

VIDEO_SETS = "davis2016, segtrackv2, fbms59, youtubevos"
IMAGE_SETS = "duts, voc2012, folder"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


def command(
    subparsers: Commands, name: str, call: Callable[..., None] | None, summary: str, text: str, example: str
) -> argparse.ArgumentParser:
    """A command's parser: `summary` stands in the list, `text` and `example` in its own help."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=call)
    return parser


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def size(text: str) -> float:
    """A number above zero, at most a thousand."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1000")
    return value
