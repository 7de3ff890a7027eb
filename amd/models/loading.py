"""From what a user calls a model to the network: the one way to open every kind of model.

Input: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a checkpoint (.safetensors) or the published reference's file
(.pth); a checkpoint says itself which kind it is. Output: the network in evaluation mode, with its info. Pickled code
is never run.
"""

from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from amd.models.amd import AMD
from amd.models.checkpoint import (
    Info,
    ModelInfo,
    check_fit,
    fill,
    load_reference,
    parse_info,
    read_file,
)
from amd.models.embedding import EmbeddingInfo, EmbeddingNetwork
from amd.models.imagenet import is_imagenet_file, load_imagenet
from amd.models.precision import choose_device
from amd.models.semantic import SemanticInfo, SemanticNetwork
from amd.runtime.errors import UserError

ACCEPTED = "models:/NAME@ALIAS, models:/NAME/VERSION, a checkpoint .safetensors or the published reference's .pth"
INFOS: dict[type[nn.Module], type[Info]] = {
    AMD: ModelInfo,
    EmbeddingNetwork: EmbeddingInfo,
    SemanticNetwork: SemanticInfo,
}


def open_model(uri: Path | str, device: str = "cpu") -> tuple[nn.Module, Any]:
    """The network that `uri` names, on `device` ("auto": the fastest there is), and what travels with its weights.

    An AMD with its ModelInfo, an EmbeddingNetwork with its EmbeddingInfo, or a SemanticNetwork with its SemanticInfo.
    Raises UserError for a name of another form, a missing or damaged file, an unknown alias, or weights that do not
    fit the architecture that the file names.
    """
    return _open(str(uri), device, None)


@overload
def open_as(network: type[AMD], uri: Path | str, device: str = "cpu") -> tuple[AMD, ModelInfo]: ...
@overload
def open_as(
    network: type[EmbeddingNetwork], uri: Path | str, device: str = "cpu"
) -> tuple[EmbeddingNetwork, EmbeddingInfo]: ...
@overload
def open_as(
    network: type[SemanticNetwork], uri: Path | str, device: str = "cpu"
) -> tuple[SemanticNetwork, SemanticInfo]: ...
def open_as(network: type[nn.Module], uri: Path | str, device: str = "cpu") -> tuple[nn.Module, Any]:
    """As open_model, of the one kind `network`; UserError says of another kind what it is and what is wanted."""
    return _open(str(uri), device, INFOS[network])


def start_backbone(network: EmbeddingNetwork | SemanticNetwork, path: Path, parameter: str) -> None:
    """Copy into `network` what a local file holds for it, the start of its training.

    Of an AMD: the backbone, and both convolution blocks where the network has them as AMD has. Of an ImageNet-style
    ResNet: the backbone. Raises UserError, naming the `parameter` to set, when its backbone is another.
    """
    parts: list[tuple[nn.Module, nn.Module]]
    if is_imagenet_file(path):
        parts = [(load_imagenet(path, network.architecture.output_stride), network.backbone)]
    else:
        appearance = open_as(AMD, path)[0].appearance
        parts = [(appearance.backbone, network.backbone)]
        if isinstance(network, SemanticNetwork):
            parts.append((appearance.head, network.head))
    for source, target in parts:
        try:
            target.load_state_dict(source.state_dict())
        except RuntimeError:  # other layers, or other shapes
            backbone = network.architecture.backbone
            raise UserError(f"{path}: its backbone is not a {backbone}; set {parameter} to the file's") from None


def _open(uri: str, device: str, wanted: type[Info] | None) -> tuple[nn.Module, Any]:
    path = uri
    if uri.startswith("models:/"):
        from amd.runtime.registered import pull  # MLflow takes seconds to import

        path = str(pull(uri))
    suffix = Path(path).suffix.lower()
    if suffix not in (".safetensors", ".pth"):
        raise UserError(f"{uri}: not a model; give {ACCEPTED}")
    if suffix == ".safetensors":
        network, info = _load(path, wanted)
    elif wanted in (None, ModelInfo):
        network, info = load_reference(path)
    else:
        raise UserError(f"{uri}: a .pth is taken for {ModelInfo.kind}; give {wanted.kind}")
    return network.to(choose_device(device)), info


def _load(path: str, wanted: type[Info] | None) -> tuple[nn.Module, Any]:
    tensors, metadata = read_file(path)
    found = metadata.get("format")
    kinds = {info.format: (network, info) for network, info in INFOS.items()}
    if found not in kinds or wanted not in (None, kinds[found][1]):
        unknown = f"a file of format {found!r}" if found else "no checkpoint of this project"
        what = kinds[found][1].kind if found in kinds else unknown
        raise UserError(f"{path}: {what}; give {wanted.kind if wanted else ACCEPTED}")
    make, kind = kinds[found]
    info = parse_info(kind, metadata.get("info", ""), path)
    with torch.device("meta"):  # without memory, which a damaged file may ask any amount of
        try:
            check_fit(make(info.architecture), tensors, path)
        except (RuntimeError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: damaged checkpoint metadata (architecture: {reason})") from None
    network: Any = make(info.architecture)
    fill(network, tensors, path)
    if isinstance(info, ModelInfo):
        network.bfloat16 = info.bfloat16
    return network.eval(), info
