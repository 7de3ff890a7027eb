"""Sections of the main pipeline, from videos to a registered model, and of the inbox."""

from pathlib import PurePath
from typing import Literal

from pydantic import Field, field_validator, model_validator

from amd.config.section import Precision, Section, Training

Videos = Literal["builtin-clips", "davis-layout", "davis2016", "segtrackv2", "fbms59", "youtubevos"]
Runner = Literal["processes", "dask", "pool"]  # where videos are worked on: docs/operations.md
OUTPUTS = ("data/corpus", "data/instances", "data/shards")  # folders that DVC empties


class Data(Section):
    """Where videos and the benchmark are."""

    videos: str  # a folder of videos and frame folders (empty: the built-in corpus), one video, or a split file
    benchmark: Videos
    benchmark_root: str
    saliency: Literal["duts", "folder"] | Videos  # images with masks
    saliency_root: str | None  # null skips the evaluation of saliency

    @field_validator("videos")
    @classmethod
    def _is_not_an_output(cls, videos: str) -> str:
        if any(PurePath(videos).is_relative_to(folder) for folder in OUTPUTS):
            raise ValueError("an output of the pipeline, which DVC empties; give another folder, such as videos")
        return videos


class Corpus(Section):
    """The built-in corpus: encoded clips with exact masks."""

    train_clips: int = Field(ge=1)
    heldout_clips: int = Field(ge=1)
    frames: int = Field(ge=2)
    width: int = Field(ge=32, multiple_of=2)  # H.264 wants even sizes
    height: int = Field(ge=32, multiple_of=2)
    fps: float = Field(gt=0)
    seed: int = Field(ge=0)
    workers: int = Field(ge=1)


class Ingest(Section):
    """Validation of inputs."""

    runner: Runner = "processes"
    workers: int = Field(ge=1)  # videos at once; batches of them with another runner
    max_pixels: int = Field(ge=1)  # of one frame; larger inputs are rejected before decoding
    max_hours: float = Field(gt=0)  # of one video
    # Share of the videos that no model is trained on, so that models are judged by them where nothing is labelled.
    held_out: float = Field(default=0.0, ge=0, le=0.5)


class Shard(Section):
    """Frame pairs in WebDataset shards."""

    fps: float | None = Field(gt=0)  # target rate; null keeps the video's own
    short_edge: int | None = Field(ge=16)  # pixels; null keeps the size
    gap: int = Field(ge=1)  # frames between the two of a pair
    quality: int = Field(ge=1, le=100)  # of the JPEGs
    pairs_per_shard: int = Field(ge=1)
    min_change: float = Field(ge=0)  # pairs below are still (mean absolute grey difference, 0 to 255)
    max_change: float = Field(gt=0)  # pairs above, and out of line with their neighbours, are cuts
    runner: Runner = "processes"
    workers: int = Field(ge=1)  # as of ingest


class Model(Section):
    """The network (paper 3.1 and 3.2)."""

    backbone: Literal["unet", "unet_wide", "small", "resnet18", "resnet34", "resnet50"]  # unet: of amd.inference.fused
    segments: int = Field(ge=2)  # c
    output_stride: Literal[1, 4, 8, 16, 32]  # 1: of the unets, and of no other
    dropout: float = Field(ge=0, lt=1)  # of channels before the last layer
    motion: Literal["small", "pwc"]
    motion_height: int = Field(
        ge=64, le=8192, multiple_of=64
    )  # size that pairs are stretched to for the motion pathway
    motion_width: int = Field(ge=64, le=8192, multiple_of=64)

    @model_validator(mode="after")
    def _stride_fits(self) -> "Model":
        if self.backbone.startswith("unet") != (self.output_stride == 1):
            raise ValueError(f"output_stride {self.output_stride} with backbone {self.backbone}; the unet's is 1")
        return self


class Objective(Section):
    """Weights of the terms of one objective, for pretraining and for adaptation (amd.training.objective)."""

    # The paper's loss (3.4), alone where nothing else is said. The motion pathway is run for this term only.
    view_synthesis: float = Field(default=1.0, ge=0)
    # What moves on its own is the object: no choice of a segment afterwards. Without it the paper's rule (3.5) chooses.
    evidence: float = Field(default=0.0, ge=0)
    # Every segment has one motion, without a network that estimates it. Beside evidence, which has looked at the motion
    # already, it changes little; it is there for where evidence is weak.
    coherence: float = Field(default=0.0, ge=0)
    # Masks move with the flow. Of one video, the same appearance in all its frames says nearly the same.
    consistency: float = Field(default=0.0, ge=0)
    # Of a segment's motion in `coherence`: 0 is the paper's constant segment flow, 1 affine, 2 quadratic.
    degree: Literal[0, 1, 2] = 0

    @model_validator(mode="after")
    def _something_counts(self) -> "Objective":
        if not (self.view_synthesis or self.evidence or self.coherence or self.consistency):
            raise ValueError("every weight is 0, so there is nothing to learn")
        return self

    @property
    def needs_pairs(self) -> bool:
        """Whether a term looks at two frames at once."""
        return self.view_synthesis > 0 or self.consistency > 0

    @property
    def needs_flow(self) -> bool:
        """Whether a term looks at the flow between the frames of a pair."""
        return self.coherence > 0 or self.consistency > 0


class Pretrain(Training):
    """Pretraining (paper 4.1)."""

    start: str | None  # weights to begin with: models:/NAME/VERSION or a checkpoint; null begins anew
    objective: Objective = Objective()  # the paper's, where nothing else is said
    affine: float = Field(default=0.0, ge=0, lt=0.5)  # random warps of every draw: by this share of the frame's size
    colour: float = Field(default=0.0, ge=0, le=1)  # random changes of light: deviation of the factors' logarithms
    paste: float = Field(default=0.0, ge=0, le=1)  # share of images that another one's object is put into
    min_ratio: float = Field(gt=0, le=1)  # of the resize: drawn from [min_ratio, 1]
    min_learning_rate: float = Field(ge=0)
    seed: int = Field(ge=0)
    pictures_every: int = Field(ge=1)
    judge_every: int = Field(default=50, ge=1)  # iterations between looks at held-out videos
    patience: int = Field(default=0, ge=0)  # looks without a better one, then training ends; 0: all iterations

    @model_validator(mode="after")
    def _crop_fits(self) -> "Pretrain":
        if self.crop > self.short_edge * self.min_ratio:
            raise ValueError(f"crop {self.crop} is larger than short_edge * min_ratio")
        return self

    @model_validator(mode="after")
    def _held_out_videos_can_judge(self) -> "Pretrain":
        if self.patience and not self.objective.evidence:
            raise ValueError(
                "patience: held-out videos judge by motion evidence; give objective.evidence a weight, or 0"
            )
        return self

    @model_validator(mode="after")
    def _shards_hold_it(self) -> "Pretrain":
        if self.objective.needs_flow:
            raise ValueError("objective: coherence and consistency need flow, which shards do not hold; set them to 0")
        if self.paste and (self.objective.needs_pairs or not self.objective.evidence):
            raise ValueError(
                "paste: objects are known by evidence, which must be the objective's only term; or set it to 0"
            )
        return self


class Objectness(Section):
    """Choosing the object segment without labels (paper 3.5)."""

    pairs: int = Field(ge=1)  # training pairs looked at


class Predict(Section):
    """Masks of one image."""

    short_edge: int | None = Field(ge=16)  # images are resized to this; null keeps the size


class Adapt(Section):
    """Adaptation of one video (paper 4.3)."""

    iterations: int = Field(ge=0)
    batch_size: int = Field(ge=1)  # frame pairs per iteration
    objective: Objective = Objective()  # the paper's, where nothing else is said
    affine: float = Field(default=0.0, ge=0, lt=0.5)  # random warps of every draw: by this share of the frame's size
    short_edge: int | None = Field(ge=16)  # frames are resized to this, as in pretraining; null keeps their size
    crop: int | None = Field(ge=16)  # of the resized frames; null takes them whole
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "one_cycle"] = "constant"  # one_cycle: up, and down to 0; from scratch it is needed
    weight_decay: float = Field(ge=0)
    batch_norm: Literal["frozen", "adapt"]  # frozen: pretrained statistics; adapt: the video's own
    gap: int = Field(ge=1)
    precision: Precision
    runner: Runner
    workers: int = Field(ge=1)  # videos at once
    threads: int = Field(ge=1)  # per video
    timeout_s: float = Field(gt=0)
    retries: int = Field(ge=0)
    seed: int = Field(ge=0)


class Register(Section):
    """The MLflow registry and its gates."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    max_drop: float = Field(ge=0, le=1)  # of label-free J below the champion's


class Inbox(Section):
    """Limits on what strangers drop into the inbox; a file beyond one is refused before it is decoded."""

    settle_s: float = Field(ge=0)  # a file that changed in this time is still being written
    max_bytes: int = Field(ge=1)
    max_pixels: int = Field(ge=1)  # of one frame
    max_frames: int = Field(ge=1)
    max_minutes: float = Field(gt=0)
    memory_mb: int = Field(ge=256)  # of the process that decodes
    timeout_s: float = Field(gt=0)  # for one video
    retries: int = Field(ge=0)  # after a crash or a timeout
    workers: int = Field(ge=1)  # videos at once
