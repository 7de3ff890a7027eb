"""One training step of the quickstart's network, with the batch of its profile, and its growth with the segments."""

from collections.abc import Iterator
from dataclasses import replace

from amd.config.profiles import load_profile
from amd.models.precision import fastest_precision
from benchmarks.limits import name
from benchmarks.measure import Row, Setting, compared, in_turn
from benchmarks.training_step import against_plain, our_step
from benchmarks.workloads import architecture, pairs


def measure(setting: Setting) -> Iterator[Row]:
    """Rows of the quickstart's network."""
    network, settings = architecture("quickstart", setting.quick), load_profile("quickstart").pretrain
    number, edge = (1, 48) if setting.quick else (settings.batch_size, settings.crop)
    yield from against_plain(setting, "quickstart_step", "small network", network, number, edge, {})
    dtype = fastest_precision("auto", setting.device)
    counts = (5, 10) if setting.quick else (5, 10, 20)
    steps = {
        str(count): our_step(replace(network, segments=count), pairs(number, edge), dtype, setting.device)
        for count in counts
    }
    times = in_turn(setting, steps, 10, 5)
    for count in counts[1:]:
        case = f"small network, {count} segments, {name(dtype)}"
        against = f"{counts[0]} segments"
        yield compared(
            "quickstart_step", case, times, str(count), str(counts[0]), against=against, items=number, item="pairs"
        )
