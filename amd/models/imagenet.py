"""Residual networks that others pretrained on images: an ImageNet-style state dict in, our ResNet out.

Input: .safetensors or PyTorch's own format (a plain state dict, also wrapped, also with prefixes: WRAPPERS, PREFIXES)
whose names are torchvision's. Output: a backbone without the classifier, in evaluation mode. Pickled code is never run.
"""

import argparse
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from amd.models.resnet import ResNet, make_backbone
from amd.runtime.errors import UserError

STEM = "conv1.weight"  # AMD's own files have no such key
WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")  # keys that a file holds its state dict under
PREFIXES = ("module.", "model.", "encoder_q.", "backbone.")  # of DistributedDataParallel, Lightning, MoCo, DINO


def is_imagenet_file(path: Path | str) -> bool:
    """Whether a file holds an ImageNet-style ResNet; UserError when it cannot be read."""
    return STEM in read_state(path)


def load_imagenet(path: Path | str, output_stride: int) -> ResNet:
    """The ResNet-18, 34 or 50 of a file; UserError names the first missing or misshapen key."""
    state = read_state(path)
    backbone = make_backbone(resnet_name(state), output_stride)
    for key, tensor in backbone.state_dict().items():
        if key not in state and not key.endswith("num_batches_tracked"):
            raise UserError(f"{path}: key {key!r} is missing; give the state dict of a ResNet-18, 34 or 50")
        if key in state and state[key].shape != tensor.shape:
            found, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise UserError(f"{path}: key {key!r} has shape {found}, expected {wanted}")
    backbone.load_state_dict({key: state[key] for key in backbone.state_dict() if key in state}, strict=False)
    return cast(ResNet, backbone.eval()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it


def read_state(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file by name, without wrappers and prefixes.

    Of a file with two networks (MoCo's query and key encoder, DINO's teacher and student) the query or teacher
    counts. UserError when the file is missing, damaged, or would have to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        if path.suffix.lower() == ".safetensors":
            content = load_file(path)
        else:  # DINO keeps its command's arguments beside the weights: a Namespace, which runs nothing
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file nearly anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a plain PyTorch state dict; nothing in it was run ({reason})") from None
    tensors = _unwrapped(content)
    if not tensors:
        raise UserError(f"{path}: holds no state dict of tensors")
    return tensors


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """The tensors of a file's content by name; empty when it is no state dict."""
    while isinstance(content, dict) and (inner := [name for name in WRAPPERS if isinstance(content.get(name), dict)]):
        content = content[inner[0]]
    if not isinstance(content, dict):
        return {}
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if any("encoder_q." in key for key in tensors):
        tensors = {key: value for key, value in tensors.items() if "encoder_q." in key}
    return {_without_prefixes(key): value for key, value in tensors.items()}


def _without_prefixes(key: str) -> str:
    while found := next((prefix for prefix in PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(found)
    return key


def resnet_name(state: dict[str, Tensor]) -> str:
    """Which of the three a state dict is of, by its keys."""
    if "layer1.0.conv3.weight" in state:
        return "resnet50"
    return "resnet34" if "layer1.2.conv1.weight" in state else "resnet18"
