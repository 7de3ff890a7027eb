"""Adapt to one video and segment it: the program that flows.adapt runs once a video.

Input: a checkpoint, one sequence of a benchmark, params.adapt. Output: the sequence's masks and segments below --out,
and last its receipt. Logs a nested MLflow run where AMD_MLFLOW_RUN names the stage's.
"""

import argparse
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # which Adam imports, in more than a second: here once, where one process forks this program

from amd.config import DEFAULT_PATH, Fused, Params, load_params
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.data.benchmarks.predictions import prediction_path
from amd.data.images import read_image, write_mask
from amd.data.sizes import resized
from amd.inference.fused import segment_video
from amd.inference.fusion import THRESHOLD
from amd.inference.segmenter import segment_sequence
from amd.models.amd import AMD
from amd.models.checkpoint import object_segment
from amd.models.evidence import load_evidence
from amd.models.loading import open_as
from amd.motion.evidence import motion_evidence
from amd.motion.parallax import Parallax
from amd.motion.per_image import PerImage, per_image_of
from amd.runtime.errors import UserError, exit_on_user_error, system_errors
from amd.runtime.files import sha256
from amd.runtime.processes import keep_freed_memory
from amd.runtime.tracking import attached_run, nested_run
from amd.training.adaptation import adapt, clip_of, pairs_apart
from stages.receipts import ADAPTED, MOVING, discard, origin, write_receipt


@exit_on_user_error
@system_errors()
def main() -> None:
    """Read the command line, run, write the receipt."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: the MLflow run is closed first
    params = load_params(options.params)
    settings = params.adapt
    keep_freed_memory()
    torch.set_num_threads(settings.threads)
    sequence = _sequence(options.dataset, options.root, options.sequence)
    stage = attached_run()
    with nested_run(stage.client, stage.id, sequence.name) if stage else nullcontext() as run:
        figures = adapt_video(options.model, sequence, params, options.out)
        if run:
            run.metrics(figures)


def adapt_video(checkpoint: Path, sequence: Sequence, params: Params, out: Path) -> dict[str, float]:
    """Adapt, segment and write the receipt with the figures returned: seconds, iterations, first and last loss.

    Beside the adapted masks are those of motion evidence, and of both together.
    """
    started, settings = time.monotonic(), params.adapt
    made_from = origin(sha256(checkpoint), sequence, settings, params.fused)
    discard(out, sequence.dataset, sequence.name)
    model, info = open_as(AMD, checkpoint, "auto")
    images = [read_image(frame.image) for frame in sequence.frames]
    losses: list[float] = []
    network, evidence_info = load_evidence()
    parallax = Parallax()
    moves = list(motion_evidence(images, network, evidence_info, threads=settings.threads, parallax=parallax))
    wanted = moves if settings.objective.evidence else ()
    clip = clip_of(images, pairs_apart(len(images), settings.gap), settings.short_edge, wanted)
    segment = object_segment(info, None)
    adapted = adapt(model, clip, settings, segment, lambda _, loss: losses.append(loss))
    segment_sequence(adapted, info, sequence, out, sequence.dataset)
    per_image = per_image_of(adapted, info, segment)
    segment_moving(sequence, images, moves, parallax, per_image, params.fused, out)
    figures = {"seconds": time.monotonic() - started, "iterations": settings.iterations}
    if losses:
        figures |= {"first_loss": losses[0], "last_loss": losses[-1]}
    write_receipt(out, sequence, made_from, figures, ADAPTED)
    return figures


def segment_moving(
    sequence: Sequence,
    images: list[np.ndarray],
    moves: list[np.ndarray],
    parallax: Parallax,
    per_image: PerImage,
    settings: Fused,
    out: Path,
) -> None:
    """Write the masks of what moves: together with the opinion of `per_image`, and of motion evidence by itself.

    `parallax` has seen all of the video: where depth is all that moves, there is no object.
    """
    evidence = lambda frames: (known for _, known in zip(frames, moves, strict=True))
    fused = segment_video(lambda: images, evidence, settings, "fused", per_image, parallax=parallax)
    for frame, made, values in zip(sequence.frames, fused, moves, strict=True):
        alone = resized(values, made.mask.shape) > THRESHOLD
        for kind, mask in zip(MOVING, (made.mask, alone), strict=True):
            write_mask(prediction_path(out / kind / sequence.dataset, sequence.name, frame.name), mask)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.programs.adapt_video", description="Adapt to one video.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint to adapt")
    parser.add_argument("--dataset", required=True, help="benchmark, such as davis2016")
    parser.add_argument("--root", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--sequence", required=True, help="name of the video in it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the predictions")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    return parser.parse_args()


def _sequence(dataset: str, root: Path, name: str) -> Sequence:
    found = open_benchmark(dataset, root, only=name)
    if not found:
        raise UserError(f"{root}: {dataset} has no sequence {name!r} there")
    return found[0]


if __name__ == "__main__":
    main()
