"""Sections of Instance Embedding Transfer."""

from typing import Literal

from pydantic import Field, model_validator

from amd.config.section import Section, Training


class InstanceCorpus(Section):
    """The built-in images with instances, in the layout of Pascal VOC."""

    train_images: int = Field(ge=1)
    heldout_images: int = Field(ge=1)
    width: int = Field(ge=32)
    height: int = Field(ge=32)
    seed: int = Field(ge=0)
    workers: int = Field(ge=1)


class Embedding(Training):
    """The instance embedding network and its training (Instance Embedding Transfer, 3.1)."""

    data: list[str] = Field(min_length=1)  # folders in the layout of Pascal VOC, drawn from in turn
    layered: float = Field(default=0.0, ge=0, le=1)  # share of the images that are layered ones, without a label
    textures: str | None = None  # of layered images: a folder of images or videos; null: built-in patterns
    start: str | None  # weights of the backbone: a checkpoint of AMD, or an ImageNet-style state dict
    backbone: Literal["small", "resnet18", "resnet34", "resnet50"]
    output_stride: Literal[4, 8, 16, 32]
    dropout: float = Field(ge=0, lt=1)  # of channels before the last layers
    points: int = Field(ge=2)  # sampled in an image, shared out evenly over its instances; all pairs of them count
    min_scale: float = Field(gt=0)
    max_scale: float = Field(gt=0)
    augmentation: Literal["light", "heavy"]  # heavy also changes colours and blurs
    min_learning_rate: float = Field(ge=0)
    seed: int = Field(ge=0)
    embed_short_edge: int | None = Field(ge=16)  # frames are resized to this to be embedded; null keeps their size
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")  # of the registered model

    @model_validator(mode="after")
    def _scales_in_order(self) -> "Embedding":
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale} is above max_scale {self.max_scale}")
        return self


class Transfer(Section):
    """From embeddings, objectness and flow to masks (Instance Embedding Transfer, 3.2 to 3.4)."""

    # What says which seeds are an object's: what moves and looks like one, or objectness and flow, as published.
    cues: Literal["evidence", "flow"] = "evidence"
    features: Literal["embedding", "amd"]  # the embedding network's, or those of AMD's appearance pathway, label-free
    window: int = Field(ge=3, le=255)  # points across in which a candidate is the least edge, odd (eq. 5)
    seeds: int = Field(ge=2)  # of a frame, at most (eq. 6)
    background_seeds: int = Field(ge=1)  # of least objectness: the initial background
    overlap: float = Field(ge=0, lt=1)  # α: share of a region that makes its seed foreground
    min_objectness: float = Field(ge=0, le=1)  # p_O: seeds below are background (eq. 12)
    min_motion: float = Field(ge=0, le=1)  # p_M: likewise
    ranking: Literal["both", "motion", "objectness"]  # of seed tracks (eq. 10)
    prior: float = Field(default=1.0, ge=0)  # weight of the evidence's log odds in the posterior; 0: as published
    adapt_every: int = Field(ge=0)  # k: the sets of seeds are renewed every k frames; 0 keeps those of the first
    crf: bool  # refine masks by the dense CRF

    @model_validator(mode="after")
    def _window_has_a_centre(self) -> "Transfer":
        if self.window % 2 == 0:
            raise ValueError(f"window {self.window} is even, so it has no centre")
        return self


class Crf(Section):
    """The dense CRF of Instance Embedding Transfer, with DeepLab's kernels."""

    iterations: int = Field(ge=0)
    position_weight: float = Field(ge=0)
    position_sigma: float = Field(gt=0)  # pixels
    colour_weight: float = Field(ge=0)
    colour_position_sigma: float = Field(ge=1)  # pixels
    colour_sigma: float = Field(ge=0.1)  # of 0 to 255; below, a frame does not fit the lattice's numbers
