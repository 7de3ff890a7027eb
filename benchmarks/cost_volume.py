"""The cost volume, forward and backward, against the plain 81 slices, in the same run.

    python -m benchmarks.cost_volume [--threads 2]

Prints a table: size, type, milliseconds of both (median of several), and their ratio.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from amd.model.cost_volume import cost_volume

SIZES = ((16, 24, 32, 32), (4, 32, 96, 160))  # finest levels of the quickstart (8 pairs) and of the paper (2 pairs)
REPEATS = 7


def plain(first: Tensor, second: Tensor) -> Tensor:
    """81 slices, as the formula reads."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (4,) * 4)
    slices = [padded[..., y : y + height, x : x + width] for y in range(9) for x in range(9)]
    return torch.stack([(first * piece).mean(1) for piece in slices], 1)


def milliseconds(volume: Callable[[Tensor, Tensor], Tensor], size: tuple[int, ...], dtype: torch.dtype) -> float:
    """Median time of one forward and backward pass."""
    inputs = [torch.randn(size, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2)]
    weights = torch.randn(size[0], 81, *size[2:], dtype=dtype)
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        volume(*inputs).backward(weights)
        times.append(time.perf_counter() - start)
    return 1000 * median(times[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.cpu.get_capabilities()['cpu_name']}")
    print(f"{'B,C,h,w':>18} {'type':>9} {'plain ms':>9} {'ours ms':>9} {'ratio':>6}")
    for size in SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            slow, fast = milliseconds(plain, size, dtype), milliseconds(cost_volume, size, dtype)
            name = str(dtype).removeprefix("torch.")
            print(f"{','.join(map(str, size)):>18} {name:>9} {slow:9.1f} {fast:9.1f} {slow / fast:6.1f}")


if __name__ == "__main__":
    main()
