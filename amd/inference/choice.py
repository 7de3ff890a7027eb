"""What a user asks of segmenting, before anything is opened."""

from dataclasses import dataclass, field
from pathlib import Path

from amd.config import Fused


@dataclass(frozen=True)
class Choice:
    """What a user asks for; None leaves it to the method."""

    model: str | None = None  # models:/…, a checkpoint or a published .pth
    method: str | None = None  # one of METHODS
    adapt: int | None = None  # iterations of adaptation to each video
    segment: int | None = None  # the object's, in place of the model's own
    flow: str | None = None  # of transfer: where optical flow comes from
    evidence: Path | None = None  # weights of motion evidence in place of the packaged ones
    device: str = "auto"
    threads: int = 1
    settings: Fused = field(default_factory=Fused)  # of fused, motion, and amd without a model
