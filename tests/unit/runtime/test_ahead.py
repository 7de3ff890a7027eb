"""Work in threads: results in order, few items held at a time, errors where the results are taken."""

import threading
import time
from collections.abc import Iterator

import pytest

from amd.runtime.ahead import map_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_from_other_threads(threads: int) -> None:
    def slow(number: int) -> tuple[int, int]:
        time.sleep(0.002 * (5 - number % 5))  # the later of five is done first
        return number, threading.get_ident()

    made = list(map_ahead(slow, range(20), threads))
    assert [number for number, _ in made] == list(range(20))
    assert threading.get_ident() not in {thread for _, thread in made}


def test_few_items_are_taken_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for given, _ in enumerate(map_ahead(abs, items(), 2)):
        assert len(taken) <= given + 3


def test_an_error_comes_in_its_place() -> None:
    made = map_ahead(lambda number: 1 / number, (2, 1, 0), 1)
    assert [next(made), next(made)] == [0.5, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
