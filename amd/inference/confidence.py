"""Whether there is an object to show: in a video as a whole, and in one frame of it.

Input: opinions on the frames: of motion, alone or with a model of single images; and of a fitted appearance, if any.
Output: a Confident, which says why where it is not sure. Three measures, each from 0 to 1:

- area: the share of the frame that is masked. What fills most of it is the scene: the camera's motion was misjudged.
- decided: how far the first opinion is from a half where it says object. Of noise and of a still scene before a moving
  camera it says "perhaps"; of objects it says "surely".
- agreement: the overlap of both. Where motion is mistaken it comes and goes on things that look like the rest of the
  scene, and an appearance that was fitted to it cannot learn it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from amd.config.fused import Confidence
from amd.data.sizes import resized
from amd.inference.fusion import THRESHOLD, Opinion, mean_of


@dataclass(frozen=True)
class Confident:
    """How sure a mask is, and why it is refused where it is."""

    area: float
    decided: float
    agreement: float  # 1 where one alone was asked
    reason: str = ""  # one line; empty where the mask stands

    @property
    def sure(self) -> bool:
        """Whether the mask is shown."""
        return not self.reason

    @property
    def value(self) -> float:
        """One number for it, 0 where it is refused."""
        return self.decided * self.agreement if self.sure else 0.0


def judge_video(frames: Iterable[list[Opinion]], limits: Confidence, parallax: float = 0.0) -> Confident:
    """Of a video, from the opinions on a sample of its frames; all their pixels are taken together.

    `parallax` is the share of what moves that may be depth (amd.motion.parallax).
    """
    sums = [_sums(opinions) for opinions in frames]
    if not sums:
        return Confident(0.0, 0.0, 0.0, "no confident object in the video: it has no frame")
    return _judged(*_measures(np.sum(sums, axis=0)), limits, parallax)


def judge_frame(opinions: list[Opinion], limits: Confidence) -> Confident:
    """Of one frame of a video that has an object: whether its mask is the object, or most of the scene.

    A frame may be unsure where its video is sure: an object that rests has no evidence, only appearance.
    """
    area, decided, agreement = _measures(_sums(opinions))
    reason = _too_large(area, limits)
    return Confident(area, decided, agreement, reason and f"no confident object in this frame: {reason}")


def _sums(opinions: list[Opinion]) -> np.ndarray:
    """What the measures are ratios of, as one frame adds to them."""
    mean = mean_of(opinions)
    maps = [resized(values, (mean.shape[0], mean.shape[1])) for _, values in opinions]
    moving = maps[0][maps[0] > THRESHOLD]
    overlap, union = np.minimum.reduce(maps).sum(), np.maximum.reduce(maps).sum()
    masked = np.count_nonzero(mean > THRESHOLD)
    return np.array([masked, mean.size, (2 * moving - 1).sum(), moving.size, overlap, union], np.float64)


def _measures(sums: np.ndarray) -> tuple[float, float, float]:
    """Area, decidedness and agreement; 0 where there is nothing to measure."""
    area, decided, agreement = (float(part / whole) if whole else 0.0 for part, whole in sums.reshape(3, 2))
    return area, decided, agreement


def _judged(area: float, decided: float, agreement: float, limits: Confidence, parallax: float) -> Confident:
    depth = "what moves does so as near and far things do before a moving camera"
    reasons = [
        _too_large(area, limits),
        f"nothing moves on its own for sure ({decided:.2f})" if decided < limits.least_decided else "",
        f"{depth} ({parallax:.0%})" if parallax > limits.most_parallax else "",
        f"motion and appearance disagree ({agreement:.2f})" if agreement < limits.least_agreement else "",
    ]
    reason = next((reason for reason in reasons if reason), "")
    return Confident(area, decided, agreement, reason and f"no confident object in the video: {reason}")


def _too_large(area: float, limits: Confidence) -> str:
    return f"{area:.0%} of the frame would be masked" if area > limits.largest_area else ""
