"""Checkpoints of other projects: recognised by their keys, an AMD out. Pickled code is never run.

Input: the published AMD reference's file (both pathways), or a ResNet with torchvision's names, as MoCo v2, DenseCL,
DINO and torchvision save it: a backbone to begin a training with. Wrappers and prefixes are taken off (amd.models.
imagenet.read_state). Output: an AMD without an object segment, since no file says which it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, load_reference
from amd.models.imagenet import STEM, load_imagenet, read_state, resnet_name
from amd.runtime.errors import UserError

ACCEPTED = "the published AMD .pth, or a ResNet-18, 34 or 50 with torchvision's names (MoCo v2, DenseCL, DINO)"
HEAD, BACKBONE_CHANNELS = "decode_head2.convs.0.conv.weight", 2048  # what the head of AMD's ResNet-50 reads
SEED = 0  # of what a backbone's file does not hold


def load_foreign(path: Path | str, wanted: Architecture | None = None) -> tuple[AMD, ModelInfo]:
    """The AMD of another project's file, in evaluation mode.

    Of a backbone's file, the head, the classifier and the motion pathway are random, from a fixed seed, and all but
    the backbone as `wanted` says (default: the published architecture). Raises UserError for a file that is none of
    ACCEPTED, with the first missing or misshapen key, for an RCF checkpoint, and for another backbone than `wanted`.
    """
    state = read_state(path)
    if any(key.startswith(("backbone2.", "decode_head")) for key in state):
        _refuse_rcf(state, path)
        return load_reference(path)
    if STEM not in state:
        raise UserError(f"{path}: not recognised by its keys (the first is {next(iter(state))!r}); give {ACCEPTED}")
    return _from_backbone(path, resnet_name(state), wanted)


def is_backbone(info: ModelInfo) -> bool:
    """Whether load_foreign found a backbone alone, so that the segments mean nothing yet."""
    return info.lineage.get("imported") == "backbone"


def _from_backbone(path: Path | str, name: str, wanted: Architecture | None) -> tuple[AMD, ModelInfo]:
    architecture = wanted or replace(Architecture(), backbone=name)
    if architecture.backbone != name:
        raise UserError(f"{path}: a {name}, not a {architecture.backbone}; set model.backbone to {name}")
    backbone = load_imagenet(path, architecture.output_stride)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = AMD(architecture)
    model.appearance.backbone.load_state_dict(backbone.state_dict())
    lineage = {"imported_from": Path(path).name, "imported": "backbone"}
    return model.eval(), ModelInfo(architecture, lineage=lineage)


def _refuse_rcf(state: Mapping[str, Tensor], path: Path | str) -> None:
    """UserError for a checkpoint of RCF, which has AMD's names and parts that AMD has not."""
    inputs = state[HEAD].shape[1] if HEAD in state and state[HEAD].ndim == 4 else BACKBONE_CHANNELS
    extra = [key for key in state if key.startswith("decode_head3.") or key.split(".")[0].endswith("_ema")]
    if inputs == BACKBONE_CHANNELS and not extra:
        return
    reason = f"its head reads {inputs} channels" if inputs != BACKBONE_CHANNELS else f"it has {extra[0]!r}"
    raise UserError(
        f"{path}: a checkpoint of RCF ({reason}), whose head reads the first stage beside the last and has another "
        "dilation than AMD's; segment with RCF's own code, or give a checkpoint of AMD"
    )
