"""The section of motion evidence: the clips that its network is trained on, and the training."""

from typing import Literal

from pydantic import Field

from amd.config.section import Section


class Motion(Section):
    """Motion evidence: layered clips, flow, network and training."""

    textures: str | None = None  # a folder of images or videos that layers are cut from; null: built-in patterns
    drawn: float = Field(default=0.1, ge=0, le=1)  # share of textures that are built-in patterns in any case
    clips: int = Field(default=8000, ge=1)
    heldout_clips: int = Field(default=400, ge=1)
    empty: float = Field(default=0.15, ge=0, lt=1)  # share of clips in which nothing moves on its own
    gaps: tuple[int, ...] = Field(default=(1,), min_length=1, strict=False)  # frames before and after
    short_edge: int = Field(default=360, ge=32)  # of frames at which flow is estimated, drawn ones and real ones
    grid: int = Field(default=180, ge=16)  # short edge of the maps; on coarser ones borders are blurred
    degree: int = Field(default=1, ge=0, le=3)  # of the polynomial that the camera's motion is
    widths: tuple[int, ...] = Field(default=(16, 32, 64, 96, 128), min_length=1, strict=False)
    iterations: int = Field(default=2600, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clips_seed: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)  # of the training
    workers: int = Field(default=2, ge=1)  # processes that draw clips
    processes: int = Field(default=2, ge=1)  # torchrun processes that train; `batch_size` is shared out among them
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of convolutions in training
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = Field(default=250, ge=1)  # iterations
