"""Figures of the evaluations as inline SVG: corruptions beside the published numbers, losses of the adaptation."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from amd.report.plots import ACCENT, Plot, as_svg

PALE = "#8d95a1"


def version_plot(
    scores: Mapping[str, Mapping[str, float | None]], published: Mapping[str, Mapping[str, float]]
) -> Plot:
    """Foreground IoU of every version of the frames as bars, the published ones as ticks on them."""
    measure = "foreground_iou"

    def draw(axes: Axes) -> None:
        for place, (name, values) in enumerate(scores.items()):
            value = 100 * (values[measure] or 0)
            axes.barh(place, value, 0.6, color=ACCENT, alpha=1 if name == "normal" else 0.55)
            axes.text(value + 1, place, f"{value:.1f}", va="center")
            if name in published:
                axes.plot([100 * published[name][measure]] * 2, [place - 0.42, place + 0.42], color=PALE, linewidth=2)
        axes.set_yticks(range(len(scores)), [name.replace("_", " ") for name in scores])
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.tick_params(axis="y", length=0)

    note = "%, pooled; grey: published on YouTube-VOS, which is other data"
    return Plot("Foreground IoU", note, as_svg(draw, (3.7, 0.6 + 0.24 * len(scores))))


def loss_plot(losses: Mapping[str, tuple[float, float]]) -> Plot:
    """The loss of every video's first iteration (grey) and of its last (blue)."""

    def draw(axes: Axes) -> None:
        for place, (first, last) in enumerate(losses.values()):
            axes.plot([first, last], [place, place], color=ACCENT, linewidth=1)
            axes.plot(first, place, "o", color=PALE, markersize=4.5)
            axes.plot(last, place, "o", color=ACCENT, markersize=4.5)
        axes.set_yticks(range(len(losses)), list(losses))
        axes.set_ylim(len(losses) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")

    return Plot("Loss", "first iteration (grey), last (blue)", as_svg(draw, (3.7, 0.6 + 0.2 * len(losses))))
