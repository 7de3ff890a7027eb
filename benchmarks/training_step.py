"""One training step: float32 in the default memory format with 81 slices, against what the program does.

    python -m benchmarks.training_step [--network small|resnet50] [--threads 2]

Prints seconds per step (median) of both, in the same run, and their ratio. The plain step uses the same weights.
"""

import argparse
import time
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor

from amd.distributed import fastest_precision
from amd.losses import view_synthesis_loss
from amd.model import motion
from amd.model.amd import AMD, Architecture
from benchmarks.cost_volume import plain

NETWORKS = {
    "small": (Architecture("small", 5, 4, 0.1, "small", 128, 128), 8, 96),
    "resnet50": (Architecture(), 2, 384),
}
REPEATS = 5


def seconds_per_step(model: AMD, first: Tensor, second: Tensor, precision: torch.dtype) -> float:
    """Median time of forward, loss, backward and Adam."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            output = model(first, second)
        optimiser.zero_grad(set_to_none=True)
        view_synthesis_loss(output, first, second).backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    architecture, pairs, crop = NETWORKS[options.network]
    first, second = torch.rand(pairs, 3, crop, crop), torch.rand(pairs, 3, crop, crop)
    with patch.object(motion, "cost_volume", plain):
        model = AMD(architecture).to(memory_format=torch.contiguous_format)
        slow = seconds_per_step(model, first, second, torch.float32)
    precision = fastest_precision("auto", torch.device("cpu"))
    float32 = seconds_per_step(AMD(architecture), first, second, torch.float32)
    fast = seconds_per_step(AMD(architecture), first, second, precision)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.cpu.get_capabilities()['cpu_name']}")
    print(f"{options.network}, {pairs} pairs of {crop}x{crop}: plain float32 {slow:.3f} s a step")
    print(f"float32 {float32:.3f} s ({slow / float32:.1f} times), {precision} {fast:.3f} s ({slow / fast:.1f} times)")


if __name__ == "__main__":
    main()
