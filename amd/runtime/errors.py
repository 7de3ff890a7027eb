"""The exceptions that a user is meant to read, and how programs end with them."""

import atexit
import functools
import gc
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

INTERRUPTED = "interrupted; the same command continues"
BROKEN_PIPE = 128 + signal.SIGPIPE  # the exit status of a program that the signal ends
LONGEST = 1500  # characters of a UserError


class UserError(Exception):
    """A mistake in an input or a parameter: one line that names it, says what is wrong and what to do.

    Commands print it on stderr without a traceback and exit with status 2. What it quotes (names, a library's words
    on a file) may come from strangers: the line is kept one, and to LONGEST characters by leaving out its middle.
    """

    def __init__(self, text: str) -> None:
        line = " ".join(str(text).splitlines())
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} … {line[-half:]}")


def printable(text: str) -> str:
    """Text of strangers, such as a file's name, that cannot play tricks on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class Interrupted(KeyboardInterrupt):
    """A signal arrived and everything worth keeping was saved; the text says how to go on."""


@contextmanager
def system_errors() -> Iterator[None]:
    """What the system refuses (a folder that may only be read, a disk that is gone) as a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or 'the system'}: {error.strerror or error}") from error


@contextmanager
def quiet_pipes() -> Iterator[None]:
    """End the program without a word when whoever reads its output has had enough, as in `amd … | head`."""
    try:
        yield
    except BrokenPipeError:
        if not _lost_readers(polled=True):
            raise
        sys.exit(BROKEN_PIPE)
    finally:
        if _lost_readers():
            sys.exit(BROKEN_PIPE)


def _lost_readers(polled: bool = False) -> bool:
    """Whether nobody reads standard output or error any more, so that what waits there is dropped.

    `polled` also asks the system, where nothing waits to be written (PYTHONUNBUFFERED).
    """
    lost = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            broken = polled and _has_no_reader(stream.fileno())
        except BrokenPipeError:
            broken = True
        except (ValueError, AttributeError):  # closed, or none at all
            continue
        if broken:
            lost = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return lost


def _has_no_reader(number: int) -> bool:
    poll = select.poll()
    poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def exit_on_user_error(function: Callable[..., None]) -> Callable[..., None]:
    """A program's main function, with user errors as one line on stderr and exit status 2."""

    @functools.wraps(function)
    def wrapped(*arguments: object, **options: object) -> None:
        announce_interrupts()
        _end_at_once()
        try:
            with quiet_pipes():
                function(*arguments, **options)
        except UserError as error:
            traceback.clear_frames(error.__traceback__)  # which ends progress lines: the error is the last line
            print("\n".join([f"error: {error}", *_notes(error)]), file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt as interrupt:
            traceback.clear_frames(interrupt.__traceback__)
            print(str(interrupt) or INTERRUPTED, file=sys.stderr)
            sys.exit(130)
        except SystemExit as ending:  # with the status of a program that has said why itself
            print("".join(f"{note}\n" for note in _notes(ending)), end="", file=sys.stderr)
            raise

    return wrapped


@functools.cache
def announce_interrupts() -> None:
    """Make Ctrl-C end a program with one line wherever it strikes: in an import, in a destructor.

    Python drops an exception that leaves a destructor or a C library's callback (decord frees its frames in one),
    and the program would go on as if nothing had happened; here it is interrupted again a moment later.
    """
    uncaught, unraisable = sys.excepthook, sys.unraisablehook

    def announce(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(INTERRUPTED, file=sys.stderr)
        else:
            uncaught(kind, error, trace)

    def repeat(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            unraisable(dropped)

    sys.excepthook, sys.unraisablehook = announce, repeat


@functools.cache
def _end_at_once() -> None:
    """Spare an interpreter that ends the search for garbage in all that was imported: most of a second."""
    atexit.register(gc.freeze)


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way, such as where the log is."""
    return getattr(error, "__notes__", [])
