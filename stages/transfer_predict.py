"""Stage transfer_predict: masks of every benchmark frame by Instance Embedding Transfer, as they are and refined.

Input: models/embedding.safetensors (or amd.safetensors, by transfer.features), the benchmark, params.transfer and crf.
Output: predictions/transfer/{plain,crf}, metrics/transfer.png.
"""

from pathlib import Path

import numpy as np

from amd.config import Crf, Params, Transfer
from amd.data.benchmarks.davis import open_benchmark
from amd.data.benchmarks.predictions import masks_folder, prediction_path
from amd.data.images import write_mask
from amd.evaluation.transfer import plain
from amd.evaluation.transfer_figures import picture_frame, write_frame_sheet
from amd.evaluation.transfer_videos import DescribedSequence, looked_at, open_features
from amd.runtime.progress import progress
from amd.runtime.tracking import Run
from amd.transfer.crf import refine
from stages import run_stage

OUT = Path("predictions/transfer")
SHEET = Path("metrics/transfer.png")
PICTURED = 6  # sequences


def main(params: Params, run: Run) -> None:
    """Write the masks of all sequences and a picture of the first ones' middle frames."""
    sequences = open_benchmark(params.data.benchmark, params.data.benchmark_root)
    features = open_features(params.transfer.features, f"models/{params.transfer.features}.safetensors")
    rows = []
    for sequence in progress(sequences, "transfer", unit="sequences"):
        with looked_at(sequence, features, params.transfer) as video:
            masks = predict(video, params.transfer, params.crf)
            if len(rows) < PICTURED:
                middle = len(masks) // 2
                rows.append(picture_frame(video, middle, masks[middle], params.transfer))
    write_frame_sheet(SHEET, rows)
    run.artifact(SHEET)
    run.metrics({"sequences": len(sequences), "frames": sum(len(sequence.frames) for sequence in sequences)})


def predict(video: DescribedSequence, settings: Transfer, crf: Crf) -> list[np.ndarray]:
    """Write both kinds of masks of a sequence; gives those that the parameters ask for."""
    wanted = []
    results = video.segment(plain(settings), crf)
    for frame, seen, result in zip(video.sequence.frames, video.frames(), results, strict=True):
        masks = {"plain": result.mask, "crf": refine(result.probability, seen.image, crf) > 0.5}
        for kind, mask in masks.items():
            folder = masks_folder(OUT / kind, video.sequence.dataset)
            write_mask(prediction_path(folder, video.sequence.name, frame.name), mask)
        wanted.append(masks["crf" if settings.crf else "plain"])
    return wanted


if __name__ == "__main__":
    run_stage("transfer_predict", main, guards=True)
