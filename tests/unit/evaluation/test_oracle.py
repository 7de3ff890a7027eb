"""The oracle's segment against brute force, on label maps made by hand."""

from pathlib import Path

import numpy as np
import pytest
from squares import HEIGHT, WIDTH, predict_segments

from amd.data.benchmarks.davis import Sequence
from amd.data.benchmarks.predictions import prediction_path, read_segments
from amd.data.images import read_mask, write_labels, write_mask
from amd.evaluation.vos import oracle_segment, score_masks
from amd.runtime.errors import UserError


def test_the_oracle_weighs_sequences_alike(sequences: list[Sequence], tmp_path: Path):
    """Segment 1 is better over frames, segment 2 over sequences, which is what counts."""
    folder = tmp_path / "s"
    for sequence in sequences:
        for frame in sequence.frames:
            truth = read_mask(frame.truth)
            part = truth.copy()
            part[: 11 if sequence.name == "bear" else 20] = False  # 90 % of bear, nothing of dog
            labels = np.where(part, 1, np.where(truth, 2, 0)).astype(np.uint8)
            write_labels(prediction_path(folder, sequence.name, frame.name), labels)
    # J over frames: segment 1 (3 x 0.9 + 2 x 0) / 5 = 0.54, segment 2 0.46. Over sequences: 0.45 and 0.55.
    assert oracle_segment(sequences, folder, 3) == 2


def test_the_oracle_is_the_best_of_all_segments_as_masks(sequences: list[Sequence], tmp_path: Path):
    random = np.random.default_rng(3)
    write_mask(sequences[0].frames[2].truth, np.zeros((HEIGHT, WIDTH), bool))  # an object that is away
    for sequence in sequences:
        for frame in sequence.frames:
            labels = random.integers(0, 3, (HEIGHT, WIDTH), np.uint8)
            labels[read_mask(frame.truth) & (random.random((HEIGHT, WIDTH)) < 0.5)] = 1
            labels[labels == 2] = random.choice([0, 2])  # segment 2 is absent from some frames
            write_labels(prediction_path(tmp_path / "s", sequence.name, frame.name), labels)
            for segment in range(3):
                path = prediction_path(tmp_path / str(segment), sequence.name, frame.name)
                write_mask(path, labels == segment)
    scores = [score_masks(sequences, tmp_path / str(k))["mean"]["J"]["mean"] for k in range(3)]
    assert len(set(scores)) == 3
    assert oracle_segment(sequences, tmp_path / "s", 3) == np.argmax(scores)


def test_a_segment_that_the_model_does_not_have(sequences: list[Sequence], tmp_path: Path):
    folder = predict_segments(sequences, tmp_path / "s")
    with pytest.raises(UserError, match=r"bear/00001\.png: has segment 2, but the model has 2"):
        oracle_segment(sequences, folder, 2)
    with pytest.raises(UserError, match=r"00001\.png: 40x30 pixels where the annotation has 30x40"):
        read_segments(folder / "bear/00001.png", (40, 30), 4)
