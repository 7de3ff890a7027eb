"""bfloat16 against float32: masks, and the loss curve of a short quickstart training against its seed-to-seed spread.

Takes half an hour on two cores, so it runs by name alone:

    python -m benchmarks --only precision [--checkpoint models/amd.safetensors] --json precision.json
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from amd.config import Params
from amd.config.profiles import load_profile
from amd.data.ingest.manifest import ingest
from amd.data.pairs.write import write_shards
from amd.data.synthetic.clips import make_corpus
from amd.models.amd import AMD
from amd.models.loading import open_as
from amd.training.distributed import Process
from amd.training.pretrain import pretrain
from benchmarks.clips import frames
from benchmarks.inference import masks_of
from benchmarks.measure import Row, Setting, compared, goal
from benchmarks.workloads import architecture, sane_model

MASKS_WITHIN = 2e-2
ITERATIONS, WINDOW = 300, 50
SEEDS = (0, 1, 2)


def measure(setting: Setting) -> Iterator[Row]:
    """Masks of random weights and of a checkpoint where one is given; then the loss curves."""
    size = (2, 48, 64) if setting.quick else (8, 392, 697)
    network = sane_model(architecture("ResNet-50", setting.quick))
    yield masks_row(setting, "ResNet-50, random weights", network, frames(*size))
    if setting.checkpoint is not None:
        model, _ = open_as(AMD, setting.checkpoint)
        yield masks_row(setting, f"checkpoint {setting.checkpoint.name}", model, frames(size[0], 144, 256))
    yield curve_row(setting)


def masks_row(setting: Setting, title: str, model: AMD, images: np.ndarray) -> Row:
    """The largest difference of each image's masks, against what is allowed."""
    model = model.to(setting.device)
    differences = []
    for image in images:
        pixels = torch.from_numpy(image).to(setting.device).permute(2, 0, 1)[None].float() / 255
        exact, fast = (masks_of(model, pixels, dtype) for dtype in (torch.float32, torch.bfloat16))
        differences.append((exact - fast).abs().max().item())
    case = f"{title}, masks of {len(images)} images: largest difference"
    return goal("precision", case, differences, MASKS_WITHIN, unit="")


def curve_row(setting: Setting) -> Row:
    """How far the bfloat16 curve is from the float32 one of its seed, against how far float32's seeds are apart."""
    params = short_training(setting.quick)
    index = corpus_shards(setting.scratch, params)
    exact = [curve(setting, params, index, "float32", seed) for seed in SEEDS]
    fast = curve(setting, params, index, "bfloat16", SEEDS[0])
    apart = np.mean([np.abs(one - other) for one, other in combinations(exact, 2)], axis=0)
    case = f"quickstart training, {params.pretrain.iterations} iterations: difference of the loss"
    values = {"ours": np.abs(fast - exact[0]), "seeds": apart}
    against = f"float32 with seeds {', '.join(map(str, SEEDS))}"
    return compared("precision", case, values, "ours", "seeds", unit="", against=against, target=1.0)


def short_training(quick: bool) -> Params:
    """The quickstart's parameters with fewer iterations."""
    params = load_profile("quickstart")
    changes = {"iterations": ITERATIONS, "log_every": WINDOW, "checkpoint_every": ITERATIONS}
    if not quick:
        return params.model_copy(update={"pretrain": params.pretrain.model_copy(update=changes)})
    changes = {"iterations": 4, "log_every": 2, "checkpoint_every": 4, "pairs": 1}
    sections = {
        "pretrain": params.pretrain.model_copy(update=changes),
        "corpus": params.corpus.model_copy(update={"train_clips": 1, "heldout_clips": 1, "frames": 4}),
    }
    return params.model_copy(update=sections)


def corpus_shards(scratch: Path, params: Params) -> Path:
    """The index of the built-in corpus's shards."""
    make_corpus(scratch / "precision", params.corpus)
    rows = ingest(scratch / "precision/train", params.ingest, params.shard)
    write_shards(rows, scratch / "precision-shards", params.shard)
    return scratch / "precision-shards/index.parquet"


def curve(setting: Setting, params: Params, index: Path, precision: str, seed: int) -> np.ndarray:
    """The loss of a training, a mean per window."""
    settings = params.pretrain.model_copy(update={"precision": precision, "seed": seed})
    state = setting.scratch / f"state-{precision}-{seed}.safetensors"
    process = Process(0, 1, setting.device)
    _, progress = pretrain(params.model_copy(update={"pretrain": settings}), index, state, process)
    return np.array([row["loss"] for row in progress.history])
