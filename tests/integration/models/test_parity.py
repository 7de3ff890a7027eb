"""The network and its training against the published reference's numbers, and against a small golden file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from amd.models.amd import AMD, AMDOutput, Architecture
from amd.models.checkpoint import load_reference
from amd.models.reference import our_name
from amd.models.warp import visibility
from amd.training.losses import LEVELS, flow_loss, view_synthesis_loss

GOLDEN = Path(__file__).parent / "golden.json"


@pytest.fixture(scope="module")
def reference(parity: Path) -> dict[str, np.ndarray]:
    with np.load(parity / "reference.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def reference_model(reference_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> AMD:
    """The reference's fixed weights, written in its layout and read by our import."""
    path = tmp_path_factory.mktemp("reference") / "reference.pth"
    torch.save({"meta": {"iter": 0}, "state_dict": reference_state}, path)
    return load_reference(path)[0]


@pytest.fixture(scope="module")
def output(reference: dict, reference_model: AMD) -> AMDOutput:
    first, second = pair(reference)
    reference_model.eval().zero_grad(set_to_none=True)
    result = reference_model(first, second)
    view_synthesis_loss(result, first, second).backward()
    return result


def pair(reference: dict) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(reference["pair_rgb"]).permute(0, 3, 1, 2).float() / 255
    return images[:1], images[1:]


def difference(ours: Tensor, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return (ours.detach() - torch.from_numpy(theirs)).abs().max().item()


def test_masks(reference, output):
    assert difference(torch.cat((output.masks_first, output.masks_second)), reference["masks"]) < 1e-4


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_segment_flow(reference, output, level):
    assert difference(output.forward_flows[level][0], reference[f"segment_flow_fw.{level}"]) < 1e-2
    assert difference(output.backward_flows[level][0], reference[f"segment_flow_bw.{level}"]) < 1e-2


def test_region_flow(reference, output):
    assert difference(output.forward_region_flow[0], reference["region_flow_fw"]) < 1e-2
    assert difference(output.backward_region_flow[0], reference["region_flow_bw"]) < 1e-2


def test_dense_flow_and_its_loss(reference, reference_model):
    first, second = pair(reference)
    with torch.no_grad():
        masks = reference_model.segment(torch.cat((first, second)))
        features = reference_model.motion.features(reference_model.motion_input(torch.cat((first, second))))
        swapped = [level.flip(0) for level in features]
        motion = reference_model.motion(features, swapped, masks.flip(0))
        assert difference(motion.dense_flows[1][0], reference["dense_flow_fw.1"]) < 1e-2
        assert difference(motion.dense_flows[1][1], reference["dense_flow_bw.1"]) < 1e-2
        flows = motion.dense_flows[:LEVELS]
        loss = flow_loss([flow[:1] for flow in flows], [flow[1:] for flow in flows], first, second)
    assert loss.item() == pytest.approx(reference["loss_dense_flow"].item(), rel=1e-4)


def test_visibility(reference, output):
    assert difference(visibility(output.backward_flows[0])[0, 0], reference["visible_first"]) == 0
    assert difference(visibility(output.forward_flows[0])[0, 0], reference["visible_second"]) == 0


def test_loss(reference, output):
    loss = view_synthesis_loss(output, *pair(reference))
    assert loss.item() == pytest.approx(reference["loss_segment_flow"].item(), rel=1e-4)


def test_gradient_norms(reference, reference_model, output):
    parameters = dict(reference_model.named_parameters())
    norms = json.loads(str(reference["gradient_norms"]))
    assert len(norms) == len(parameters)
    for name, norm in norms.items():
        assert parameters[our_name(name)].grad.norm().item() == pytest.approx(norm, rel=1e-2), name


def test_two_adam_steps(reference, reference_model):
    """Batch norm in training mode, no dropout; a model of its own, since it is trained."""
    model = AMD(Architecture(dropout=0.0))
    model.load_state_dict(reference_model.state_dict())
    model.train()
    batch = torch.from_numpy(reference["batch_rgb"]).permute(0, 1, 4, 2, 3).float() / 255
    first, second = batch[:, 0], batch[:, 1]
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=1e-6)
    losses = []
    for _ in range(3):
        loss = view_synthesis_loss(model(first, second), first, second)
        losses.append(loss.item())
        if len(losses) < 3:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    np.testing.assert_allclose(losses, reference["five_adam_steps_losses"][:3], rtol=1e-3)


def golden_numbers() -> dict[str, list[float] | float]:
    """A fixed small AMD on a fixed pair: weights and images are functions of sine, alike on every machine."""
    model = AMD(Architecture("resnet18", 3, 8, 0.0, "pwc", 64, 128)).eval()
    for number, (name, tensor) in enumerate(model.state_dict().items()):
        wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) ** 1.5 + number).view(tensor.shape)
        if tensor.ndim > 1:
            tensor.copy_(wave * (3 / tensor[0].numel()) ** 0.5)
        elif name.endswith((".weight", "running_var")):
            tensor.copy_(0.8 + 0.2 * wave)
        elif tensor.ndim == 1:  # biases and running means
            tensor.copy_(0.05 * wave)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    image = lambda shift: torch.stack([0.5 + 0.4 * torch.sin((x - shift) / (k + 3) + y / 7) for k in range(3)])[None]
    first, second = image(0.0), image(2.0)
    output = model(first, second)
    loss = view_synthesis_loss(output, first, second)
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    return {
        "masks": F.adaptive_avg_pool2d(output.masks_first.detach(), 2).flatten().tolist(),
        "region_flow": output.forward_region_flow.detach().flatten().tolist(),
        "loss": loss.item(),
        "gradient_norm": gradient.item(),
    }


def test_golden_file():
    """The numbers where the reference is not at hand; `python tests/integration/models/test_parity.py` writes them."""
    golden = json.loads(GOLDEN.read_text())
    numbers = golden_numbers()
    np.testing.assert_allclose(numbers["masks"], golden["masks"], atol=1e-4)
    np.testing.assert_allclose(numbers["region_flow"], golden["region_flow"], rtol=1e-3, atol=1e-4)
    assert numbers["loss"] == pytest.approx(golden["loss"], rel=1e-4)
    assert numbers["gradient_norm"] == pytest.approx(golden["gradient_norm"], rel=1e-2)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_numbers(), indent=1) + "\n")
