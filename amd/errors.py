"""The exceptions that a user is meant to read, and how programs end with them."""

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in an input or a parameter: one line that names it, says what is wrong and what to do.

    Commands print it on stderr without a traceback and exit with status 2.
    """


class Interrupted(KeyboardInterrupt):
    """A signal arrived and everything worth keeping was saved; the text says how to go on."""


def exit_on_user_error(function: Callable[..., None]) -> Callable[..., None]:
    """A program's main function, with user errors as one line on stderr and exit status 2."""

    @functools.wraps(function)
    def wrapped(*arguments: object, **options: object) -> None:
        try:
            function(*arguments, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt as interrupt:
            print(str(interrupt) or "interrupted; the same command continues", file=sys.stderr)
            sys.exit(130)

    return wrapped
