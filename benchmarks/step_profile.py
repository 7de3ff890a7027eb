"""Where the time of a training step goes: each kind of operation's share, in the fastest precision.

Runs by name alone, since a profile compares nothing:

    python -m benchmarks --only step_profile
"""

from collections.abc import Iterator

from torch.profiler import ProfilerActivity, profile

from amd.models.precision import fastest_precision
from benchmarks.limits import name
from benchmarks.measure import Row, Setting, alone
from benchmarks.training_step import our_step
from benchmarks.workloads import architecture, pairs

CASES = (("ResNet-50", 2, 384), ("quickstart", 8, 96))  # network, pairs, edge
QUICK = (("quickstart", 1, 48),)
LARGEST = 10  # kinds of operations, each with a row; the rest have one together
STEPS = 3


def measure(setting: Setting) -> Iterator[Row]:
    """Shares in percent of a step's time in operations, the largest first."""
    dtype = fastest_precision("auto", setting.device)
    for network, number, edge in QUICK if setting.quick else CASES:
        run = our_step(architecture(network, setting.quick), pairs(number, edge), dtype, setting.device)
        run()  # what is done once, is done now
        on_gpu = setting.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiled:
            for _ in range(STEPS):
                run()
        case = f"{network}, {number} pairs of {edge}x{edge}, {name(dtype)}"
        for kind, share in largest_shares(seconds_of_kinds(profiled, on_gpu)):
            yield alone("step_profile", f"{case}: {kind}", [100 * share], "%")


def seconds_of_kinds(profiled: profile, on_gpu: bool) -> dict[str, float]:
    """Time in each kind of operation, without what it calls."""
    events = profiled.key_averages()
    return {event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in events}


def largest_shares(seconds: dict[str, float]) -> list[tuple[str, float]]:
    """The largest shares of all the time, and the rest's."""
    total = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    shares = [(kind.removeprefix("aten::"), value / total) for kind, value in ordered[:LARGEST]]
    return [*shares, (f"{len(ordered[LARGEST:])} kinds more", sum(value for _, value in ordered[LARGEST:]) / total)]
