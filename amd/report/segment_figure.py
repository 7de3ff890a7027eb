"""Figure 3 of the paper as a file: entropy, reconstruction error, and the places of the segments in the frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from amd.files import atomic_path
from amd.report.plots import INK, STYLE, draw_bars, draw_places

PRINT = {name: "black" for name, value in STYLE.items() if value == INK}


def write_segment_figure(path: Path | str, rows: Sequence[Mapping[str, float]], chosen: int) -> None:
    """Draw rows of amd.tables.SEGMENTS as three panels, .svg or .png by the name."""
    column = lambda name: {int(row["segment"]): row[name] for row in rows}
    with matplotlib.rc_context(STYLE | PRINT):
        figure = Figure((9, 2.8), layout="constrained", dpi=150)
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
        with atomic_path(path) as part:
            figure.savefig(part, format=Path(path).suffix[1:].lower())
