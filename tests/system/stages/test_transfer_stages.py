"""The stages and the command of Instance Embedding Transfer, with a tiny network on clips of a moving square."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from checkpoints import save_amd
from commands import refused
from cues import packaged_cues
from layouts import write_davis
from mlflow import MlflowClient
from PIL import Image
from projects import enter_project, planned

from amd.cli.program import main
from amd.config import load_params
from amd.data.benchmarks.davis import davis2016
from amd.data.images import read_image, read_mask, write_mask
from amd.evaluation.metrics import boundary_f, jaccard
from amd.evaluation.transfer_videos import DescribedSequence, open_features
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork, embed, embed_image
from amd.models.loading import open_model
from amd.motion.flow import inverse_search
from amd.runtime.errors import UserError
from amd.runtime.files import read_json
from amd.transfer.frame import frame_features, video_features
from amd.transfer.video import segment_video
from stages import run_stage, transfer_evaluate, transfer_experiments, transfer_predict

HEIGHT, WIDTH, FRAMES = 48, 64, 5
SUPERVISION = {"sets": {"nowhere": {"images": 0}}, "start": "random weights"}


def write_clips(root: Path) -> None:
    """Two sequences in the layout of DAVIS: a bright square with a texture moves over a dark one."""
    ground = np.random.default_rng(0).integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
    coat = np.random.default_rng(1).integers(150, 255, (16, 16, 3), np.uint8)
    for shift, name in enumerate(("bear", "dog")):
        frames = []
        for number in range(FRAMES):
            image, mask = ground.copy(), np.zeros((HEIGHT, WIDTH), bool)
            place = np.s_[12 + 8 * shift : 28 + 8 * shift, 8 + 3 * number : 24 + 3 * number]
            image[place], mask[place] = coat, True
            frames.append((image, mask))
        write_davis(root, name, frames, quality=95)


def save_models(folder: Path) -> None:
    torch.manual_seed(1)
    network = EmbeddingNetwork(EmbeddingArchitecture("small", 4, 0.0, ("square",)))
    torch.nn.init.normal_(network.embedding[-1].weight, std=0.2)  # apart, so that there is something to segment
    save_checkpoint(folder / "embedding.safetensors", network, EmbeddingInfo(network.architecture, HEIGHT, SUPERVISION))
    save_amd(folder / "amd.safetensors", short_edge=None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the three stages have run."""
    folder = tmp_path_factory.mktemp("project")
    write_clips(folder / "clips")
    save_models(folder / "models")
    sparse = {"cues": "flow", "window": 3, "seeds": 15, "background_seeds": 4}
    changes = {"data": {"benchmark_root": "clips"}, "transfer": sparse}
    with pytest.MonkeyPatch.context() as patch:
        enter_project(folder, changes, patch)
        for name, stage in (
            ("transfer_predict", transfer_predict),
            ("transfer_evaluate", transfer_evaluate),
            ("transfer_experiments", transfer_experiments),
        ):
            run_stage(name, stage.main)
    return folder


def plain_masks(project: Path, name: str, model: str = "embedding", **changes) -> list[np.ndarray]:
    """The masks of a sequence before the CRF, made here."""
    params = load_params(project / "params.yaml")
    settings = params.transfer.model_copy(update={"crf": False} | changes)
    network, info = open_model(project / f"models/{model}.safetensors")
    paths = sorted((project / f"clips/JPEGImages/480p/{name}").iterdir())
    features = video_features(map(read_image, paths), network, info.short_edge, inverse_search)
    return [result.mask for result in segment_video(features, settings, params.crf)]


def scores(project: Path, name: str, masks: list[np.ndarray]) -> dict[str, float]:
    """Mean J and F of the frames between the first and the last."""
    truths = [read_mask(path) for path in sorted((project / f"clips/Annotations/480p/{name}").iterdir())]
    pairs = list(zip(masks, truths, strict=True))[1:-1]
    return {
        "J": np.mean([jaccard(mask, truth) for mask, truth in pairs]),
        "F": np.mean([boundary_f(mask, truth) for mask, truth in pairs]),
    }


def metrics_of(project: Path, stage: str) -> dict[str, float]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("amd").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`amd.stage` = '{stage}'")
    return run.data.metrics


@pytest.mark.parametrize("name", ["bear", "dog"])
def test_predicted_masks_are_those_of_the_method(project, name):
    folder = project / "predictions/transfer"
    expected = plain_masks(project, name)
    assert any(mask.any() and not mask.all() for mask in expected)
    for number, mask in enumerate(expected):
        np.testing.assert_array_equal(read_mask(folder / f"plain/masks/builtin-clips/{name}/{number:05d}.png"), mask)
        assert read_mask(folder / f"crf/masks/builtin-clips/{name}/{number:05d}.png").shape == (HEIGHT, WIDTH)


def test_scores_are_those_of_the_masks(project):
    report = read_json(project / "metrics/transfer.json")
    for name in ("bear", "dog"):
        expected = scores(project, name, plain_masks(project, name))
        assert report["sequences"][name]["plain"] == pytest.approx(expected)
    mean = np.mean([report["sequences"][name]["crf"]["J"] for name in ("bear", "dog")])
    assert report["mean"]["crf"]["J"]["mean"] == pytest.approx(mean)
    for kind in ("plain", "crf"):
        assert report["protocol"][kind]["supervision"] == SUPERVISION
    assert metrics_of(project, "transfer_evaluate")["crf_J"] == pytest.approx(mean)


def test_every_experiment_has_its_scores_and_protocol(project):
    report = read_json(project / "metrics/transfer_experiments.json")
    assert set(report["intervals"]) == {"1", "5", "10", "20", "40", "never"}
    assert set(report["rankings"]) == {"motion", "objectness", "both"}
    assert set(report["features"]) == {"embedding", "semantic"}
    assert set(report["annotated"]) == {"plain", "crf"}
    assert report["protocol"]["annotated"]["supervision_beside"] == "the first frame's annotation"
    assert report["protocol"]["rankings"]["frames_scored"] == 2 * (FRAMES - 2)
    for name in ("bear", "dog"):
        never = scores(project, name, plain_masks(project, name, adapt_every=0))
        motion = scores(project, name, plain_masks(project, name, ranking="motion"))
        assert report["sequences"]["intervals"][name]["never"]["J"] == pytest.approx(never["J"])
        assert report["sequences"]["rankings"][name]["motion"]["J"] == pytest.approx(motion["J"])
        assert 0 <= report["sequences"]["rankings"][name]["both"]["seed_accuracy"] <= 1
    assert report["curve"]["drift"]["wrong_foreground"]["0.00"] == 0
    assert metrics_of(project, "transfer_experiments")["intervals_never_J"] == report["intervals"]["never"]["J"]


def test_pictures_are_drawn(project):
    with Image.open(project / "metrics/transfer.png") as sheet:
        assert sheet.width > 8 * 100  # eight steps side by side
        assert len(set(sheet.convert("L").tobytes())) > 50
    with Image.open(project / "metrics/transfer_experiments.png") as figure:
        assert figure.width > 3 * figure.height


def write_disc(root: Path) -> None:
    """A sequence of a bright disc that moves over a blurred ground, large enough to be seen to move."""
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 120, (64, 96, 3), np.uint8), (0, 0), 3)
    rows, columns = np.mgrid[:64, :96]
    masks = [np.hypot(rows - 30, columns - 30 - 6 * number) < 14 for number in range(4)]
    frames = [(np.where(mask[..., None], np.uint8([250, 180, 60]), ground), mask) for mask in masks]
    write_davis(root, "bear", frames, quality=95)


def test_the_stages_take_amds_features_and_evidence(project, tmp_path, monkeypatch):
    write_disc(tmp_path / "clips")
    shutil.copytree(project / "models", tmp_path / "models")
    changes = {
        "data": {"benchmark_root": "clips"},
        "transfer": {"features": "amd", "window": 3, "seeds": 15, "background_seeds": 4},
    }
    enter_project(tmp_path, changes, monkeypatch)
    run_stage("transfer_predict", transfer_predict.main)
    run_stage("transfer_evaluate", transfer_evaluate.main)
    protocol = read_json("metrics/transfer.json")["protocol"]["plain"]
    assert (protocol["supervision"], protocol["cues"]) == ("none", "evidence")
    paths = sorted(Path("clips/JPEGImages/480p/bear").iterdir())
    images, settings = [read_image(path) for path in paths], load_params("params.yaml").transfer
    plain = settings.model_copy(update={"crf": False})

    def expected(cues: list[np.ndarray]) -> list[np.ndarray]:
        described = embed(open_features("amd", "models/amd.safetensors").network, images, None)
        features = [
            frame_features(image, embedding, evidence)
            for image, (embedding, _), evidence in zip(images, described, cues, strict=True)
        ]
        return [result.mask for result in segment_video(features, plain, load_params("params.yaml").crf)]

    both, moves = map(expected, packaged_cues(images))
    written = sorted(Path("predictions/transfer/plain/masks/builtin-clips/bear").iterdir())
    np.testing.assert_array_equal([read_mask(path) for path in written], both)
    assert not np.array_equal(both, moves)  # the model of single images has a say


def command(*words: object) -> None:
    main(["transfer", *map(str, words), "--dataset", "davis2016"])


def test_the_command_gives_the_stages_scores(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(project)  # whose params.yaml counts
    command("all", "--root", "clips", "--model", "models/embedding.safetensors", "--out", tmp_path)
    stage = read_json("metrics/transfer_experiments.json")
    for name in ("intervals", "rankings", "annotated", "features"):
        assert read_json(tmp_path / f"transfer_{name}.json")["mean"] == stage[name]
    told = read_json(tmp_path / "transfer_crf.json")
    assert told["mean"]["crf"]["J"] == pytest.approx(read_json("metrics/transfer.json")["mean"]["crf"]["J"]["mean"])
    assert (tmp_path / "transfer_figure.png").is_file()
    assert f"  never {' ' * 14}J {stage['intervals']['never']['J']:.3f} (paper 0.705)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features", "--root", "clips", "--model", "models/amd.safetensors", "--features", "amd"], "no semantic side"),
        (["crf", "--root", "clips", "--model", "models/amd.safetensors"], "amd.safetensors: a checkpoint of AMD"),
        (["crf", "--root", "nowhere", "--model", "models/embedding.safetensors"], "nowhere: no such folder"),
        (["magic", "--root", "clips", "--model", "models/embedding.safetensors"], "invalid choice: 'magic'"),
    ],
)
def test_mistakes_are_one_line(project, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(project)
    assert message in refused(capsys, command, *words, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_first_frame_without_the_object_stops_the_semi_supervised_mode(project, tmp_path, monkeypatch, capsys):
    shutil.copytree(project / "clips", tmp_path / "clips")
    write_mask(tmp_path / "clips/Annotations/480p/dog/00000.png", np.zeros((HEIGHT, WIDTH), bool))
    monkeypatch.chdir(project)
    words = ("--root", tmp_path / "clips", "--model", "models/embedding.safetensors", "--out", tmp_path)
    assert "first-frame mask: it is empty" in refused(capsys, command, "annotated", *words)


def test_a_sequence_too_short_to_count_is_told(project, tmp_path, monkeypatch, capsys):
    """DAVIS counts neither the first frame nor the last."""
    shutil.copytree(project / "clips", tmp_path / "clips")
    for path in (tmp_path / "clips").glob("*/480p/bear/*"):
        if path.stem > "00001":
            path.unlink()
    monkeypatch.chdir(project)
    words = ("--root", tmp_path / "clips", "--model", "models/embedding.safetensors", "--out", tmp_path)
    assert "no annotated frame of bear counts" in refused(capsys, command, "crf", *words)


def test_a_first_frame_that_nobody_annotated_is_told(project):
    """As in benchmarks that annotate some frames alone."""
    sequence = davis2016(project / "clips")[0]
    frames = (replace(sequence.frames[0], truth=None), *sequence.frames[1:])
    with pytest.raises(UserError, match=r"00000\.jpg: the first frame of bear is not annotated"):
        DescribedSequence(replace(sequence, frames=frames), [], io.BytesIO()).first_truth()


def test_features_of_amd_are_its_backbones_and_its_segments_mask(project):
    """Every embedding has one length, and the objectness is the mask of the object's segment."""

    path = str(project / "models/amd.safetensors")
    model, _ = open_model(path)
    image = read_image(project / "clips/JPEGImages/480p/bear/00000.jpg")
    embedding, objectness = embed_image(open_features("amd", path).network, image, None)
    np.testing.assert_allclose(embedding.norm(dim=0), 1, rtol=1e-5)
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        masks = model.appearance.eval().masks(pixels)[0, 1]
    np.testing.assert_allclose(objectness, masks, atol=1e-5)


def test_dvc_knows_every_stage(tmp_path: Path):
    """DVC itself resolves the pipeline, in order, with the features that the parameters choose."""
    folders = ["data/instances", "data/corpus/heldout", "predictions/transfer"]
    files = ["models/embedding.safetensors", "models/embedding_trained.safetensors"]
    order = planned(tmp_path, "transfer", [*folders, *files], {})
    assert set(order) == {
        "stages.instances", "stages.embedding", "stages.embedding_score", "stages.embedding_register",
        "stages.transfer_predict", "stages.transfer_evaluate", "stages.transfer_experiments",
    }  # fmt: skip
    assert order.index("stages.embedding_score") < order.index("stages.transfer_predict")
    assert order.index("stages.transfer_predict") < order.index("stages.transfer_evaluate")


def test_scores_are_json_that_any_reader_takes(project):
    """No NaN, which JSON does not have."""
    found: list[str] = []
    files = sorted((project / "metrics").glob("*.json"))
    for path in files:
        json.loads(path.read_text(), parse_constant=found.append)
    assert files
    assert found == []
