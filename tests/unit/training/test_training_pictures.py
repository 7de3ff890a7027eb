"""Watching a pretraining: what reaches MLflow, what the pictures show, and that training does not notice."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from projects import REPOSITORY
from torch.nn import functional as F

from amd.config import Pretrain, load_params
from amd.data.pairs.read import Batch
from amd.models.amd import AMD, Architecture
from amd.runtime.tracking import Run, connect, pipeline_run
from amd.training.pictures import HEADING, MARGIN, PAIRS, training_picture
from amd.training.task import MlflowCallback, Task

SIZE, SEGMENTS = 32, 3
COLUMNS = ("first", "second", "segment 0", "segment 1", "segment 2", "flow", "predicted", "visible")


@pytest.fixture
def model() -> AMD:
    torch.manual_seed(0)
    return AMD(Architecture("small", SEGMENTS, 4, 0.5, "small", 64, 64)).train()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (2, 6, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    return Batch(frames[0], frames[1], [f"pair-{number}" for number in range(6)])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return pipeline_run(connect())


@pytest.fixture
def settings() -> Pretrain:
    pretrain = load_params(REPOSITORY / "params.yaml").pretrain
    return pretrain.model_copy(update={"batch_size": 6, "processes": 2, "pictures_every": 10})


def task(model: AMD, settings: Pretrain) -> Task:
    """A pretraining, so far as what is logged depends on it."""
    return Task(
        *(model, model, lambda parameters: None, lambda number: [], settings, 0, "pairs", lambda: None),
        picture=lambda batch: training_picture(model, batch),
        pictures_every=settings.pictures_every,
    )


def tile(sheet: np.ndarray, row: int, column: str) -> np.ndarray:
    top, left = HEADING + MARGIN + row * (SIZE + MARGIN), MARGIN + COLUMNS.index(column) * (SIZE + MARGIN)
    return sheet[top : top + SIZE, left : left + SIZE]


def stand_still(model: AMD) -> AMD:
    """Make all flow zero."""
    torch.nn.init.zeros_(model.motion.estimator.readout[-1].weight)
    return model


def test_numbers_and_pictures_reach_mlflow(run: Run, model: AMD, batch: Batch, settings: Pretrain):
    callback = MlflowCallback(run, task(model, settings))
    callback.logged({"iteration": 40, "loss": 0.5, "iterations_per_s": 2.0, "area_0": 0.25})
    for iteration in (9, 10, 11, 20):
        callback.stepped(iteration, batch)
    history = {name: run.client.get_metric_history(run.id, name) for name in ("loss", "pairs_per_s", "area_0")}
    logged = {name: [(metric.step, metric.value) for metric in metrics] for name, metrics in history.items()}
    assert logged == {"loss": [(40, 0.5)], "pairs_per_s": [(40, 24.0)], "area_0": [(40, 0.25)]}
    assert "iteration" not in run.client.get_run(run.id).data.metrics
    names = [item.path for item in run.client.list_artifacts(run.id, "pictures")]
    assert names == ["pictures/0000010.png", "pictures/0000020.png"]
    stored = np.array(Image.open(run.client.download_artifacts(run.id, names[0])))
    assert (stored == training_picture(model, batch)).all()


def test_training_does_not_notice(model: AMD, batch: Batch):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    training_picture(model, batch)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failed_picture_leaves_the_model_training(model: AMD, batch: Batch):
    with pytest.raises(RuntimeError):
        training_picture(model, Batch(batch.first, batch.second[:, :20], batch.keys))
    assert all(module.training for module in model.modules())


def test_tiles_show_frames_and_masks(model: AMD, batch: Batch):
    sheet = training_picture(model, batch)
    assert sheet.dtype == np.uint8
    height = HEADING + PAIRS * (SIZE + MARGIN) + MARGIN
    assert sheet.shape == (height, len(COLUMNS) * (SIZE + MARGIN) + MARGIN, 3)
    images = batch.first[:PAIRS].permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        masks = model.eval().segment(images)
    masks = 255 * F.interpolate(masks, (SIZE, SIZE), mode="bilinear")
    for row in range(PAIRS):
        assert (tile(sheet, row, "first") == batch.first[row].numpy()).all()
        assert (tile(sheet, row, "second") == batch.second[row].numpy()).all()
        for m in range(SEGMENTS):
            grey = tile(sheet, row, f"segment {m}").astype(float)
            assert np.abs(grey - masks[row, m].numpy()[..., None]).max() <= 1


def test_without_flow_the_second_frame_is_the_prediction(model: AMD, batch: Batch):
    few = Batch(batch.first[:2], batch.second[:2], batch.keys[:2])
    sheet = training_picture(stand_still(model), few)
    assert sheet.shape[0] == HEADING + 2 * (SIZE + MARGIN) + MARGIN
    second = few.second.permute(0, 3, 1, 2).float()
    resized = partial(F.interpolate, mode="bilinear", align_corners=True)
    wanted = resized(resized(second, (64, 64)), (SIZE, SIZE)).permute(0, 2, 3, 1).numpy()
    for row in range(2):
        assert (tile(sheet, row, "flow") == 255).all()
        assert (tile(sheet, row, "visible") == 255).all()
        assert np.abs(tile(sheet, row, "predicted") - wanted[row]).max() <= 1


def test_with_one_flow_everywhere_the_picture_moves(model: AMD, batch: Batch):
    model = stand_still(model)
    with torch.no_grad():
        model.motion.estimator.readout[-1].bias.copy_(torch.tensor([0.5, 0.0]))  # to the right, summed over levels
        first = batch.first[:1].permute(0, 3, 1, 2).float() / 255
        moved = float(model.eval()(first, first).forward_flows[0][0, 0].mean()) * SIZE / 64
    sheet = training_picture(model.train(), Batch(batch.first[:1], batch.first[:1], ["pair"]))
    assert moved > 3
    red = tile(sheet, 0, "flow").astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 8
    # What moves right uncovers the left edge, which nothing in the other frame explains.
    visible = tile(sheet, 0, "visible")[..., 0]
    assert (visible[:, : int(moved) - 1] == 0).all()
    assert (visible[:, int(moved) + 2 :] == 255).all()
