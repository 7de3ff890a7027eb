"""Whether the gate without labels ranks models as labels do.

    python -m benchmarks.gate CHECKPOINT CHECKPOINT ... --davis FOLDER --videos FOLDER [--every N] [--csv FILE]

Input: checkpoints of AMD with an object segment, a folder in the layout of DAVIS 2016, and a folder of videos without
labels. Output: a row a model (CSV) of J on the benchmark and the figures of amd.evaluation.judged in the videos that no
model says it was trained on; and Spearman's rank correlation of J with agreement, and with stability.
"""

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from amd.config.profiles import load_profile
from amd.data.benchmarks.davis import davis2016
from amd.data.benchmarks.sequences import read_truth
from amd.data.images import read_image
from amd.data.ingest.manifest import ingest
from amd.evaluation.judged import mean_figures
from amd.evaluation.label_free import judge_models
from amd.evaluation.metrics import jaccard
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.inference import object_mask, soft_masks
from amd.models.loading import open_as
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import write_text

FEWEST = 3  # models, below which ranks say nothing


@exit_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Judge every model both ways, print and write the table."""
    options = _options(arguments)
    models = {str(path): open_as(AMD, path) for path in options.checkpoints}
    if bare := [name for name, (_, info) in models.items() if info.object_segment is None]:
        raise UserError(f"{bare[0]}: no object segment is chosen; run the objectness stage on it, or leave it out")
    table = _table(models, options)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    print(text.getvalue(), end="")
    if options.csv:
        write_text(options.csv, text.getvalue())
    for figure in ("agreement", "stability"):
        pairs = [(row["J"], row[figure]) for row in table if row[figure] is not None]
        if len(pairs) >= FEWEST:
            correlation = spearmanr(*zip(*pairs, strict=True)).statistic
            print(f"Spearman of J and {figure}: {correlation:.2f} ({len(pairs)} models)")


def _table(models: dict[str, tuple[AMD, ModelInfo]], options: argparse.Namespace) -> list[dict]:
    params = load_profile("own")
    rows = [row for row in ingest(options.videos, params.ingest, params.shard) if row["status"] == "accepted"]
    found = judge_models(models, rows)
    shared = set.intersection(*(set(figures) for figures in found.values()))
    if not shared:
        raise UserError(f"{options.videos}: no video that can be used and that none of the models was trained on")
    return [
        {
            "checkpoint": name,
            "J": round(benchmark_j(*model, options.davis, options.every), 4),
            **mean_figures(found[name][key] for key in sorted(shared)).rounded(),
            "videos": len(shared),
        }
        for name, model in models.items()
    ]


def benchmark_j(model: AMD, info: ModelInfo, root: Path, every: int = 1) -> float:
    """Label-free J of a model's masks of single images: the mean over sequences, of every so many scored frames."""
    scores = []
    for sequence in davis2016(root):
        frames = sequence.scored_frames[::every]
        scores.append(np.mean([jaccard(_mask(model, info, frame.image), read_truth(frame)) for frame in frames]))
    return float(np.mean(scores))


def _mask(model: AMD, info: ModelInfo, image: Path) -> np.ndarray:
    soft = soft_masks(model, torch.from_numpy(read_image(image).copy()), info.short_edge)
    return object_mask(soft, info.object_segment or 0).numpy()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--davis", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--videos", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--every", type=int, default=5, metavar="N", help="every so many frames (default: %(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
