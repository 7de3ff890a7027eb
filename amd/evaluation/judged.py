"""What is known of a model by videos without a label: figures of each, their means, and what they must not fall below.

One figure compares models: agreement with motion evidence where that is sure. The others are guards, each with a limit
that a model without fault keeps by far: they catch what agreement alone lets through.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

MOST_ODD = 0.5  # share of frames: a mask of most of the frame, or of nothing where something moves, is no object
LEAST_STABILITY = 0.33  # J: what masks of random pixels that cover half of a frame have with each other
MOST_SYNTHESIS = 1.25  # times the error of predicting that nothing moves; of random weights: 1.4 to 2.3
DECIMALS = 4


@dataclass(frozen=True)
class Figures:
    """Of one video, or means over several; None: nothing to measure it on."""

    agreement: float | None  # mean J of object masks and evidence, over frames whose evidence is sure
    stability: float | None  # mean J of an object mask and the next frame's, fetched along the flow
    odd: float | None  # share of frames with a mask of most of the frame, or of nothing where something moves
    area: float | None  # mean share of the frame that is the object
    synthesis: float | None  # error of view synthesis beside that of no motion; None: no motion was learned

    def rounded(self) -> dict[str, float | None]:
        """By name, short enough for a tag."""
        return {name: None if value is None else round(value, DECIMALS) for name, value in asdict(self).items()}

    @property
    def problem(self) -> str:
        """The guard that these figures do not pass, in words; empty when there is none."""
        if self.odd is not None and self.odd > MOST_ODD:
            area = f"{self.area or 0:.2f}"
            return f"{self.odd:.0%} of its masks are of nothing or of most of the frame (mean area {area})"
        if self.stability is not None and self.stability < LEAST_STABILITY:
            return f"its masks do not stay on what they show (stability {self.stability:.3f}, below {LEAST_STABILITY})"
        if self.synthesis is not None and self.synthesis > MOST_SYNTHESIS:
            return f"it predicts frames worse than if nothing moved ({self.synthesis:.2f} times that error)"
        return ""


def mean_figures(figures: Iterable[Figures]) -> Figures:
    """Of each figure the mean over the videos in which it is known."""
    figures = list(figures)
    columns = {field.name: [getattr(each, field.name) for each in figures] for field in fields(Figures)}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return Figures(**{name: sum(values) / len(values) if values else None for name, values in known.items()})


def common(first: Mapping[str, Figures], second: Mapping[str, Figures]) -> list[str]:
    """The videos in which both models' agreement is known."""
    both = sorted(first.keys() & second.keys())
    return [key for key in both if first[key].agreement is not None and second[key].agreement is not None]


def drift(new: Mapping[str, Figures], old: Mapping[str, Figures]) -> dict[str, float]:
    """By how much each figure of a model differs from that of the one before, over the videos in which both have it."""
    found = {}
    for name in (field.name for field in fields(Figures)):
        pairs = [(getattr(new[key], name), getattr(old[key], name)) for key in sorted(new.keys() & old.keys())]
        changes = [after - before for after, before in pairs if None not in (after, before)]
        if changes:
            found[name] = round(sum(changes) / len(changes), DECIMALS)
    return found
