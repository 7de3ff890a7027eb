"""params.yaml as typed, validated objects: a wrong key, type or range stops a run before any work.

Each section is one class; a stage reads its own sections alone, which are also the ones that dvc.yaml
names for it, so a changed value reruns exactly the stages that it touches.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from amd.errors import UserError

DEFAULT_PATH = Path("params.yaml")

# of convolutions; the loss and warping are always float32. auto: bfloat16 where the machine has units for it
Precision = Literal["auto", "float32", "bfloat16"]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Section):
    """Where videos and the benchmark are."""

    videos: str  # a folder of videos and frame folders, one video, or a split file
    benchmark: Literal["davis2016", "segtrackv2", "fbms59", "youtubevos"]
    benchmark_root: str
    saliency: Literal["duts", "folder", "davis2016", "segtrackv2", "fbms59", "youtubevos"]  # images with masks
    saliency_root: str | None  # null skips the evaluation of saliency


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

    workers: int = Field(ge=1)
    max_pixels: int = Field(ge=1)  # of one frame; larger inputs are rejected before decoding
    max_hours: float = Field(gt=0)  # of one video


class Shard(Section):
    """Frame pairs in WebDataset shards."""

    fps: float | None = Field(gt=0)  # target rate; null keeps the video's own
    short_edge: int | None = Field(ge=16)  # pixels; null keeps the size
    gap: int = Field(ge=1)  # frames between the two of a pair
    quality: int = Field(ge=1, le=100)  # of the JPEGs
    pairs_per_shard: int = Field(ge=1)
    min_change: float = Field(ge=0)  # pairs below are still (mean absolute grey difference, 0 to 255)
    max_change: float = Field(gt=0)  # pairs above, and out of line with their neighbours, are cuts
    workers: int = Field(ge=1)


class Model(Section):
    """The network (paper 3.1 and 3.2)."""

    backbone: Literal["small", "resnet18", "resnet34", "resnet50"]
    segments: int = Field(ge=2)  # c
    output_stride: Literal[4, 8, 16, 32]
    dropout: float = Field(ge=0, lt=1)  # of channels before the last layer
    motion: Literal["small", "pwc"]
    motion_height: int = Field(ge=64, multiple_of=64)  # size that pairs are stretched to for the motion pathway
    motion_width: int = Field(ge=64, multiple_of=64)


class Pretrain(Section):
    """Pretraining (paper 4.1)."""

    start: str | None  # weights to begin with: models:/NAME/VERSION or a checkpoint; null begins anew
    iterations: int = Field(ge=1)
    pairs: int = Field(ge=1)  # per process
    processes: int = Field(ge=1)  # torchrun processes on this machine, one a GPU
    readers: int = Field(ge=0)  # data workers per process; 0 reads in the training process
    short_edge: int = Field(ge=16)  # pairs are resized to this before the crop
    min_ratio: float = Field(gt=0, le=1)  # of the resize: drawn from [min_ratio, 1]
    crop: int = Field(ge=16)
    learning_rate: float = Field(gt=0)
    min_learning_rate: float = Field(ge=0)
    power: float = Field(ge=0)  # of the polynomial decay
    weight_decay: float = Field(ge=0)
    precision: Precision
    device: Literal["auto", "cpu", "cuda"]
    seed: int = Field(ge=0)
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
    pictures_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _crop_fits(self) -> "Pretrain":
        if self.crop > self.short_edge * self.min_ratio:
            raise ValueError(f"crop {self.crop} is larger than short_edge * min_ratio")
        return self


class Objectness(Section):
    """Choosing the object segment without labels (paper 3.5)."""

    pairs: int = Field(ge=1)  # training pairs looked at


class Predict(Section):
    """Masks of one image."""

    short_edge: int | None = Field(ge=16)  # images are resized to this; null keeps the size


class Adapt(Section):
    """Test-time adaptation of one video (paper 4.3)."""

    iterations: int = Field(ge=0)
    pairs: int = Field(ge=1)  # per iteration
    short_edge: int | None = Field(ge=16)  # frames are resized to this, as in pretraining; null keeps their size
    crop: int | None = Field(ge=16)  # of the resized frames; null takes them whole
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_norm: Literal["frozen", "adapt"]  # frozen: pretrained statistics; adapt: the video's own
    gap: int = Field(ge=1)
    precision: Precision
    runner: Literal["processes", "dask", "pool"]  # where videos are adapted to: docs/operations.md
    workers: int = Field(ge=1)  # videos at once
    threads: int = Field(ge=1)  # per video
    timeout_s: float = Field(gt=0)
    retries: int = Field(ge=0)
    seed: int = Field(ge=0)


class InstanceCorpus(Section):
    """The built-in images with instances, in the layout of Pascal VOC."""

    train_images: int = Field(ge=1)
    heldout_images: int = Field(ge=1)
    width: int = Field(ge=32)
    height: int = Field(ge=32)
    seed: int = Field(ge=0)
    workers: int = Field(ge=1)


class Embedding(Section):
    """The instance embedding network and its training (Instance Embedding Transfer, 3.1)."""

    data: list[str] = Field(min_length=1)  # folders in the layout of Pascal VOC, drawn from in turn
    start: str | None  # weights of the backbone: a checkpoint of AMD, or an ImageNet-style state dict
    backbone: Literal["small", "resnet18", "resnet34", "resnet50"]
    output_stride: Literal[4, 8, 16, 32]
    dropout: float = Field(ge=0, lt=1)  # of channels before the last layers
    iterations: int = Field(ge=1)
    images: int = Field(ge=1)  # per process
    points: int = Field(ge=2)  # sampled in an image, shared out evenly over its instances; all pairs of them count
    processes: int = Field(ge=1)  # torchrun processes on this machine, one a GPU
    readers: int = Field(ge=0)  # data workers per process; 0 reads in the training process
    short_edge: int = Field(ge=16)  # images are resized to this times a scale drawn from [min_scale, max_scale]
    min_scale: float = Field(gt=0)
    max_scale: float = Field(gt=0)
    crop: int = Field(ge=16)
    augmentation: Literal["light", "heavy"]  # heavy also changes colours and blurs
    learning_rate: float = Field(gt=0)
    min_learning_rate: float = Field(ge=0)
    power: float = Field(ge=0)  # of the polynomial decay
    weight_decay: float = Field(ge=0)
    precision: Precision
    device: Literal["auto", "cpu", "cuda"]
    seed: int = Field(ge=0)
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
    embed_short_edge: int | None = Field(ge=16)  # frames are resized to this to be embedded; null keeps their size
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")  # of the registered model

    @model_validator(mode="after")
    def _scales_in_order(self) -> "Embedding":
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale} is above max_scale {self.max_scale}")
        return self


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


class Semantic(Section):
    """Fine-tuning of the appearance pathway on Pascal VOC 2012 (paper 4.4)."""

    root: str | None  # the folder VOC2012; null skips the fine-tuning
    sbd: str | None  # the folder dataset of SBD, whose images are added to the training
    starts: list[Weights]  # beside scratch
    augmentations: list[Literal["light", "heavy"]] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    iterations: int = Field(ge=1)
    images: int = Field(ge=1)  # per process
    processes: int = Field(ge=1)  # torchrun processes on this machine, one a GPU
    readers: int = Field(ge=0)  # data workers per process; 0 reads in the training process
    short_edge: int = Field(ge=16)  # images are resized to this, in training times a scale from [min, max]
    min_scale: float = Field(gt=0)
    max_scale: float = Field(gt=0)
    crop: int = Field(ge=16)
    learning_rate: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    power: float = Field(ge=0)  # of the polynomial decay to 0
    weight_decay: float = Field(ge=0)
    precision: Precision
    device: Literal["auto", "cpu", "cuda"]
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(ge=1)

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


class Transfer(Section):
    """From embeddings, objectness and flow to masks (Instance Embedding Transfer, 3.2 to 3.4)."""

    features: Literal["embedding", "amd"]  # the embedding network's, or those of AMD's appearance pathway, label-free
    window: int = Field(ge=3, le=255)  # points across in which a candidate is the least edge, odd (eq. 5)
    seeds: int = Field(ge=2)  # of a frame, at most (eq. 6)
    background_seeds: int = Field(ge=1)  # of least objectness: the initial background
    overlap: float = Field(ge=0, lt=1)  # α: share of a region that makes its seed foreground
    min_objectness: float = Field(ge=0, le=1)  # p_O: seeds below are background (eq. 12)
    min_motion: float = Field(ge=0, le=1)  # p_M: likewise
    ranking: Literal["both", "motion", "objectness"]  # of seed tracks (eq. 10)
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


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    corpus: Corpus
    ingest: Ingest
    shard: Shard
    model: Model
    pretrain: Pretrain
    objectness: Objectness
    predict: Predict
    adapt: Adapt
    inbox: Inbox
    instance_corpus: InstanceCorpus
    embedding: Embedding
    transfer: Transfer
    crf: Crf
    robustness: Robustness
    features: Features
    semantic: Semantic
    sweep: Sweep
    register_: Register = Field(alias="register")


def load_params(path: Path | str = DEFAULT_PATH) -> Params:
    """Read and validate a parameter file.

    Raises UserError naming the first wrong key, its value and what is allowed.
    """
    path = Path(path)
    try:
        tree = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `amd profile quickstart` writes one") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {key} is {first['input']!r}: {first['msg']}") from None
