"""A bounded process pool that survives its workers: a decoder that crashes takes one item with it.

Input: a function, items, a number of processes. Output: each item with its result or what went wrong, as they
get done. concurrent.futures alone gives up a whole pool when one process dies, without saying at which item.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any, TypeAlias, TypeVar

import cv2
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
# How work on items is handed out: as `each_in_pool` does it, or to other machines (flows.batches).
Each: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any], int], Generator[tuple[Any, Any], None, None]]


class Crash(Exception):
    """The process that worked on an item died."""


def each_in_pool(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result | Exception], None, None]:
    """Yield every item with `work(item)`, or with the exception it ended in; Crash when its process died twice.

    `work` is a function of a module; it and the items travel to fresh processes, at most `workers` at once. Close
    the iterator to end them before they are done (contextlib.closing); they are gone then.
    """
    waiting = iter(items)
    running: dict[Future, tuple[Item, ProcessPoolExecutor]] = {}
    second_tries: set[Future] = set()
    context = multiprocessing.get_context("spawn")  # decoders' threads do not survive a fork
    ending, lifeline = context.Pipe(duplex=False)

    def start(item: Item, process: ProcessPoolExecutor) -> Future:
        """Hand out an item, to a new process where this one died after its last item."""
        try:
            future = _submit(process, work, item)
        except BrokenProcessPool:
            process.shutdown()
            process = _new_process(context, ending)
            future = _submit(process, work, item)
        running[future] = item, process
        return future

    try:
        for item in islice(waiting, workers):
            start(item, _new_process(context, ending))
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item, process = running.pop(future)
                outcome = _outcome(future)
                if isinstance(outcome, Crash):
                    process.shutdown()
                    process = _new_process(context, ending)
                    if future not in second_tries:
                        second_tries.add(start(item, process))
                        continue
                for following in islice(waiting, 1):
                    start(following, process)
                    break
                else:
                    process.shutdown(wait=False)
                yield item, outcome
    finally:
        lifeline.close()
        for _, process in running.values():
            process.shutdown(cancel_futures=True)


def _outcome(future: Future[Result]) -> Result | Exception:
    try:
        return future.result()
    except BrokenProcessPool:
        return Crash("its process died, of the decoder or for want of memory")
    except Exception as error:  # whatever it is, it is this item's alone
        return error


def _new_process(context: SpawnContext, ending: Connection) -> ProcessPoolExecutor:
    """An executor of one process, so that a dead process names its item."""
    return ProcessPoolExecutor(1, context, initializer=_start_process, initargs=(ending,))


def _submit(process: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future:
    """Hand out an item. The process, which starts with the first, never hears of Ctrl-C: its parent ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return process.submit(work, item)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process(ending: Connection) -> None:
    """One thread, and an end in the midst of the work as soon as the parent closes its pool or dies."""
    cv2.setNumThreads(1)
    threadpool_limits(1)  # numpy's: its idle threads spin, in every process as many as there are cores

    def follow() -> None:
        with suppress(EOFError, OSError):
            ending.recv()  # nothing is ever sent
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
