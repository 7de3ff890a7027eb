"""`amd export`: the appearance pathway as a file that runs without this project, ONNX or TorchScript; or a checkpoint.

Input: a model. Output: a file that takes images float32 B,3,H,W in [0, 1] of any batch and size and gives soft masks
float32 B,c,h,w, h and w being H and W over the output stride, rounded up. It is run again at sizes other than the one
it was recorded at, and appears only when every mask is within TOLERANCES of the model's. Metadata (ONNX's
metadata_props, TorchScript's extra file METADATA) name the object segment and the short edge that images need.
`half` writes the checkpoint itself, with weights of 16 bit: half the size.
"""

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.models.loading import open_as
from amd.models.precision import MASKS_WITHIN
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path

TOLERANCES = {"onnx": 1e-4, "torchscript": 1e-4, "half": MASKS_WITHIN}  # of a mask
OPSET = 18  # of ONNX's operators; 18 is of 2022, which every runtime knows
RECORDED = (2, 3, 68, 92)  # the shape of the images that the network is recorded with
CHECKED = ((1, 3, 64, 96), (3, 3, 65, 101), (1, 3, 97, 66))  # other batches and sizes, odd ones too
METADATA = "amd.json"
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "half": ".safetensors"}


class SoftMasks(nn.Module):
    """The appearance pathway with its softmax, as one function of images."""

    def __init__(self, model: AMD) -> None:
        super().__init__()
        self.appearance = model.appearance

    def forward(self, images: Tensor) -> Tensor:
        return self.appearance.masks(images)


def export_model(uri: str, kind: str, out: Path) -> float:
    """Write the model that `uri` names as `kind`, a key of SUFFIXES; returns the largest difference of a mask.

    Raises UserError for a model that cannot be had, a file that is there already or has another suffix, packages that
    are not installed, and a file whose masks are not the model's.
    """
    if out.suffix.lower() != SUFFIXES[kind]:
        raise UserError(f"{out}: a file of {kind} ends in {SUFFIXES[kind]}; give it that name")
    if out.exists():
        raise UserError(f"{out}: is there already; choose another --out or remove it")
    if kind == "onnx":
        _require_onnx()
    model, info = open_as(AMD, uri)
    network = SoftMasks(model).eval()
    with atomic_path(out) as part:
        if kind == "half":
            halved = copy.deepcopy(model).half()
            save_checkpoint(part, halved, info)
            run = _run_torch(SoftMasks(halved.float()))
        elif kind == "onnx":
            _write_onnx(network, part, _metadata(info))
            run = _run_onnx(part)
        else:
            _write_torchscript(network, part, _metadata(info))
            run = _run_torch(torch.jit.load(str(part)))
        difference = _largest_difference(network, run)
        if not difference <= TOLERANCES[kind]:  # NaN is not below either
            raise UserError(f"{out}: its masks differ from the model's by {difference:.1e}; it is not written")
    return difference


def _metadata(info: ModelInfo) -> dict[str, str]:
    facts = {name: getattr(info, name) for name in ("object_segment", "short_edge")}
    facts |= {name: getattr(info.architecture, name) for name in ("segments", "output_stride")}
    return {name: json.dumps(value) for name, value in facts.items()}


def _largest_difference(network: SoftMasks, run: Callable[[Tensor], np.ndarray]) -> float:
    """The largest difference of any mask over CHECKED; infinite when a shape is another."""
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for shape in CHECKED:
        images = torch.rand(shape, generator=generator)
        with torch.no_grad():
            expected = network(images).numpy()
        found = run(images)
        if found.shape != expected.shape:
            return np.inf
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx: {error.name} is not installed; pip install 'amd-objects[export]'") from None


def _write_onnx(network: SoftMasks, path: Path, metadata: dict[str, str]) -> None:
    import onnx

    any_size = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's other exporter is its newer one; it takes a minute and more
        torch.onnx.export(
            network,
            (torch.rand(RECORDED),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["masks"],
            dynamic_axes={"images": any_size, "masks": {0: "batch", 2: "mask_height", 3: "mask_width"}},
        )
    written = onnx.load(str(path))
    onnx.helper.set_model_props(written, metadata)
    onnx.save_model(written, str(path))


def _run_onnx(path: Path) -> Callable[[Tensor], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images.numpy()})[0]


def _write_torchscript(network: SoftMasks, path: Path, metadata: dict[str, str]) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sizes that are recorded as operations, which is what is wanted
        recorded = torch.jit.trace(network, torch.rand(RECORDED), check_trace=False)
        torch.jit.save(recorded, str(path), _extra_files={METADATA: json.dumps(metadata)})


def _run_torch(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], np.ndarray]:
    def run(images: Tensor) -> np.ndarray:
        with torch.no_grad():
            return network(images).numpy()

    return run
