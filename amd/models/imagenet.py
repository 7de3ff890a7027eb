"""Residual networks that others pretrained on images: an ImageNet-style state dict in, our ResNet out.

Input: .safetensors or .pth (a plain state dict, also inside `state_dict`, also with `module.` prefixes) whose names
are torchvision's. Output: a backbone without the classifier, in evaluation mode. Pickled code is never run.
"""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from amd.models.resnet import ResNet, make_backbone
from amd.runtime.errors import UserError

STEM = "conv1.weight"  # AMD's own files have no such key


def is_imagenet_file(path: Path | str) -> bool:
    """Whether a file holds an ImageNet-style ResNet; UserError when it cannot be read."""
    return STEM in read_state(path)


def load_imagenet(path: Path | str, output_stride: int) -> ResNet:
    """The ResNet-18, 34 or 50 of a file; UserError names the first missing or misshapen key."""
    state = read_state(path)
    backbone = make_backbone(_name(state), output_stride)
    for key, tensor in backbone.state_dict().items():
        if key not in state and not key.endswith("num_batches_tracked"):
            raise UserError(f"{path}: key {key!r} is missing; give the state dict of a ResNet-18, 34 or 50")
        if key in state and state[key].shape != tensor.shape:
            found, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise UserError(f"{path}: key {key!r} has shape {found}, expected {wanted}")
    backbone.load_state_dict({key: state[key] for key in backbone.state_dict() if key in state}, strict=False)
    return backbone.eval().to(memory_format=torch.channels_last)


def read_state(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file by name, without wrappers and prefixes."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{path}: not a plain state dict; nothing in it was run ({str(error).splitlines()[0]})"
        ) from None
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: holds no state dict of tensors")
    return tensors


def _name(state: dict[str, Tensor]) -> str:
    if "layer1.0.conv3.weight" in state:
        return "resnet50"
    return "resnet34" if "layer1.2.conv1.weight" in state else "resnet18"
