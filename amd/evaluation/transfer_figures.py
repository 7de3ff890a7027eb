"""Pictures of Instance Embedding Transfer: what it sees in a frame, step by step, and its experiments as curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes

from amd.config import Transfer
from amd.draw.colours import flow_colours, grey
from amd.draw.overlay import draw_mask
from amd.draw.plots import ACCENT, printed
from amd.draw.sheet import write_sheet
from amd.evaluation.transfer_videos import DescribedSequence
from amd.transfer.frame import FrameFeatures
from amd.transfer.grid_graph import grid_edges
from amd.transfer.saliency import region_flow
from amd.transfer.seeds import FrameSeeds, edge_map
from amd.transfer.tracks import initial_foreground, seed_sets
from amd.transfer.video import choose_foreground

STEPS = ("frame", "embedding, PCA", "edges", "regions, seeds", "region motion", "motion saliency", "first foreground")
FOREGROUND, BACKGROUND, OTHER = (255, 0, 255), (40, 90, 255), (255, 255, 255)  # of seeds
WIDTH = 480  # pixels that grids are drawn at: a seed is to be seen
ORANGE = "#d98324"


def write_frame_sheet(path: Path | str, rows: list[list[np.ndarray]]) -> None:
    """A PNG with a row per frame (see `picture_frame`)."""
    write_sheet(path, [*STEPS, "mask"], rows)


def picture_frame(video: DescribedSequence, number: int, mask: np.ndarray, settings: Transfer) -> list[np.ndarray]:
    """What the method sees in frame `number` of a video, one RGB picture per step, and its `mask` bool H,W."""
    frame = next(frame for place, frame in enumerate(video.frames()) if place == number)
    seeds, chosen = video.seeds[number], choose_foreground(video.seeds, settings)
    pictures = [
        principal_colours(frame.embedding),
        grey(edge_map(frame.embedding)),
        principal_colours(frame.embedding) // 2 + _region_colours(seeds.regions) // 2,
        _motion(frame, seeds),
        grey(seeds.saliency[seeds.regions]),
        _first_foreground(frame, video, number, chosen),
    ]
    size = WIDTH, round(WIDTH * frame.image.shape[0] / frame.image.shape[1])  # the frame's proportions
    shown = [cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST) for picture in pictures]
    if chosen is not None:
        shown[2] = _with_seeds(shown[2], frame, video, number, int(chosen[number]), settings)
    return [frame.image, *shown, draw_mask(frame.image, mask)]


def principal_colours(embedding: np.ndarray) -> np.ndarray:
    """An embedding h,w,D as uint8 RGB: its three largest principal components, stretched from 2 to 98 %."""
    points = embedding.reshape(-1, embedding.shape[-1]).astype(np.float64)
    centred = points - points.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    components = np.zeros((len(points), 3))
    components[:, : min(3, axes.shape[1])] = centred @ axes[:, ::-1][:, :3]
    low, high = np.percentile(components, [2, 98], axis=0)
    stretched = np.clip((components - low) / np.maximum(high - low, 1e-9), 0, 1)
    return np.rint(255 * stretched).astype(np.uint8).reshape(*embedding.shape[:2], 3)


def write_experiment_figure(path: Path | str, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """A PNG with a panel per experiment of `reports` (see amd.evaluation.transfer) that has a figure."""
    panels = [
        (draw, reports[name]["mean"])
        for name, draws in (("intervals", [_intervals]), ("rankings", [_rankings]), ("drift", [_wrong, _distances]))
        if name in reports
        for draw in draws
    ]
    with printed(path, 3.2 * len(panels), 2.6) as figure:
        for axes, (draw, mean) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            draw(axes, mean)


def _motion(frame: FrameFeatures, seeds: FrameSeeds) -> np.ndarray:
    """The regions' flow in colours, or evidence at every point."""
    if frame.flow is None:
        return grey(frame.objectness)
    flow = region_flow(frame.flow, seeds.regions, len(seeds.points))[seeds.regions]
    longest = max(float(np.hypot(*np.moveaxis(flow, -1, 0)).max()), 1e-6)
    return flow_colours(np.moveaxis(flow, -1, 0), longest)


def _first_foreground(
    frame: FrameFeatures, video: DescribedSequence, number: int, chosen: np.ndarray | None
) -> np.ndarray:
    """The points of eq. 11, white."""
    seeds = video.seeds[number]
    if chosen is None:
        return grey(np.zeros(seeds.regions.shape))
    background = seeds.points[seeds.background[seeds.background != chosen[number]]]
    return grey(initial_foreground(grid_edges(frame.embedding), int(seeds.points[chosen[number]]), background) * 1.0)


def _with_seeds(
    picture: np.ndarray, frame: FrameFeatures, video: DescribedSequence, number: int, chosen: int, settings: Transfer
) -> np.ndarray:
    """The seeds as dots: of the foreground, the background, and of neither; the foreground's own one is ringed."""
    seeds = video.seeds[number]
    foreground, background = seed_sets(frame.embedding, seeds, chosen, settings)
    height, width = seeds.regions.shape
    for seed, point in enumerate(seeds.points):
        row, column = divmod(int(point), width)
        place = int((column + 0.5) * picture.shape[1] / width), int((row + 0.5) * picture.shape[0] / height)
        colour = FOREGROUND if seed in foreground else BACKGROUND if seed in background else OTHER
        cv2.circle(picture, place, 6, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(picture, place, 5, colour, -1, cv2.LINE_AA)
        if seed == chosen:
            cv2.circle(picture, place, 11, colour, 3, cv2.LINE_AA)
    return picture


def _region_colours(regions: np.ndarray) -> np.ndarray:
    """A colour per region, told apart from its neighbours by chance."""
    return np.random.default_rng(0).integers(0, 256, (int(regions.max()) + 1, 3), np.uint8)[regions]


def _intervals(axes: Axes, mean: Mapping[str, Mapping[str, float]]) -> None:
    values = [scores["J"] for scores in mean.values()]
    axes.plot(range(len(values)), values, marker="o", color=ACCENT)
    axes.set_xticks(range(len(values)), list(mean))
    axes.set(title="J by frames between adaptations", ylim=(0, 1))
    axes.grid(axis="y")


def _rankings(axes: Axes, mean: Mapping[str, Mapping[str, float]]) -> None:
    for shift, (measure, colour) in enumerate((("seed_accuracy", ORANGE), ("J", ACCENT))):
        places = [place + 0.36 * (shift - 0.5) for place in range(len(mean))]
        bars = axes.bar(places, [scores[measure] for scores in mean.values()], 0.34, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
        axes.plot([], [], "s", color=colour, label=measure.replace("_", " "))
    axes.set_xticks(range(len(mean)), list(mean))
    axes.set(title="by what ranks the tracks", ylim=(0, 1.35))
    axes.legend(fontsize=7, ncols=2, loc="upper center")


def _wrong(axes: Axes, mean: Mapping[str, Mapping[str, float]]) -> None:
    _curves(axes, {"foreground": (mean["wrong_foreground"], ORANGE)})
    axes.set(title="foreground on the wrong side", ylabel="share of points")


def _distances(axes: Axes, mean: Mapping[str, Mapping[str, float]]) -> None:
    colours = {"foreground": ORANGE, "background": ACCENT}
    _curves(axes, {side: (mean[f"{side}_distance"], colour) for side, colour in colours.items()})
    axes.set(title="distance from the first frame", ylabel="embedding distance")
    axes.legend(fontsize=7)


def _curves(axes: Axes, curves: Mapping[str, tuple[Mapping[str, float | None], str]]) -> None:
    for name, (curve, colour) in curves.items():
        values = [np.nan if value is None else value for value in curve.values()]
        axes.plot([float(step) for step in curve], values, color=colour, label=name)
    axes.set(xlabel="relative time")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
