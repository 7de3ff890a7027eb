"""`amd segment --method transfer`: masks as the method makes them, flow from anywhere, and what is refused."""

import json
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from checkpoints import save_amd
from clips import write_flo
from commands import refused
from cues import packaged_cues
from PIL import Image

from amd.cli.program import main
from amd.config.profiles import load_profile
from amd.data.images import read_mask
from amd.data.synthetic.clips import encode
from amd.data.video.decode import Source, read_frames
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork, embed
from amd.models.loading import open_model
from amd.motion.flow import flows, inverse_search
from amd.transfer.frame import frame_features
from amd.transfer.video import segment_video

HEIGHT, WIDTH, FRAMES = 64, 96, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a bright disc that moves, its first frames as a folder, one image, and models of both kinds."""
    folder = tmp_path_factory.mktemp("given")
    frames = np.stack([picture(number) for number in range(FRAMES)])
    encode(folder / "clip.mp4", frames, 24)
    (folder / "frames").mkdir()
    for number in range(3):
        Image.fromarray(frames[number]).save(folder / f"frames/{number:03d}.png")
    Image.fromarray(frames[0]).save(folder / "photo.png")
    save_models(folder)
    return folder


def picture(number: int) -> np.ndarray:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 3)
    return cv2.circle(image, (30 + 6 * number, 30), 14, (250, 180, 60), -1)


def save_models(folder: Path) -> None:
    torch.manual_seed(1)
    network = EmbeddingNetwork(EmbeddingArchitecture("small", 4, 0.0, ("disc",)))
    params = {"transfer": load_profile("quickstart").transfer.model_dump() | {"seeds": 12}}
    save_checkpoint(folder / "embedding.safetensors", network, EmbeddingInfo(network.architecture, 64, params=params))
    save_amd(folder / "amd.safetensors", object_segment=0)


def segment(out: Path, *words: object) -> dict:
    main(["segment", *map(str, words), "--out", str(out)])
    return json.loads((out / "summary.json").read_text())


def transfer(folder: Path, out: Path, *words: object) -> dict:
    return segment(out, *words, "--method", "transfer", "--model", folder / "embedding.safetensors")


def masks(out: Path) -> list[np.ndarray]:
    return [read_mask(path) for path in sorted(next(out.glob("*/masks")).glob("*.png"))]


def test_masks_are_those_of_the_method_step_by_step(folder, tmp_path):
    """Decoded, embedded and segmented here, part by part, against the files that the command wrote."""
    summary = transfer(folder, tmp_path / "out", folder / "clip.mp4", "--soft", "--overlay", "--flow", "dis")
    network, _ = open_model(folder / "embedding.safetensors")
    images = [frame.image for frame in read_frames(Source("clip", folder / "clip.mp4"))]
    parts = zip(images, embed(network, images, 64), flows(images, inverse_search), strict=True)
    features = (frame_features(image, *described, flow) for image, described, flow in parts)
    settings = load_profile("quickstart").transfer.model_copy(update={"seeds": 12})
    expected = list(segment_video(features, settings, load_profile("paper").crf))

    home = next((tmp_path / "out").glob("clip*"))
    assert sorted(path.name for path in (home / "masks").iterdir()) == [f"{n:06d}.png" for n in range(FRAMES)]
    for number, result in enumerate(expected):
        mask = read_mask(home / f"masks/{number:06d}.png")
        assert mask.shape == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(mask, result.mask)
        soft = np.asarray(Image.open(home / f"soft/{number:06d}.png"))
        np.testing.assert_array_equal(soft, np.rint(255 * result.probability).astype(np.uint8))
    assert len(list(read_frames(Source("overlay", home / "overlay.mp4")))) == FRAMES
    row = summary["inputs"][0]
    assert (row["frames"], row["width"], row["height"]) == (FRAMES, WIDTH, HEIGHT)
    np.testing.assert_allclose(row["mean_area"], np.mean([result.mask.mean() for result in expected]))
    assert (summary["method"], summary["cues"], summary["flow"]) == ("transfer", "flow", "dis")


def test_without_a_flow_the_cues_are_what_moves_and_looks_like_an_object(folder, tmp_path):
    """The model of single images has a say: evidence alone gives other masks."""
    summary = transfer(folder, tmp_path, folder / "clip.mp4")
    network, _ = open_model(folder / "embedding.safetensors")
    images = [frame.image for frame in read_frames(Source("clip", folder / "clip.mp4"))]
    settings = load_profile("quickstart").transfer.model_copy(update={"seeds": 12})

    def expected(cues: list[np.ndarray]) -> list[np.ndarray]:
        parts = zip(images, embed(network, images, 64), cues, strict=True)
        features = [frame_features(image, embedding, values) for image, (embedding, _), values in parts]
        return [result.mask for result in segment_video(features, settings, load_profile("paper").crf)]

    both, moves = map(expected, packaged_cues(images))
    np.testing.assert_array_equal(masks(tmp_path), both)
    assert not np.array_equal(both, moves)
    assert (summary["cues"], summary["flow"]) == ("evidence", None)


def test_one_image_and_a_folder_are_inputs_too(folder, tmp_path):
    summary = transfer(folder, tmp_path, folder / "photo.png", folder / "frames", "--overlay")
    rows = {row["frames"]: row for row in summary["inputs"]}
    assert "no motion" in rows[1]["warnings"][0]
    assert not any("no motion" in warning for warning in rows[3]["warnings"])
    assert len(list(tmp_path.glob("*/overlay.png"))) == 1
    assert len(list(tmp_path.glob("*/overlay.mp4"))) == 1


def test_flow_comes_from_files_and_a_change_of_them_is_seen(folder, tmp_path):
    """Files with the very flow of dense inverse search give its masks; one of a wrong size stops that input alone."""
    out = tmp_path / "dis"
    name = transfer(folder, out, folder / "clip.mp4", "--flow", "dis")["inputs"][0]["video_id"]
    images = [frame.image for frame in read_frames(Source("clip", folder / "clip.mp4"))]
    for number, flow in zip(count(), flows(images, inverse_search)):
        write_flo(tmp_path / f"flow/{name}/{number:06d}.flo", flow)
    transfer(folder, tmp_path / "files", folder / "clip.mp4", "--flow", tmp_path / "flow")
    for ours, theirs in zip(masks(tmp_path / "files"), masks(out), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    write_flo(tmp_path / f"flow/{name}/000001.flo", np.zeros((HEIGHT, WIDTH - 1, 2)))
    with pytest.raises(SystemExit):
        transfer(folder, tmp_path / "files", folder / "clip.mp4", folder / "photo.png", "--flow", tmp_path / "flow")
    clip, photo = json.loads((tmp_path / "files/summary.json").read_text())["inputs"]
    assert "000001.flo: flow of 95x64 pixels for a frame of 96x64" in clip["reason"]
    assert "no such folder" in photo["reason"]


def test_flow_comes_from_an_amd(folder, tmp_path):
    summary = transfer(folder, tmp_path, folder / "clip.mp4", "--flow", folder / "amd.safetensors")
    assert len(summary["flow"]) == 64
    assert len(masks(tmp_path)) == FRAMES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "transfer", "--model", "amd.safetensors"], "amd.safetensors: a checkpoint of AMD (`--method"),
        (["--model", "embedding.safetensors"], "embedding.safetensors: a checkpoint of the instance embedding"),
        (["--method", "transfer", "--model", "embedding.safetensors", "--adapt", "3"], "--adapt: the method transfer"),
        (["--method", "transfer", "--model", "embedding.safetensors", "--segment", "0"], "--segment: the method"),
        (["--model", "amd.safetensors", "--flow", "dis"], "--flow: the method amd has its own flow"),
        (["--method", "transfer", "--model", "embedding.safetensors", "--flow", "no"], "--flow no: neither dis, nor a"),
        (["--method", "magic", "--model", "amd.safetensors"], "invalid choice: 'magic'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(folder, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folder)
    line = refused(capsys, main, ["segment", "clip.mp4", "--out", str(tmp_path / "out"), *words])
    assert message in line
