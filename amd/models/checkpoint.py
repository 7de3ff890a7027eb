"""Checkpoints: weights as safetensors with what is needed to use them; nothing pickled is ever run.

A checkpoint is one file: a network's tensors, and as metadata its kind and the kind's info (of AMD: the architecture,
the object segment, every segment's statistics, the size images are segmented at, the parameters and the lineage).
amd.models.loading opens every kind.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from amd.config import Model
from amd.models.amd import AMD, Architecture
from amd.models.imagenet import read_state
from amd.models.reference import from_reference
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path

STRICT = ConfigDict(extra="forbid", strict=True)  # of metadata that is read
REFERENCE_SHORT_EDGE = 392
ShortEdge = Annotated[int, Field(ge=1, le=8192)]  # a file's word must not decide over all memory


@dataclass(frozen=True)
class ModelInfo:
    """What travels with the weights of an AMD."""

    __pydantic_config__ = STRICT
    format: ClassVar = "amd-checkpoint-1"
    kind: ClassVar = "a checkpoint of AMD (`--method amd`)"
    architecture: Architecture
    object_segment: Annotated[int, Field(ge=0)] | None = None  # None until it was chosen
    short_edge: ShortEdge | None = None  # images are resized to this to be segmented
    segments: list[dict[str, Any]] = field(default_factory=list)  # rows of amd.data.tables.SEGMENTS
    params: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    bfloat16: bool = False  # masks may be made in it: on training frames they were float32's


class Info(Protocol):
    """What travels with the weights of any kind: ModelInfo, EmbeddingInfo, SemanticInfo."""

    format: ClassVar[str]  # as a file names its kind
    kind: ClassVar[str]  # what a user is told of a file that is given in another one's place
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def architecture(self) -> Any:
        """What the network is made from."""


InfoType = TypeVar("InfoType", bound=Info)


def save_checkpoint(path: Path | str, network: nn.Module, info: Info) -> None:
    """Write weights and metadata of any kind of network atomically."""
    metadata = {"format": info.format, "info": json.dumps(asdict(info), sort_keys=True)}
    save_tensors(path, network.state_dict(), metadata)


def parse_info(kind: type[InfoType], text: str, path: Path | str) -> InfoType:
    """A checkpoint's info of its metadata's JSON; the architecture is one that params.yaml's `model` could hold.

    Raises UserError that names the first impossible value.
    """
    try:
        info = TypeAdapter(kind).validate_json(text)
        known = {name: value for name, value in asdict(info.architecture).items() if name in Model.model_fields}
        Model.model_validate(asdict(Architecture()) | known)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "info"
        raise UserError(f"{path}: damaged checkpoint metadata ({key}: {first['msg']})") from None
    segment = getattr(info, "object_segment", None)
    if segment is not None and segment >= info.architecture.segments:
        raise UserError(f"{path}: damaged checkpoint metadata (object_segment: there is no segment {segment})")
    return info


def read_file(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a checkpoint file; UserError when it cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy `tensors` into `model`; UserError names the first missing, unexpected or misshapen key."""
    check_fit(model, tensors, path)
    model.load_state_dict(tensors)


def check_fit(model: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """UserError unless `tensors` are those of `model`, which may be on torch's device "meta"."""
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
    digest = hashlib.sha256(json.dumps(asdict(cast(Any, model.architecture)), sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
