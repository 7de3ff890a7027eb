"""Stage example: a real clip segmented by what moves, as `amd segment` does it; metrics/example.json and .png.

Input: examples/, params.fused. Output: predictions/example (what `amd segment` writes), a sheet of frames and masks.
"""

from pathlib import Path

import numpy as np
import torch

from amd.config import Params
from amd.draw.overlay import draw_mask
from amd.draw.sheet import write_sheet
from amd.inference.export import SourceInfo, open_exports
from amd.inference.segmenter import Segmenter
from amd.runtime.files import write_json
from amd.runtime.processes import free_threads, limit_threads
from amd.runtime.tracking import Run
from stages import run_stage

CLIPS = Path("examples")
OUT = Path("predictions/example")
FIGURES, SHEET = Path("metrics/example.json"), Path("metrics/example.png")
SHOWN = 5  # frames


def main(params: Params, run: Run) -> None:
    """Segment every clip of the folder, and draw some frames of each."""
    limit_threads(free_threads())
    clips = sorted(CLIPS.glob("*.mp4"))
    rows, figures = [], {}
    for clip in clips:
        pictures, figures[clip.stem] = segment_clip(clip, params)
        chosen = np.linspace(0, len(pictures) - 1, SHOWN).round().astype(int)
        rows.append([pictures[number] for number in chosen])
    write_sheet(SHEET, [""] * SHOWN, rows)
    write_json(FIGURES, {"clips": figures})
    run.metrics({f"{clip}_{name}": value for clip, row in figures.items() for name, value in row.items()})
    run.artifact(FIGURES, SHEET)


def segment_clip(clip: Path, params: Params) -> tuple[list[np.ndarray], dict[str, float]]:
    """Every frame with its mask drawn, at a third of its size, and the clip's figures."""
    segmenter = Segmenter.from_pretrained(threads=torch.get_num_threads(), settings=params.fused)
    pictures, areas, sure = [], [], []
    with open_exports(("masks", "overlay"), OUT / clip.stem, SourceInfo(clip.stem)) as write:
        for frame in segmenter.segment_video(clip):
            write(frame)
            pictures.append(draw_mask(frame.image, frame.mask)[::3, ::3])
            areas.append(frame.area)
            sure.append(frame.confidence)
    return pictures, {"frames": len(areas), "area": float(np.mean(areas)), "confidence": float(np.mean(sure))}


if __name__ == "__main__":
    run_stage("example", main, guards=True)
