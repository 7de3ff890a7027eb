"""Sections of evaluations that have parameters of their own."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from amd.config.section import Section, Training


class Robustness(Section):
    """How strongly frames are corrupted. The slides give neither the width of their band nor its blur."""

    band: float = Field(gt=0)  # pixels across, half of it on either side of the boundary
    blur: float = Field(gt=0)  # standard deviation of the Gaussian, pixels
    noise: float = Field(gt=0)  # standard deviation, grey levels
    jpeg: int = Field(ge=1, le=100)  # quality
    motion: int = Field(ge=1)  # pixels that the camera moves to the side
    bar: float = Field(gt=0, le=1)  # width, share of the frame's
    gap: int = Field(ge=2)  # every such frame alone is kept


class Features(Section):
    """Pixels that foreground and background are compared at."""

    frames: int = Field(ge=1)  # of a video, evenly over it
    pixels: int = Field(ge=1)  # of a side of a frame
    folds: int = Field(ge=2)  # of whole videos, for the linear probe
    shown: int = Field(ge=10)  # points of the scatters and of the silhouette
    seed: int = Field(ge=0)


class Weights(Section):
    """What a fine-tuning starts from."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")  # in the names of its results
    file: str  # a checkpoint of AMD, or an ImageNet-style state dict


class Semantic(Training):
    """Fine-tuning of the appearance pathway on Pascal VOC 2012 (paper 4.4)."""

    root: str | None  # the folder VOC2012; null skips the fine-tuning
    sbd: str | None  # the folder dataset of SBD, whose images are added to the training
    starts: list[Weights]  # beside scratch
    augmentations: list[Literal["light", "heavy"]] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    min_scale: float = Field(gt=0)
    max_scale: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Semantic":
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale} is above max_scale {self.max_scale}")
        names = ["scratch", *(start.name for start in self.starts)]
        if len(set(names)) < len(names):
            raise ValueError(f"starts: names are to differ from each other and from scratch, not {names[1:]}")
        return self


class Sweep(Section):
    """Pretraining with several numbers of segments (paper 4.5)."""

    segments: list[Annotated[int, Field(ge=2)]] = Field(min_length=1)
    iterations: int | None = Field(ge=1)  # of each; null: those of pretrain
