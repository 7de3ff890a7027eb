"""params.yaml as typed, validated objects: a wrong key, type or range stops a run before any work.

Each section is one class; a stage reads its own sections alone, which are also the ones that dvc.yaml
names for it, so a changed value reruns exactly the stages that it touches.
"""

from pathlib import Path
from typing import Literal

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
    workers: int = Field(ge=1)  # videos at once
    threads: int = Field(ge=1)  # per video
    timeout_s: float = Field(gt=0)
    retries: int = Field(ge=0)
    seed: int = Field(ge=0)


class Register(Section):
    """The MLflow registry and its gates."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    max_drop: float = Field(ge=0, le=1)  # of label-free J below the champion's


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
