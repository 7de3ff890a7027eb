"""Which faults are tried in which stages: a full round has every one, in an order that the seed decides."""

import random
from collections.abc import Collection, Sequence
from itertools import cycle, islice

from faults.catalogue import FAULTS
from faults.trial import Case


def draw_cases(number: int | None, seed: int, stages: Sequence[str], only: Collection[str] = ()) -> list[Case]:
    """`number` cases (None: one full round) of the faults `only` (none: all) in `stages`.

    A round has every fault in every stage that it fits; a further round the same at other moments.
    """
    places = [
        (name, stage)
        for name, fault in FAULTS.items()
        if not only or name in only
        for stage in stages
        if fault.stages is None or stage in fault.stages
        for _ in range(fault.times)
    ]
    random.Random(seed).shuffle(places)
    endless = cycle(places) if places else iter(())
    drawn = islice(endless, len(places) if number is None else number)
    return [Case(name, stage, seed * 1_000_000 + index) for index, (name, stage) in enumerate(drawn)]


def in_series(cases: Sequence[Case], length: int) -> list[list[Case]]:
    """The cases of every stage in groups of at most `length`, the groups in the order of their first cases."""
    groups: list[list[Case]] = []
    filling: dict[str, list[Case]] = {}
    for case in cases:
        if len(filling.get(case.stage, ())) in (0, length):
            filling[case.stage] = []
            groups.append(filling[case.stage])
        filling[case.stage].append(case)
    return groups
