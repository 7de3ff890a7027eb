"""What each segment is like over training frames (paper, figure 3): `amd objectness`.

Input: a model and shards of frame pairs. Output: a row of amd.data.tables.SEGMENTS per segment, what each label-free
criterion takes for the object and whether they agree, and the figure: entropy, reconstruction error, and the
segments' places in the frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from amd.config import Pretrain, made_with
from amd.config.profiles import load_profile
from amd.data.pairs.read import PairReader, to_float
from amd.data.pairs.transforms import PairTransform
from amd.draw.plots import draw_bars, draw_places, printed
from amd.models.amd import AMD
from amd.models.checkpoint import ModelInfo
from amd.models.loading import open_as
from amd.runtime.errors import UserError
from amd.runtime.files import write_json
from amd.runtime.progress import progress
from amd.training.objectness import choices, segment_statistics

FIGURES = {".png", ".svg"}


def run_objectness(model: str, shards: Path, pairs: int, json_path: Path | None, figure: Path | None) -> None:
    """Measure at least `pairs` training pairs; print the table and the choices, write what is asked for.

    Raises UserError for a model or shards that cannot be read, and for a figure that is no .svg or .png.
    """
    if figure and figure.suffix.lower() not in FIGURES:
        raise UserError(f"{figure}: a figure is drawn as .svg or .png; give it such a name")
    network, info = open_as(AMD, model, "auto")
    device = next(network.parameters()).device
    rows = segment_statistics(network, _training_pairs(info, Path(shards), pairs, device))
    report = channel_report(rows) | {"protocol": _protocol(model, rows)}
    print(format_channels(report))
    if json_path:
        write_json(json_path, report)
    if figure:
        write_segment_figure(figure, rows, report["object_segment"])


def channel_report(rows: list[dict[str, float]]) -> dict:
    """The statistics with every criterion's choice, and whether all are the same."""
    picks = choices(rows)
    agree = len(set(picks.values())) == 1
    return {"object_segment": picks["motion"], "choices": picks, "agree": agree, "segments": rows}


def format_channels(report: dict) -> str:
    """A line per segment, then what each criterion takes."""
    names = [name for name in report["segments"][0] if name not in ("segment", "frames")]
    lines = ["segment " + "".join(f"{name.replace('_', ' '):>22}" for name in names)]
    lines += [f"{row['segment']:<8}" + "".join(f"{row[name]:22.4f}" for name in names) for row in report["segments"]]
    picks = ", ".join(f"{name.replace('_', ' ')} {segment}" for name, segment in report["choices"].items())
    verdict = "all agree" if report["agree"] else "they do not agree"
    return "\n".join([*lines, f"\nobject by criterion: {picks}; {verdict} ({report['protocol']['frames']} frames)"])


def _training_pairs(info: ModelInfo, shards: Path, pairs: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of training pairs, cropped as the model was trained (as in the paper where it does not say)."""
    known = load_profile("paper").pretrain
    trained = {
        name: value for name, value in made_with(info.params, "pretrain").items() if name in Pretrain.model_fields
    }
    settings = known.model_copy(update=trained)  # a model of an earlier version lacks what is not needed here
    transform = PairTransform(settings.short_edge, settings.min_ratio, settings.crop)
    reader = PairReader(shards / "index.parquet", transform, batch_size=settings.batch_size, seed=settings.seed)
    batches = -(-pairs // settings.batch_size)
    for batch in progress(islice(reader, batches), "objectness", batches, "batches"):
        yield to_float(batch, device)


def _protocol(model: str, rows: list[dict[str, float]]) -> dict:
    return {
        "model": model,
        "frames": rows[0]["frames"],
        "object": "label-free: each criterion on training frames, the motion's choice counts",
        "supervision": "none",
    }


def write_segment_figure(path: Path | str, rows: Sequence[Mapping[str, float]], chosen: int) -> None:
    """Draw rows of amd.data.tables.SEGMENTS as three panels, .svg or .png by the name."""
    column = lambda name: {int(row["segment"]): row[name] for row in rows}
    with printed(path, 9, 2.8) as figure:
        entropy, error, places = figure.subplots(1, 3)
        draw_bars(entropy, column("entropy"), chosen)
        draw_bars(error, column("reconstruction_error"), chosen)
        draw_places(places, rows, chosen)
        titles = (
            "entropy of the mask, nats",
            "reconstruction error, D_SSIM",
            "places: disc half the spread,\ncircle deviation of the centre",
        )
        for axes, title in zip((entropy, error, places), titles, strict=True):
            axes.set_title(title, fontsize=9)
