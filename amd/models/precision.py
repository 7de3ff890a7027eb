"""What this machine computes with: the device, the type of convolutions, and what that does to masks."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MASKS_WITHIN = 2e-2  # of float32's, for bfloat16 to stand in for it


def choose_device(name: str = "auto", index: int | None = None) -> torch.device:
    """The device of a name: `auto` is a GPU where there is one; `index` tells which GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name, index) if name == "cuda" and index is not None else torch.device(name)


def fastest_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of convolutions: `auto` is bfloat16 where the machine multiplies it faster, else float32."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if cpu_gains_by_bfloat16(torch.cpu.get_capabilities()) else torch.float32


@torch.no_grad()
def rounding_error(model: Any, images: Tensor) -> float:
    """The largest difference between a model's masks of images B,3,H,W in bfloat16 and in float32."""
    exact = model.segment(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        fast = model.segment(images)
    return (fast - exact).abs().max().item()


def cpu_gains_by_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU convolves bfloat16 faster than float32: with AMX, or with AVX512-BF16 that is not Intel's.

    AMD's multiplies twice as many numbers at a time. Intel's multiplies as many, and converting them makes convolutions
    take nearly twice as long.
    """
    in_vectors = capabilities.get("avx512_bf16") and "Intel" not in capabilities.get("cpu_name", "")
    return bool(capabilities.get("amx_bf16") or in_vectors)
