"""Held-out clips of the built-in corpus rewritten as every benchmark lays itself out: predicted, scored, looked at."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from amd.cli import main
from amd.config.profiles import DEFAULTS, load_profile
from amd.data.benchmarks.davis import Sequence, davis2016, open_benchmark
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image, read_mask, write_mask
from amd.data.synthetic.clips import make_corpus
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.runtime.files import read_json
from stages import evaluate_vos, predict, run_stage
from stages.receipts import MOVING

FRAMES = 6


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> list[Sequence]:
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    size = {"train_clips": 1, "heldout_clips": 2, "frames": FRAMES, "width": 96, "height": 64, "workers": 1}
    make_corpus(folder, load_profile("quickstart").corpus.model_copy(update=size))
    return davis2016(folder / "heldout")


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def as_segtrack(sequences: list[Sequence], root: Path) -> None:
    """The left and the right half of every object as objects of their own; mixed image formats."""
    for sequence in sequences:
        for number, frame in enumerate(sequence.frames):
            mask = read_mask(frame.truth)
            left = mask & (np.arange(mask.shape[1]) < mask.shape[1] // 2)
            save(
                root / f"JPEGImages/{sequence.name}/{frame.name}{'.png' if number % 2 else '.bmp'}",
                read_image(frame.image),
            )
            for name, part in (("1", left), ("2", mask & ~left)):
                save(root / f"GroundTruth/{sequence.name}/{name}/{frame.name}.png", part * np.uint8(255))


def as_fbms(sequences: list[Sequence], root: Path) -> None:
    """Truth on two frames alone, colour-coded over white in one set, grey over black in the other."""
    for split, sequence in zip(("Trainingset", "Testset"), sequences, strict=True):
        folder = root / split / sequence.name
        for frame in sequence.frames:
            save(folder / f"{frame.name}.jpg", read_image(frame.image))
        for frame in (sequence.frames[1], sequence.frames[4]):
            mask = read_mask(frame.truth)
            if split == "Testset":
                coloured = np.where(mask[..., None], (0, 0, 255), (255, 255, 255)).astype(np.uint8)
                save(folder / f"GroundTruth/{frame.name}_gt.ppm", coloured)
            else:
                save(folder / f"GroundTruth/{frame.name}.pgm", mask * np.uint8(85))


def as_youtube(sequences: list[Sequence], root: Path) -> None:
    """Palette masks of every third frame."""
    for sequence in sequences:
        for number, frame in enumerate(sequence.frames):
            save(root / f"JPEGImages/{sequence.name}/{frame.name}.jpg", read_image(frame.image))
            if number % 3 == 0:
                palette = Image.fromarray(read_mask(frame.truth).astype(np.uint8))
                palette.putpalette([0, 0, 0, 236, 95, 103])
                path = root / f"Annotations/{sequence.name}/{frame.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                palette.save(path)
    (root / "meta.json").write_text(json.dumps({"videos": {sequence.name: {} for sequence in sequences}}))


LAYOUTS: dict[str, tuple[Callable[[list[Sequence], Path], None], int]] = {  # and the frames that count
    "segtrackv2": (as_segtrack, 2 * FRAMES),
    "fbms59": (as_fbms, 4),
    "youtubevos": (as_youtube, 4),
}


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_a_layout_is_predicted_and_scored(
    dataset: str, heldout: list[Sequence], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write, scored = LAYOUTS[dataset]
    write(heldout, tmp_path / "benchmark")
    truth = {(sequence.name, frame.name): read_mask(frame.truth) for sequence in heldout for frame in sequence.frames}
    sequences = open_benchmark(dataset, tmp_path / "benchmark")
    for sequence in sequences:
        for frame in sequence.scored_frames:
            assert (read_truth(frame) == truth[sequence.name, frame.name]).all()
    write_project(tmp_path, dataset)
    monkeypatch.chdir(tmp_path)
    run_stage("predict", predict.main)
    (tmp_path / "predictions/adapted").symlink_to(tmp_path / "predictions/image")
    for kind in MOVING:
        (tmp_path / "predictions/image" / kind).symlink_to(tmp_path / "predictions/image/masks")
    run_stage("evaluate_vos", evaluate_vos.main)
    report = read_json("metrics/vos.json")
    result = report["scores"]["image"]["label-free"]
    assert result["protocol"]["frames_scored"] == scored
    assert sorted(result["sequences"]) == ["clip-0000", "clip-0001"]
    assert result["averages"]["frames"]["J"] == pytest.approx(frame_j(sequences, dataset, truth))
    assert list(report["baselines"]) == ["centre_box", "flow_outliers"]


def write_project(root: Path, dataset: str) -> None:
    """Parameters for the benchmark in `root`, and an untrained model."""
    params = YAML(typ="safe").load(DEFAULTS)
    params["data"] |= {"benchmark": dataset, "benchmark_root": "benchmark"}
    params["model"]["segments"] = 3
    YAML().dump(params, root / "params.yaml")
    architecture = Architecture("small", 3, 4, 0.0, "small", 64, 64)
    torch.manual_seed(0)
    save_checkpoint(root / "models/amd.safetensors", AMD(architecture), ModelInfo(architecture, 1, 48))


def frame_j(sequences: list[Sequence], dataset: str, truth: dict[tuple[str, str], np.ndarray]) -> float:
    """J over frames from the written masks, by arithmetic on their pixels."""
    values = []
    for sequence in sequences:
        for frame in sequence.scored_frames:
            with Image.open(f"predictions/image/masks/{dataset}/{sequence.name}/{frame.name}.png") as image:
                mask = np.asarray(image) == 255
            wanted = truth[sequence.name, frame.name]
            union = (mask | wanted).sum()
            values.append((mask & wanted).sum() / union if union else 1.0)
    return float(np.mean(values))


def test_predictions_from_elsewhere_for_every_layout(
    heldout: list[Sequence], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for dataset, (write, scored) in LAYOUTS.items():
        write(heldout, tmp_path / dataset)
        for sequence in heldout:
            for frame in sequence.frames:
                write_mask(tmp_path / "masks" / sequence.name / f"{frame.name}.png", read_mask(frame.truth))
        arguments = ["--root", tmp_path / dataset, "--predictions", tmp_path / "masks", "--json", tmp_path / "s.json"]
        main(["score", "--dataset", dataset, *map(str, arguments)])
        scores = read_json(tmp_path / "s.json")
        assert scores["averages"]["pooled"]["J"] == scores["mean"]["F"]["mean"] == 1.0
        assert scores["protocol"]["frames_scored"] == scored
    assert "J compared with the literature's: over pooled" in capsys.readouterr().out
