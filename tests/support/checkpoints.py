"""Small random networks as checkpoints, for tests that need a model and no sense."""

from pathlib import Path
from typing import Any

import torch

from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint


def save_amd(
    path: Path | str,
    segments: int = 3,
    object_segment: int | None = 1,
    short_edge: int | None = 48,
    seed: int = 0,
    motion: int = 64,
    **more: Any,
) -> Path:
    """An AMD of the smallest kind; `motion` is the edge of its motion input, `more` goes to its ModelInfo."""
    torch.manual_seed(seed)
    model = AMD(Architecture("small", segments, 4, 0.1, "small", motion, motion)).eval()
    save_checkpoint(Path(path), model, ModelInfo(model.architecture, object_segment, short_edge, **more))
    return Path(path)
