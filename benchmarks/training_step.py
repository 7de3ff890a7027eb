"""One training step as the loop runs it: ResNet-50, 384x384 crops, 2 pairs (on a GPU 16); and the quickstart's.

Time against the plain baseline, peak memory against it, the backbone's share of the convolution rate, growth with the
batch and with the segments, and the whole step's share of the rate that bounds it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from amd.config.profiles import load_profile
from amd.data.pairs.read import Batch
from amd.models.amd import AMD, Architecture
from amd.models.precision import fastest_precision
from amd.training.activation_checkpointing import checkpoint_activations
from amd.training.loop import step
from amd.training.pretrain import PairObjective
from benchmarks.agreement import require_same_training
from benchmarks.limits import Limit, convolution, matrix_product, name, precisions
from benchmarks.measure import Row, Setting, compared, compared_memory, growth, in_turn, peak_mb
from benchmarks.plain.loss import view_synthesis_loss as plain_loss
from benchmarks.plain.network import PlainAMD
from benchmarks.workloads import architecture, floats, pairs

RATE = 1e-4
GPU_MATRIX_SHARE = 0.35
BACKBONE_CONVOLUTION_SHARE = 0.6


def measure(setting: Setting) -> Iterator[Row]:
    """Rows of the papers' network, then of the quickstart's with the batch of its profile."""
    network = architecture("ResNet-50", setting.quick)
    edge, number = (48, 1) if setting.quick else (384, 2)
    targets = {"float32": 1.5, "fast": 5.0}
    yield from against_plain(setting, "ResNet-50", network, number, edge, targets)
    if not setting.quick:
        yield from memory_against_plain(setting, network, number, edge)
    yield backbone_share(setting, network, number, edge)
    yield from growth_with_batch(setting, network, (1, 2) if setting.quick else (1, 2, 4), edge)
    yield from step_shares(setting, network, 16 if setting.device.type == "cuda" else number, edge)
    small, profile = architecture("quickstart", setting.quick), load_profile("quickstart").pretrain
    number, edge = (1, 48) if setting.quick else (profile.batch_size, profile.crop)
    yield from against_plain(setting, "small network", small, number, edge, {})
    yield from growth_with_segments(setting, small, number, edge)


def against_plain(
    setting: Setting, title: str, network: Architecture, number: int, edge: int, targets: dict[str, float]
) -> Iterator[Row]:
    """One step in float32 and in the fastest precision, each against the plain float32 step."""
    require_same_training(network, setting.device, 48 if setting.quick else 96)
    batch = pairs(number, edge)
    steps = {"plain float32": plain_step(network, batch, setting.device)}
    for dtype in precisions(setting.device):
        steps[name(dtype)] = our_step(network, batch, dtype, setting.device)
    steps[f"{name(dtype)}, recomputing"] = our_step(network, batch, dtype, setting.device, checkpointing=True)
    times = in_turn(setting, steps, 20, 3)
    for key in list(steps)[1:]:
        target = None if "recomputing" in key else targets.get("float32" if key == "float32" else "fast")
        case = f"{title}, {number} pairs of {edge}x{edge}, {key}"
        yield compared(case, times, key, "plain float32", items=number, item="pairs", target=target)


def our_step(
    network: Architecture, batch: Batch, dtype: torch.dtype, device: torch.device, checkpointing: bool = False
) -> Callable[[], object]:
    """What the loop runs on every batch."""
    objective = PairObjective(AMD(network).to(device)).train()
    if checkpointing:
        checkpoint_activations(objective)
    optimiser = torch.optim.Adam(objective.parameters(), RATE, fused=True)
    return partial(step, objective, objective, optimiser, batch, dtype)


def plain_step(network: Architecture, batch: Batch, device: torch.device) -> Callable[[], object]:
    """The same, plainly."""
    model = PlainAMD(network).to(device)
    optimiser = torch.optim.Adam(model.parameters(), RATE)

    def run() -> None:
        first, second = floats(batch, device)
        output = model(first, second)
        loss = plain_loss(output.forward_flows, output.backward_flows, first, second)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return run


def memory_against_plain(setting: Setting, network: Architecture, number: int, edge: int) -> Iterator[Row]:
    """Peak memory of a process that makes two steps."""
    fast = fastest_precision("auto", setting.device)
    plain = peak_mb(two_steps, network, number, edge, None, setting.device)
    kinds = [*((dtype, False) for dtype in precisions(setting.device)), (fast, True)]
    for dtype, checkpointing in kinds[-1:] if setting.quick else kinds:  # each is a process of its own
        ours = peak_mb(two_steps, network, number, edge, dtype, setting.device, checkpointing)
        words = f"{name(dtype)}{', recomputing' if checkpointing else ''}"
        case = f"ResNet-50, {number} pairs of {edge}x{edge}, {words}, peak memory"
        target = 2.0 if dtype == fast else None
        yield compared_memory(case, ours, plain, "plain float32", target)


def two_steps(
    network: Architecture,
    number: int,
    edge: int,
    dtype: torch.dtype | None,
    device: torch.device,
    checkpointing: bool = False,
) -> None:
    """Two training steps, the plain ones where `dtype` is None."""
    batch = pairs(number, edge)
    ours = lambda: our_step(network, batch, dtype, device, checkpointing)
    run = plain_step(network, batch, device) if dtype is None else ours()
    run()
    run()


def backbone_share(setting: Setting, network: Architecture, number: int, edge: int) -> Row:
    """Forward and backward of the backbone at the rate of its largest 3x3 convolution alone, forward and backward."""
    dtype = fastest_precision("auto", setting.device)
    number = 16 if setting.device.type == "cuda" else number
    first, second = floats(pairs(number, edge), setting.device)
    images = torch.cat((first, second)).contiguous(memory_format=torch.channels_last)
    backbone = AMD(network).appearance.backbone.to(setting.device).train()
    run = partial(forward_backward, backbone, images, dtype)
    limit = convolution(setting, dtype, backward=True)
    flops = counted_flops(run)
    case = f"ResNet-50 backbone, {2 * number} images of {edge}x{edge}, {name(dtype)}, forward and backward"
    counted = {"items": flops / 1e9, "item": "GFLOP", "target": BACKBONE_CONVOLUTION_SHARE}
    return at_rate(setting, case, run, flops, limit, f"convolution rate, {name(dtype)}", **counted)


def at_rate(
    setting: Setting, case: str, run: Callable[[], object], flops: float, limit: Limit, against: str, **more: Any
) -> Row:
    """A call of `flops` operations against a limit that does nothing else."""
    times = in_turn(setting, {"ours": run, "limit": limit.call}, 20, 3)
    work = flops / limit.flops
    return compared(case, times, "ours", "limit", work=work, against=against, **more)


def forward_backward(backbone: nn.Module, images: torch.Tensor, dtype: torch.dtype) -> None:
    """One pass each way, with fresh gradients."""
    backbone.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        features = backbone(images)
    features.sum().backward()


def counted_flops(run: Callable[[], object]) -> float:
    """Floating-point operations of matrix products and convolutions in one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def growth_with_batch(setting: Setting, network: Architecture, numbers: tuple[int, ...], edge: int) -> Iterator[Row]:
    """Steps of several batch sizes, against the smallest in proportion."""
    dtype = fastest_precision("auto", setting.device)
    numbers = tuple(8 * number for number in numbers) if setting.device.type == "cuda" else numbers
    steps = {str(number): our_step(network, pairs(number, edge), dtype, setting.device) for number in numbers}
    case = f"ResNet-50, {{size}} pairs of {edge}x{edge}, {name(dtype)}"
    return growth(case, in_turn(setting, steps, 20, 2), "pairs")


def growth_with_segments(setting: Setting, network: Architecture, number: int, edge: int) -> Iterator[Row]:
    """Steps with more segments than the papers' five, against that."""
    dtype = fastest_precision("auto", setting.device)
    counts = ("5", "10") if setting.quick else ("5", "10", "20")
    networks = {count: replace(network, segments=int(count)) for count in counts}
    steps = {count: our_step(each, pairs(number, edge), dtype, setting.device) for count, each in networks.items()}
    times = in_turn(setting, steps, 10, 5)
    for count in counts[1:]:
        case = f"small network, {count} segments, {name(dtype)}"
        counted = {"items": number, "item": "pairs", "against": "5 segments"}
        yield compared(case, times, count, "5", **counted)


def step_shares(setting: Setting, network: Architecture, number: int, edge: int) -> Iterator[Row]:
    """The whole step at the machine's rate, which bounds it: of convolutions, on a GPU of a large matrix product."""
    on_gpu = setting.device.type == "cuda"
    for dtype in precisions(setting.device)[-1 if on_gpu else 0 :]:
        run = our_step(network, pairs(number, edge), dtype, setting.device)
        limit = matrix_product(setting, dtype) if on_gpu else convolution(setting, dtype, backward=True)
        flops = counted_flops(run)
        case = f"ResNet-50, {number} pairs of {edge}x{edge}, {name(dtype)}, whole step of {flops / 1e12:.2f} TFLOP"
        against = f"{'matrix' if on_gpu else 'convolution'} rate, {name(dtype)}"
        counted = {"items": number, "item": "pairs", "target": GPU_MATRIX_SHARE if on_gpu else None}
        yield at_rate(setting, case, run, flops, limit, against, **counted)
