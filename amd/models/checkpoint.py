"""Checkpoints: weights as safetensors with what is needed to use them; nothing pickled is ever run.

A checkpoint is one file: AMD's tensors, and as metadata the architecture, the object segment, every segment's
statistics, the size images are segmented at, the parameters and the lineage.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from amd.models.amd import AMD, Architecture
from amd.models.imagenet import read_state
from amd.models.reference import from_reference
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path

FORMAT, EMBEDDING_FORMAT, SEMANTIC_FORMAT = "amd-checkpoint-1", "amd-embedding-1", "amd-semantic-1"
KINDS = {  # what a user is told of a file that is given in the other one's place
    FORMAT: "a checkpoint of AMD (`--method amd`)",
    EMBEDDING_FORMAT: "a checkpoint of the instance embedding (`--method transfer`)",
    SEMANTIC_FORMAT: "a model fine-tuned for semantic segmentation (`amd semantic`)",
}
BACKBONES = ("small", "resnet18", "resnet34", "resnet50")
MOTIONS = ("small", "pwc")
STRIDES = (4, 8, 16, 32)
MOST_PIXELS = 8192  # of an edge that a network is to work at: a file's word must not decide over all memory
REFERENCE_SHORT_EDGE = 392


@dataclass(frozen=True)
class ModelInfo:
    """What travels with the weights."""

    architecture: Architecture
    object_segment: int | None = None  # None until it was chosen
    short_edge: int | None = None  # images are resized to this to be segmented
    segments: list[dict[str, Any]] = field(default_factory=list)  # rows of amd.data.tables.SEGMENTS
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    bfloat16: bool = False  # masks may be made in it: on training frames they were float32's


def save_checkpoint(path: Path | str, model: AMD, info: ModelInfo) -> None:
    """Write weights and metadata atomically."""
    metadata = {"format": FORMAT, "info": json.dumps(asdict(info), sort_keys=True)}
    save_tensors(path, model.state_dict(), metadata)


def load_checkpoint(path: Path | str) -> tuple[AMD, ModelInfo]:
    """Read a checkpoint into an AMD in evaluation mode.

    Raises UserError when the file is missing, damaged, of another format, or when its weights do not fit
    the architecture that it names.
    """
    tensors, info = read_checkpoint(path)
    model = AMD(info.architecture)
    model.bfloat16 = info.bfloat16
    fill(model, tensors, path)
    return model.eval(), info


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], ModelInfo]:
    """The tensors and the metadata of a checkpoint file."""
    tensors, fields = read_file(path, FORMAT)
    try:
        info = ModelInfo(**{**fields, "architecture": Architecture(**fields["architecture"])})
        damage = _impossible(info)
    except (KeyError, TypeError, ValueError) as error:
        damage = str(error)
    if damage:
        raise UserError(f"{path}: damaged checkpoint metadata ({damage})")
    name, segments = "appearance.classifier.weight", info.architecture.segments
    if name in tensors and (found := tuple(tensors[name].shape))[:1] != (segments,):  # before so many are allocated
        raise UserError(f"{path}: key {name!r} has shape {found}, expected {(segments, *found[1:])}")
    return tensors, info


def _impossible(info: ModelInfo) -> str:
    """What of a checkpoint's metadata no training has written; empty when all is possible."""
    architecture = info.architecture
    for name, default in Architecture().to_dict().items():
        value = getattr(architecture, name)
        if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
            return f"{name} is {value!r}"
    possible = {
        "backbone": architecture.backbone in BACKBONES,
        "motion": architecture.motion in MOTIONS,
        "segments": architecture.segments >= 2,
        "output_stride": architecture.output_stride in STRIDES,
        "dropout": 0 <= architecture.dropout < 1,
        "motion_height": 64 <= architecture.motion_height <= MOST_PIXELS,
        "motion_width": 64 <= architecture.motion_width <= MOST_PIXELS,
        "object_segment": info.object_segment is None or info.object_segment in range(architecture.segments),
        "bfloat16": info.bfloat16 in (True, False),
        "short_edge": info.short_edge is None or info.short_edge in range(1, MOST_PIXELS + 1),
        "segments' rows": isinstance(info.segments, list) and all(isinstance(row, dict) for row in info.segments),
        "params": isinstance(info.params, dict),
        "lineage": isinstance(info.lineage, dict),
    }
    return next((f"its {name} cannot be" for name, is_so in possible.items() if not is_so), "")


def file_format(path: Path | str) -> str | None:
    """The format that a checkpoint file names, a key of KINDS; None when it names none or cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None


def read_file(path: Path | str, wanted: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint file of format `wanted` (a key of KINDS), and the object in its metadata."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    found = metadata.get("format")
    if found != wanted:
        kind = KINDS.get(found) or (f"a file of format {found!r}" if found else "no checkpoint of this project")
        raise UserError(f"{path}: {kind}; give {KINDS[wanted]}")
    try:
        return tensors, dict(json.loads(metadata["info"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged checkpoint metadata ({error})") from None


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy `tensors` into `model`; UserError names the first missing, unexpected or misshapen key."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise UserError(f"{path}: key {name!r} is missing; it is not a checkpoint of {model.architecture}")
        if tensors[name].shape != tensor.shape:
            found, expected = tuple(tensors[name].shape), tuple(tensor.shape)
            raise UserError(f"{path}: key {name!r} has shape {found}, expected {expected}")
    for name in tensors:
        if name not in wanted:
            raise UserError(f"{path}: unexpected key {name!r}; it is not a checkpoint of {model.architecture}")
    model.load_state_dict(tensors)


def load_reference(path: Path | str) -> tuple[AMD, ModelInfo]:
    """Read the published reference's file, with any of the wrappers and prefixes of amd.models.imagenet.read_state.

    It has no object segment: its README and its code name different ones. Raises UserError for a file that holds
    pickled code, or whose layout differs, naming the first key.
    """
    state = read_state(path)
    try:
        renamed = from_reference(state)
    except ValueError as error:
        raise UserError(f"{path}: {error}; it is not a checkpoint of the published AMD reference") from None
    classifier = renamed.get("appearance.classifier.weight")
    segments = len(classifier) if classifier is not None and classifier.ndim else Architecture.segments
    model = AMD(Architecture(segments=segments))
    fill(model, renamed, path)
    info = ModelInfo(
        architecture=model.architecture,
        short_edge=REFERENCE_SHORT_EDGE,
        lineage={"imported_from": Path(path).name},
    )
    return model.eval(), info


LENGTH_BYTES = 8  # of the header, little-endian, before it


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors of any device and memory format, and texts, atomically."""
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as part:
        save_file(copies, part, metadata)
        _order_metadata(part)


def _order_metadata(path: Path) -> None:
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) > length:
            raise RuntimeError(f"{path}: a header of {length} bytes became one of {len(ordered)}")
        file.seek(LENGTH_BYTES)
        file.write(ordered.ljust(length))  # padded with spaces, as the format has it


def object_segment(info: ModelInfo, chosen: int | None = None) -> int:
    """The segment taken for the object: `chosen`, else the model's own; UserError when there is no such segment."""
    segments = info.architecture.segments
    if chosen is None:
        if info.object_segment is None:
            raise UserError(
                "the model has no object segment yet; run the objectness stage, or give one with --segment "
                f"(0 to {segments - 1})"
            )
        return info.object_segment
    if not 0 <= chosen < segments:
        raise UserError(f"--segment {chosen}: the model has {segments} segments, 0 to {segments - 1}")
    return chosen


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of the architecture and every weight: two models of one hash give the same masks."""
    digest = hashlib.sha256(json.dumps(model.architecture.to_dict(), sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
