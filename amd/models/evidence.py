"""The network of motion evidence: from flows to P(this pixel moves on its own), and its file.

A flow's residual after the camera's motion says what moves otherwise than the ground does; so do things of a still
scene at another depth. The network has learned to tell them apart on layered clips (amd.training.motion).
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from amd.models.checkpoint import save_tensors
from amd.models.unet import UNet
from amd.runtime.errors import UserError

FORMAT = "amd-evidence-1"
PACKAGED = Path(__file__).parent / "weights" / "evidence.safetensors"
CELL = 2  # pixels of the grid across that the network's first level takes as one
MOST_WIDTH, MOST_LEVELS, MOST_DIRECTIONS = 1024, 6, 16  # of an architecture: a file's word must not decide over memory


@dataclass(frozen=True)
class EvidenceArchitecture:
    """What the weights fit."""

    channels: int  # of the input (amd.motion.inputs)
    widths: tuple[int, ...] = (24, 48, 96, 128)


@dataclass(frozen=True)
class EvidenceInfo:
    """What travels with the weights: how flow was estimated, and where they come from."""

    architecture: EvidenceArchitecture
    gaps: tuple[int, ...]
    degree: int = 1  # of the camera's motion
    short_edge: int = 360  # of frames at which flow is estimated
    grid: int = 120  # short edge of the maps
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


class EvidenceNetwork(nn.Module):
    """From inputs B,channels,h,w of any size to logits B,h,w.

    CELL x CELL pixels are one position of a U-Net, as channels: most of the work is done at half the size, and borders
    are as sharp as the grid.
    """

    def __init__(self, architecture: EvidenceArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.unet = UNet(CELL**2 * architecture.channels, architecture.widths, CELL**2)

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[2:]
        padded = F.pad(inputs, (0, -width % CELL, 0, -height % CELL), mode="replicate")
        logits = F.pixel_shuffle(self.unet(F.pixel_unshuffle(padded, CELL)), CELL)
        return logits[:, 0, :height, :width]


def save_evidence(path: Path | str, network: EvidenceNetwork, info: EvidenceInfo) -> None:
    """Write weights as float16 and metadata, atomically; UserError when a weight is too large for float16."""
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in _kept(network).items()}
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: a weight is not finite in float16; train again with a lower learning rate")
    save_tensors(path, tensors, {"format": FORMAT, "info": json.dumps(asdict(info), sort_keys=True)})


def load_evidence(
    path: Path | str = PACKAGED, device: torch.device | str = "cpu"
) -> tuple[EvidenceNetwork, EvidenceInfo]:
    """The network in evaluation mode, float32, and its metadata; the packaged one by default.

    UserError when the file is missing, damaged, of another format, or its weights do not fit its architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give weights of motion evidence")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable file of weights ({error})") from None
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: no weights of motion evidence (format {metadata.get('format')!r}, not {FORMAT!r})")
    info = _info(path, metadata)
    network = EvidenceNetwork(info.architecture)
    wanted = {name: tensor.shape for name, tensor in _kept(network).items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        name = min(name for name in {**wanted, **found} if wanted.get(name) != found.get(name))
        raise UserError(f"{path}: key {name!r} does not fit {info.architecture}; the file is damaged")
    network.load_state_dict(tensors, strict=False)
    return network.eval().to(device), info


def _kept(network: nn.Module) -> dict[str, Tensor]:
    """All but batch norm's counters, which inference does not read."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}


def _info(path: Path, metadata: dict[str, str]) -> EvidenceInfo:
    try:
        fields = json.loads(metadata["info"])
        shape = fields.pop("architecture")
        architecture = EvidenceArchitecture(shape["channels"], tuple(shape["widths"]))
        info = EvidenceInfo(architecture, tuple(fields.pop("gaps")), **fields)
        widths = architecture.widths
        numbers = (architecture.channels, *widths, *info.gaps, info.short_edge, info.grid)
        possible = all(type(number) is int and 1 <= number <= MOST_WIDTH for number in numbers)
        possible = possible and 0 < len(widths) <= MOST_LEVELS and 0 < 2 * len(info.gaps) <= MOST_DIRECTIONS
        if not possible or type(info.degree) is not int or not 0 <= info.degree <= 3:
            raise ValueError("an architecture that cannot be")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged metadata ({error})") from None
    return info
