"""What moves in a video that the stage adapt works on, by the function of its program."""

from pathlib import Path

import numpy as np
from PIL import Image

from amd.config.fused import Fused
from amd.data.benchmarks.sequences import BenchmarkFrame, Sequence
from amd.data.synthetic.layer_textures import Textures
from amd.data.synthetic.still_scenes import draw_still
from amd.models.evidence import load_evidence
from amd.motion.evidence import motion_evidence
from amd.motion.parallax import Parallax
from amd.motion.per_image import packaged_per_image
from flows.programs.adapt_video import segment_moving

SEED_OF_A_NEAR_THING = 800_038


def test_near_things_that_a_moving_camera_passes_are_no_object(tmp_path: Path) -> None:
    images = list(draw_still(Textures([], 1.0, seed=77), "past", SEED_OF_A_NEAR_THING, range(-5, 6)))
    frames = tuple(BenchmarkFrame(f"{number:05d}", tmp_path / "none.png", None) for number in range(len(images)))
    sequence, counted = Sequence("past", frames, "builtin-clips"), Parallax()
    moves = list(motion_evidence(images, *load_evidence(), threads=1, parallax=counted))
    shown = {}
    for name, parallax in {"depth": counted, "unknown": Parallax()}.items():
        segment_moving(sequence, images, moves, parallax, packaged_per_image(), Fused(), tmp_path / name)
        masks = (tmp_path / name / "fused").rglob("*.png")
        shown[name] = sum(np.array(Image.open(path)).any() for path in masks)
    assert shown["depth"] == 0
    assert shown["unknown"] > 0  # what refuses it is nothing else
