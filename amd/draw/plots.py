"""Figures of the report as inline SVG: training curves and segment statistics.

Drawn with matplotlib; text and axes take the page's own colour and font, so the figures follow light and dark.
"""

import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from amd.draw.colours import segment_colour
from amd.runtime.files import atomic_path

POINTS = 300  # of a curve; longer ones are averaged down to this
TIPS = 40  # points of a curve that tell their value
TIP = "tip-"  # begins the id of what has one, until the SVG is written
INK = "#010203"  # stands for the page's text colour until the SVG is written
ACCENT = "#3b82c4"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "amd",  # the same figure gives the same bytes
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.18,
    "lines.linewidth": 1.5,
    "lines.solid_joinstyle": "round",
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK)
PRINTED = STYLE | {name: "black" for name, value in STYLE.items() if value == INK}  # of a figure that is a file


class Plot(NamedTuple):
    """A figure of the page: its title, a line that explains it, and the SVG element."""

    title: str
    note: str
    svg: str


def training_plots(curve: Sequence[Mapping[str, float]], pairs_per_iteration: int) -> list[Plot]:
    """What a pretraining did over its iterations: rows of its history, oldest first."""
    column = lambda name: [row.get(name, np.nan) for row in curve]
    segments = [m for m in range(100) if f"area_{m}" in curve[-1]]
    per_segment = lambda name: {m: column(f"{name}_{m}") for m in segments}
    speed = np.array(column("iterations_per_s")) * pairs_per_iteration
    single = lambda values, unit, **options: _lines(column("iteration"), {None: values}, unit, **options)
    several = lambda values, unit, **options: _lines(column("iteration"), values, unit, **options)
    waiting = 100 * np.array(column("data_wait_share"))
    areas = {segment: 100 * np.array(values) for segment, values in per_segment("area").items()}
    agreement = Plot("Agreement", "with what moves in held-out videos", single(column("agreement"), "J", floor=0))
    return [
        *([agreement] if "agreement" in curve[-1] else []),
        Plot("Loss", "view synthesis, four levels summed", single(column("loss"), "loss")),
        Plot("Learning rate", "", single(column("learning_rate"), "learning rate", floor=0)),
        Plot("Speed", "", single(speed, "pairs per second", floor=0)),
        Plot("Waiting for data", "share of the time", single(waiting, "%", floor=0)),
        Plot("Area per segment", "share of the frame", several(areas, "%", floor=0)),
        Plot("Motion per segment", "", several(per_segment("motion"), "pixels per pair", floor=0)),
    ]


def segment_plots(rows: Sequence[Mapping[str, float]], chosen: int) -> list[Plot]:
    """Bars of every statistic by segment, and where in the frame the segments lie (paper, figure 3)."""
    bars = lambda name, unit, factor=1.0: _bars({int(row["segment"]): factor * row[name] for row in rows}, chosen, unit)
    return [
        Plot("Motion", "", bars("motion", "pixels per pair")),
        Plot("Area", "", bars("area", "% of the frame", 100)),
        Plot("Entropy", "of the mask", bars("entropy", "nats")),
        Plot("Reconstruction error", "", bars("reconstruction_error", "mean D_SSIM")),
        Plot("Centre and spread", "disc: half the spread; circle: centre from frame to frame", _places(rows, chosen)),
    ]


def _lines(
    iterations: Sequence[float],
    values: Mapping[int | None, Sequence[float]],
    unit: str,
    floor: float | None = None,
) -> str:
    """Curves over iterations, one per segment, or a single one under the key None."""

    def draw(axes: Axes) -> None:
        for segment, column in values.items():
            colour = ACCENT if segment is None else segment_colour(segment)
            x, y = thinned(iterations), thinned(column)
            axes.plot(x, y, color=colour, marker="o" if len(x) == 1 else None, markersize=3)
            whose = "" if segment is None else f"segment {segment}, "
            for place in range(0, len(x), 1 + len(x) // TIPS):
                (point,) = axes.plot(x[place], y[place], "o", color=colour, markersize=9, alpha=0.01)
                add_tip(point, f"{whose}iteration {x[place]:,.0f}, {unit}: {y[place]:.4g}")
        axes.set_ylim(bottom=floor)
        axes.grid(axis="y")
        axes.set_xlabel("iteration")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.01)

    return as_svg(draw, (3.7, 2.1))


def _bars(values: Mapping[int, float], chosen: int, unit: str) -> str:
    def draw(axes: Axes) -> None:
        draw_bars(axes, values, chosen)
        for bar, (segment, value) in zip(axes.patches, values.items(), strict=True):
            add_tip(bar, f"segment {segment}, {unit}: {value:.4g}")
        axes.xaxis.set_visible(True)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.spines["bottom"].set_visible(True)
        axes.set_xlabel(unit)
        axes.set_ylabel("segment")

    return as_svg(draw, (1.9, 0.8 + 0.25 * len(values)))


def draw_bars(axes: Axes, values: Mapping[int, float], chosen: int) -> None:
    """A bar per segment with its value; the object segment's is full, the others' are pale."""
    longest = max([abs(value) for value in values.values()] + [1e-12])
    for segment, value in values.items():
        alpha = 1.0 if segment == chosen else 0.45
        axes.barh(segment, value, 0.62, color=segment_colour(segment), alpha=alpha)
        weight = "bold" if segment == chosen else "normal"
        axes.text(value + 0.03 * longest, segment, f"{value:.3g}", va="center", fontweight=weight)
    axes.set_xlim(0, 1.28 * longest)
    axes.set_ylim(max(values) + 0.6, min(values) - 0.6)
    axes.set_yticks(list(values), [str(segment) for segment in values])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _places(rows: Sequence[Mapping[str, float]], chosen: int) -> str:
    def draw(axes: Axes) -> None:
        draw_places(axes, rows, chosen)
        axes.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), xlabel="x, of the width", ylabel="y, of the height")

    return as_svg(draw, (1.9, 0.8 + 0.25 * max(len(rows), 5)))


def draw_places(axes: Axes, rows: Sequence[Mapping[str, float]], chosen: int) -> None:
    """The unit frame, as the slides draw it: at every segment's mean centre a disc and a circle.

    The disc has half the mean spread of the masks for its radius; the circle the centre's standard deviation.
    """
    reach = 0.05 + max(max(row["spread"] / 2, row["centre_deviation"]) for row in rows)
    for row in sorted(rows, key=lambda row: -row["spread"]):  # small discs on top
        segment, centre = int(row["segment"]), (row["centre_x"], row["centre_y"])
        colour, is_object = segment_colour(segment), segment == chosen
        disc = Circle(centre, row["spread"] / 2, color=colour, alpha=0.5 if is_object else 0.22, linewidth=0)
        circle = Circle(centre, row["centre_deviation"], fill=False, edgecolor=colour, linewidth=2 if is_object else 1)
        for patch in (disc, circle):
            axes.add_patch(patch)
            add_tip(patch, f"segment {segment}: centre {centre[0]:.2f}, {centre[1]:.2f}; spread {row['spread']:.2f}")
            patch.set_clip_path(axes.patch)
        axes.plot(*centre, "o", color=colour, markersize=3)
        _label(axes, segment, disc, 2 * np.pi * segment / len(rows), reach, is_object)
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)


def _label(axes: Axes, segment: int, disc: Circle, angle: float, reach: float, is_object: bool) -> None:
    """The segment's number at an angle of its own and beyond all discs, since centres lie close together."""
    direction = np.array([np.cos(angle), np.sin(angle)])
    line = disc.center + np.outer((disc.radius, reach), direction)
    colour, weight = segment_colour(segment), "bold" if is_object else "normal"
    axes.plot(*line.T, color=colour, linewidth=0.8)
    x, y = line[1] + 0.04 * direction
    axes.text(x, y, str(segment), color=colour, fontweight=weight, ha="center", va="center")


def thinned(values: Sequence[float]) -> np.ndarray:
    """At most POINTS values: means over equal stretches of a longer curve, missing ones passed over."""
    column = np.asarray(values, float)
    if len(column) <= POINTS:
        return column
    stretches = np.array_split(column, POINTS)
    return np.array([np.nanmean(part) if np.isfinite(part).any() else np.nan for part in stretches])


def add_tip(artist: Artist, text: str) -> None:
    """What a browser shows of a point or a bar when the mouse is over it."""
    artist.set_gid(TIP + quote(text, safe=""))


@contextmanager
def printed(path: Path | str, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches to draw on, then written to `path`: PNG or SVG by its name."""
    with matplotlib.rc_context(PRINTED), atomic_path(path) as part:
        figure = Figure((width, height), layout="constrained", dpi=150)
        yield figure
        figure.savefig(part, format=Path(path).suffix[1:].lower())


def as_svg(draw: Callable[[Axes], None], inches: tuple[float, float]) -> str:
    """What `draw` draws, as an SVG element for the page; `inches` are width and height."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(inches, layout="constrained")
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.02, h_pad=0.02)
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _for_page(buffer.getvalue())


def _for_page(document: str) -> str:
    """The bare element of an SVG file, in the page's colour and font, its size left to the page."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", svg)
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' role="img"', svg, count=1)
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', lambda tip: f'<g class="tip"><title>{escape(unquote(tip[1]))}</title>', svg)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    svg = re.sub(r'(id="|#)([pm][0-9a-f]{10})\b', rf"\1f{zlib.crc32(svg.encode()):08x}\2", svg)  # once on the page
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    return svg.replace(INK, "currentColor").replace("xlink:href", "href")
