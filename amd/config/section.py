"""What the sections of params.yaml have in common."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# of convolutions; the loss and warping are always float32. auto: bfloat16 where the machine multiplies it faster
Precision = Literal["auto", "float32", "bfloat16"]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Training(Section):
    """What every training has: Pretrain, Embedding, Semantic."""

    batch_size: int = Field(ge=1)  # of every process: frame pairs, or images
    iterations: int = Field(ge=1)
    processes: int = Field(ge=1)  # torchrun processes on this machine, one a GPU
    num_workers: int = Field(ge=0)  # data workers per process; 0 reads in the training process
    short_edge: int = Field(ge=16)  # images are resized to this, times a number drawn at random, before the crop
    crop: int = Field(ge=16)
    learning_rate: float = Field(gt=0)
    power: float = Field(ge=0)  # of the polynomial decay
    weight_decay: float = Field(ge=0)
    precision: Precision
    activation_checkpointing: bool  # keep less for the backward pass and compute it again: less memory, more time
    device: Literal["auto", "cpu", "cuda"]
    checkpoint_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
