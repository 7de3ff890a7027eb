"""Training of motion evidence: the loss by hand, augmentation, the cache, determinism and resuming."""

from pathlib import Path

import numpy as np
import pytest
import torch

from amd.config import Motion
from amd.data.synthetic.layer_textures import Textures
from amd.motion.dense import FlowSettings
from amd.motion.layer_flows import CHUNK, clip_flows, write_clips
from amd.training.distributed import Process
from amd.training.motion import ClipReader, augmented, evidence_loss, heldout_scores, one_cycle, train_evidence

ALONE = Process(0, 1, torch.device("cpu"))
TINY = Motion(
    clips=50,
    gaps=(1, 2),
    precision="float32",
    widths=(4, 8),
    iterations=30,
    batch_size=8,
    learning_rate=1e-2,
    checkpoint_every=10,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of flows in which a square moves to the right on still ground; in a tenth of the clips none does."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for number in range(2):
        made = np.zeros((CHUNK, 9, 24, 32), np.float16)
        made[:, :8] = rng.normal(0, 0.05, (CHUNK, 8, 24, 32))
        for clip in made[CHUNK // 10 :]:
            y, x = rng.integers(0, 14), rng.integers(0, 22)
            clip[8, y : y + 10, x : x + 10] = 1
            clip[0:8:2, y : y + 10, x : x + 10] += np.array([-3, 3, -6, 6])[:, None, None]
        paths.append(folder / f"clips-{number}.npy")
        np.save(paths[-1], made)
    return paths


def test_the_loss_by_hand() -> None:
    """Two cells in one clip, p = 0.5 and 0.5, truth 1 and 0; the slack of Dice is 0.02."""
    terms = evidence_loss(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]))
    assert float(terms["cross_entropy"]) == pytest.approx(np.log(2))
    assert float(terms["dice_loss"]) == pytest.approx(1 - (2 * 0.5 + 0.02) / (1 + 1 + 0.02))
    assert float(terms["loss"]) == pytest.approx(float(terms["cross_entropy"] + terms["dice_loss"]))


def test_silence_is_right_where_there_is_no_object() -> None:
    nothing = torch.zeros(1, 8, 8)
    assert evidence_loss(nothing - 20, nothing)["loss"] < 1e-3 < evidence_loss(nothing + 2, nothing)["loss"]


def test_augmented_vectors_turn_with_the_picture() -> None:
    """A square that moves to the right and down: seen mirrored or reversed, vectors of the two times stay opposite."""
    batch = torch.zeros(64, 5, 24, 32)
    batch[:, 4, 8:16, 10:20] = 1
    batch[:, 0:2] = -batch[:, 4:] * torch.tensor([2.0, 1.0])[:, None, None]
    batch[:, 2:4] = batch[:, 4:] * torch.tensor([2.0, 1.0])[:, None, None]
    torch.manual_seed(0)
    flows, truth = augmented(batch)
    assert flows.shape == (64, 2, 2, 24, 32)
    assert torch.allclose(flows[:, 0], -flows[:, 1], atol=1e-5)
    assert torch.allclose(flows[:, :, 0].abs(), 2 * flows[:, :, 1].abs(), atol=1e-4)
    assert bool((flows[:, 1].abs().sum(1) > 0)[truth > 0.5].all())
    assert {float(sign) for sign in flows[:, 1, 0].sum((1, 2)).sign()} == {-1.0, 1.0}


def test_each_clip_comes_once_a_round_and_the_stream_restores(clips: list[Path]) -> None:
    reader = ClipReader(clips, 10, seed=3)
    stream = reader.batches(0)
    first = [next(stream) for _ in range(12)]
    seen = torch.cat(first[:10]).flatten(1).double().sum(1)
    assert len(set(seen.tolist())) == 2 * CHUNK
    assert torch.equal(next(reader.batches(11)), first[11])


def test_the_rate_rises_then_falls() -> None:
    rates = [one_cycle(1.0, 100, iteration) for iteration in range(100)]
    assert np.argmax(rates) in (14, 15)
    assert rates[0] < 0.1
    assert rates[-1] < 0.01
    assert min(rates) > 0


def test_training_learns_and_is_repeatable(clips: list[Path], tmp_path: Path) -> None:
    network, progress = train_evidence(TINY, clips, tmp_path / "a", ALONE)
    again, _ = train_evidence(TINY, clips, tmp_path / "b", ALONE)
    other, _ = train_evidence(TINY.model_copy(update={"seed": 1}), clips, tmp_path / "c", ALONE)
    weights = [net.unet.head.weight for net in (network, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert progress.iteration == 30
    longer = TINY.model_copy(update={"iterations": 80})
    scores = heldout_scores(train_evidence(longer, clips, tmp_path / "d", ALONE)[0], clips[1:], 1)
    assert scores["heldout_j"] > 0.5
    assert scores["heldout_clips"] == CHUNK


def test_an_interrupted_training_ends_where_a_whole_one_does(clips: list[Path], tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Breaks:
        def logged(self, row: dict[str, float]) -> None:
            pass

        def stepped(self, iteration: int, batch: object) -> None:
            if iteration == 15:
                raise Stop

    whole, _ = train_evidence(TINY, clips, tmp_path / "whole", ALONE)
    with pytest.raises(Stop):
        train_evidence(TINY, clips, tmp_path / "part", ALONE, Breaks())
    resumed, progress = train_evidence(TINY, clips, tmp_path / "part", ALONE)
    assert progress.iteration == 30
    assert torch.equal(whole.unet.head.weight, resumed.unet.head.weight)


def test_cached_clips_are_kept_and_missing_ones_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amd.motion.layer_flows.CHUNK", 2)
    textures, flow = (
        Textures([np.full((40, 60, 3), 90, np.uint8)], 0.0),
        FlowSettings(gaps=(1, 2), short_edge=60, grid=30),
    )
    (first,) = write_clips(tmp_path, textures, [5], flow, 0.1, workers=1)
    before = first.stat().st_mtime_ns
    first, second = write_clips(tmp_path, textures, [5, 6], flow, 0.1, workers=2)
    assert first.stat().st_mtime_ns == before
    made = np.load(second)
    assert made.shape[:2] == (2, 9)
    assert made.dtype == np.float16
    assert (made[1] == clip_flows(textures, 13, flow, 0.1)).all()
