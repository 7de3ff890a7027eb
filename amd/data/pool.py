"""A bounded process pool that survives its workers: a decoder that crashes takes one item with it.

Enters: a function, items, a number of processes. Leaves: each item with its result or what went wrong, as they
get done. concurrent.futures alone gives up a whole pool when one process dies, without saying at which item.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crash(Exception):
    """The process that worked on an item died."""


def each_in_pool(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield every item with `work(item)`, or with the exception it ended in; Crash when its process died.

    `work` is a function of a module; it and the items travel to fresh processes, at most `workers` at once.
    """
    waiting = iter(items)
    running: dict[Future, tuple[Item, ProcessPoolExecutor]] = {}
    try:
        for item in islice(waiting, workers):
            process = _new_process()
            running[process.submit(work, item)] = item, process
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item, process = running.pop(future)
                outcome = _outcome(future)
                if isinstance(outcome, Crash):
                    process.shutdown()
                    process = _new_process()
                for following in islice(waiting, 1):
                    running[process.submit(work, following)] = following, process
                    break
                else:
                    process.shutdown(wait=False)
                yield item, outcome
    finally:
        for _, process in running.values():
            process.shutdown(wait=False, cancel_futures=True)


def _outcome(future: Future) -> object:
    try:
        return future.result()
    except BrokenProcessPool:
        return Crash("its process died, of the decoder or for want of memory")
    except Exception as error:  # whatever it is, it is this item's alone
        return error


def _new_process() -> ProcessPoolExecutor:
    """An executor of one process, so that a dead process names its item."""
    context = multiprocessing.get_context("spawn")  # decoders' threads do not survive a fork
    return ProcessPoolExecutor(1, context, initializer=_start_process)


def _start_process() -> None:
    """One thread, a quiet end at Ctrl-C, and an end with the parent, even a killed one."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
