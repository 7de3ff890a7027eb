"""What a command is: its words, its arguments, each declared once, and the function that they go to by name."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from amd.runtime.errors import UserError

VIDEO_SETS = "davis2016, segtrackv2, fbms59, youtubevos, builtin-clips, davis-layout"
IMAGE_SETS = "duts, voc2012, folder"


@dataclass(frozen=True)
class Argument:
    """One argument: `flag` and `options` as for argparse's add_argument; `dest` is the name that the function has."""

    flag: str
    options: dict[str, Any]


@dataclass(frozen=True)
class OneOf:
    """Arguments of which exactly one is given."""

    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Command:
    """A command: `summary` stands in the list of commands, `text` and `example` (see `used`) in its own help.

    `call` is a function, or "module:function" of one that is imported when the command runs: help and mistakes in the
    arguments answer before any library is loaded. It takes every argument by its name. A command with `actions` is a
    group of commands instead.
    """

    name: str
    summary: str
    text: str
    call: str | Callable[..., object] = ""
    actions: "Sequence[Command]" = ()
    example: str = ""
    arguments: Sequence[Argument | OneOf] = ()

    def used(self, example: str, *arguments: Argument | OneOf) -> "Command":
        """The command with an example of its use and what it takes."""
        return replace(self, example=example, arguments=arguments)

    def function(self) -> Callable[..., object]:
        """The function that the arguments go to."""
        if not isinstance(self.call, str):
            return self.call
        module, _, name = self.call.partition(":")
        return getattr(importlib.import_module(module), name)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


class PrintCompletion(argparse.Action):
    """Print the script that completes the command in a shell, which shtab makes of the parsers, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> None:
        import shtab

        shell = values[1]
        for action in _all_actions(parser):
            if action.type is Path:
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell))
        parser.exit()


def argument(flag: str, text: str | None = None, metavar: str | None = None, **options: Any) -> Argument:
    """An argument, with the words of argparse's add_argument; `text` is its help."""
    return Argument(flag, {"help": text} | ({"metavar": metavar} if metavar else {}) | options)


def one_of(*arguments: Argument) -> OneOf:
    """Arguments of which exactly one is given."""
    return OneOf(arguments)


def add_commands(parser: argparse.ArgumentParser, commands: Sequence[Command], title: str, metavar: str) -> None:
    """Give `parser` a parser for every command."""
    subparsers = parser.add_subparsers(title=title, metavar=metavar, required=True)
    for command in commands:
        made = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.text,
            epilog=f"example\n  {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.actions:
            add_commands(made, command.actions, "actions", "ACTION")
            continue
        made.set_defaults(command=command)
        for each in command.arguments:
            if isinstance(each, OneOf):
                group = made.add_mutually_exclusive_group(required=True)
                for alternative in each.arguments:
                    group.add_argument(alternative.flag, **alternative.options)
            else:
                made.add_argument(each.flag, **each.options)


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def port(text: str) -> int:
    """The number of a TCP port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
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


def _all_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a parser and of all below it."""
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [below for each in action.choices.values() for below in _all_actions(each)]
    return found
