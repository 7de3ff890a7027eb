"""What the evidence network sees of a frame's flows: free of their scale, with the camera's motion taken off.

Per flow seven channels: its residual after the camera's motion, x and y, by the 97th percentile of its length, and that
length; the residual by its own robust scale, x and y, which shows what is small but moves otherwise; and the flow as it
is, x and y, by its 97th percentile. Two more channels say where a pixel is.
"""

import torch
from torch import Tensor

from amd.motion.camera import residual_motion

PER_FLOW, PLACE = 7, 2
LARGE = 0.97  # quantile of a flow's length that counts as 1
LEAST_LENGTH = 0.25  # pixels: below, a flow is noise and is not enlarged further
MOST = 3.0  # at which channels are cut off
SCALES = 8.0  # robust scales that count as 1
STRIDE = 4  # every which row and column statistics are taken from


def channels(directions: int) -> int:
    """How many channels the input of so many flows has."""
    return PER_FLOW * directions + PLACE


def network_input(flows: Tensor, degree: int = 1) -> Tensor:
    """The input B,C,h,w of flows B,D,2,h,w in pixels of amd.motion.dense.UNIT."""
    return input_and_residual(flows, degree)[0]


def input_and_residual(flows: Tensor, degree: int = 1) -> tuple[Tensor, Tensor]:
    """The input of flows, and what they have beyond the camera's motion, B,D,2,h,w."""
    batch, directions, _, height, width = flows.shape
    flat = flows.flatten(0, 1).float()
    residual, scale = residual_motion(flat, degree, STRIDE)
    by_size = (residual / _large(residual)).clamp(-MOST, MOST)
    by_scale = (residual / (SCALES * scale[:, None, None, None])).clamp(-MOST, MOST)
    plain = (flat / _large(flat)).clamp(-MOST, MOST)
    length = torch.hypot(by_size[:, :1], by_size[:, 1:])
    per_flow = torch.cat([by_size, length, by_scale, plain], dim=1)
    y = torch.linspace(-1, 1, height, device=flows.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=flows.device)[None].expand(height, width)
    place = torch.stack([x, y]).expand(batch, PLACE, height, width)
    values = torch.cat([per_flow.reshape(batch, directions * PER_FLOW, height, width), place], dim=1)
    return values, residual.reshape(flows.shape)


def _large(flows: Tensor) -> Tensor:
    """The LARGE quantile of each flow's length, B,1,1,1, at least LEAST_LENGTH."""
    lengths = torch.hypot(*flows[:, :, ::STRIDE, ::STRIDE].unbind(1)).flatten(1)
    rank = max(1, round(LARGE * lengths.shape[1]))
    return lengths.kthvalue(rank, dim=1).values.clamp(min=LEAST_LENGTH)[:, None, None, None]
