"""The fan-out: flows.adapt's flow over a benchmark of many sequences, against a Prefect server of its own.

The program of a video copies what was prepared for it: masks, segments and the receipt.
"""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from amd.config import load_params
from amd.config.profiles import write_profile
from amd.data.benchmarks.davis import Sequence, open_benchmark
from amd.data.benchmarks.predictions import masks_folder, prediction_path, segments_folder
from amd.models.amd import AMD, Architecture
from amd.models.checkpoint import ModelInfo, save_checkpoint
from amd.runtime.files import sha256
from benchmarks.simulated import Sizes, Step
from flows import adapt, runners, server
from stages.receipts import origin, read_receipt, write_receipt

ROOT, PREPARED, MODEL, OUT = Path("davis"), Path("prepared"), Path("amd.safetensors"), Path("adapted")
DATABASE = ".amd/prefect/prefect.db*"


def steps(sizes: Sizes) -> list[Step]:
    """The steps of the part."""
    return [
        Step("prepare", _prepare),
        Step("fan-out: all videos are to be done", _adapt, sizes.videos, DATABASE, server.prefect_server),
        Step("fan-out: all videos are done", _adapt, sizes.videos, DATABASE, server.prefect_server),
    ]


def _prepare(sizes: Sizes) -> None:
    write_profile("quickstart", Path("params.yaml"))
    text = Path("params.yaml").read_text().replace("data/corpus/heldout", str(ROOT))
    Path("params.yaml").write_text(text)
    if not MODEL.exists():
        architecture = Architecture("small", 3, 4, 0.1, "small", 64, 64)
        save_checkpoint(MODEL, AMD(architecture), ModelInfo(architecture, object_segment=1, short_edge=48))
    for index in range(sizes.videos):
        _sequence(f"video-{index:06d}", index)
    params, checkpoint = load_params(), sha256(MODEL)
    for sequence in open_benchmark(params.data.benchmark, ROOT):
        made_from = origin(checkpoint, sequence, params.adapt)
        if read_receipt(PREPARED / sequence.name, sequence, made_from) is None:
            _prepare_outcome(PREPARED / sequence.name, sequence, made_from)


def _sequence(name: str, index: int) -> None:
    """Two frames of 8 x 8 in the layout of DAVIS."""
    pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
    for kind, suffix, image in (("JPEGImages", "jpg", pixels), ("Annotations", "png", pixels[..., 0] // 128 * 255)):
        folder = ROOT / kind / "480p" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / f"{frame:05d}.{suffix}" for frame in range(2)):
            if not path.exists():
                Image.fromarray(image).save(path)


def _prepare_outcome(out: Path, sequence: Sequence, made_from: dict[str, str]) -> None:
    """What the program of a video would leave."""
    for frame in sequence.frames:
        for folder in (masks_folder(out, sequence.dataset), segments_folder(out, sequence.dataset)):
            path = prediction_path(folder, sequence.name, frame.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            os.link(frame.truth, path)
    write_receipt(out, sequence, made_from, {"seconds": 0.0})


def _adapt(_: Sizes) -> None:
    with patch.object(runners, "command", _stub):
        report = adapt.adapt_videos(MODEL, OUT, Path("adapt.json"))
    if report["failed"]:
        raise RuntimeError(f"{report['failed']} videos failed")


def _stub(arguments: dict[str, str]) -> tuple[str, ...]:
    """The program of a video, without the work."""
    return ("cp", "-rl", f"{PREPARED / arguments['sequence']}/.", arguments["out"])
