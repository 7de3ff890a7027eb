"""AMD: the appearance and the motion pathway bound by segment flow (paper 3, figure 2)."""

from dataclasses import asdict, dataclass

import torch
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.appearance import AppearancePathway
from amd.models.motion import MotionPathway


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint must agree with; the fields of `model` in params.yaml, whose class says what is possible."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    backbone: str = "resnet50"
    segments: int = 5
    output_stride: int = 8
    dropout: float = 0.1
    motion: str = "pwc"
    motion_height: int = 384
    motion_width: int = 640

    def to_dict(self) -> dict[str, str | int | float]:
        """Plain values, as stored in a checkpoint's metadata."""
        return asdict(self)


@dataclass
class AMDOutput:
    """One pair's masks and flows, both directions.

    Forward is on the first frame's grid and samples the second frame, so it is composed of the second
    frame's masks (eq. 6: the source frame's); backward the other way round.
    """

    masks_first: Tensor  # B,c,h,w, soft
    masks_second: Tensor
    forward_flows: list[Tensor]  # finest first: B,2,H/2^l,W/2^l, pixels of their level
    backward_flows: list[Tensor]
    forward_region_flow: Tensor  # B,c,2, pixels of the motion input
    backward_region_flow: Tensor
    forward_dense_flow: Tensor  # B,2,H,W, per pixel, outside the loss
    backward_dense_flow: Tensor


class AMD(nn.Module):
    """Appearance-Motion Decomposition.

    `AMD(first, second)` with images B,3,H,W in [0, 1] gives an AMDOutput; `AMD.segment(images)` gives soft
    masks B,c,h,w. Any H and W work.
    """

    # Whether amd.models.inference may use it.
    bfloat16: bool = False  # type: ignore[assignment]  # in place of the method of nn.Module

    def __init__(self, architecture: Architecture = Architecture()) -> None:
        super().__init__()
        self.architecture = architecture
        self.appearance = AppearancePathway(
            architecture.backbone, architecture.segments, architecture.output_stride, architecture.dropout
        )
        self.motion = MotionPathway(architecture.motion)
        # Several times faster convolutions.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it

    def forward(self, first: Tensor, second: Tensor) -> AMDOutput:
        batch = len(first)
        images = torch.cat((first, second))
        masks = self.appearance.masks(images)
        features = self.motion.features(self.motion_input(images))
        other = [_swap(level, batch) for level in features]
        motion = self.motion(features, other, _swap(masks, batch))  # both directions as one batch
        return AMDOutput(
            masks_first=masks[:batch],
            masks_second=masks[batch:],
            forward_flows=[flow[:batch] for flow in motion.flows],
            backward_flows=[flow[batch:] for flow in motion.flows],
            forward_region_flow=motion.region_flow[:batch],
            backward_region_flow=motion.region_flow[batch:],
            forward_dense_flow=motion.dense_flows[0][:batch],
            backward_dense_flow=motion.dense_flows[0][batch:],
        )

    def segment(self, images: Tensor) -> Tensor:
        """Soft masks B,c,h,w of images B,3,H,W in [0, 1]."""
        return self.appearance.masks(images)

    def motion_input(self, images: Tensor) -> Tensor:
        """Images stretched to the motion pathway's size, bilinear with aligned corners."""
        size = (self.architecture.motion_height, self.architecture.motion_width)
        stretched = F.interpolate(images, size, mode="bilinear", align_corners=True)
        return stretched.contiguous(memory_format=torch.channels_last)


def _swap(pairs: Tensor, batch: int) -> Tensor:
    return torch.cat((pairs[batch:], pairs[:batch]))
