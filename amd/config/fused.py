"""Settings of the main way from a real video to masks: motion evidence and appearance, fused."""

from pydantic import Field

from amd.config.pipeline import Adapt, Model, Objective
from amd.config.section import Section
from amd.config.transfer import Crf

# Fitted to one video, from scratch. With one level less it loses 0.01 to 0.02 of J: surroundings tell an object, too.
APPEARANCE = Model(
    backbone="unet", segments=2, output_stride=1, dropout=0.0, motion="small", motion_height=64, motion_width=64
)
FIT = Adapt(
    iterations=150,  # half as many are too few, twice as many no better
    batch_size=4,
    objective=Objective(view_synthesis=0.0, evidence=1.0),
    affine=0.15,  # without it each frame's errors are learned by heart; at 0.25 nothing changes
    short_edge=120,
    crop=None,
    learning_rate=4e-3,
    schedule="one_cycle",
    weight_decay=1e-4,
    batch_norm="adapt",
    gap=1,
    precision="auto",
    runner="processes",
    workers=1,
    threads=2,
    timeout_s=1800.0,
    retries=1,
    seed=0,
)
SMOOTHING = Crf(
    iterations=5,
    position_weight=0.0,  # the colour kernel is enough
    position_sigma=1.0,
    colour_weight=4.0,
    colour_position_sigma=17.0,
    colour_sigma=5.0,
)


class Confidence(Section):
    """When a video, or one of its frames, has no object that is sure enough to be shown (amd.inference.confidence)."""

    # More than this is the scene, whose motion was taken for an object's.
    largest_area: float = Field(default=0.6, gt=0, le=1)
    # Evidence of noise and of what sways stays below this, that of objects above.
    least_decided: float = Field(default=0.35, ge=0, le=1)
    # Where more than this share of what moves may be depth in a still scene, it is; of objects it is less.
    most_parallax: float = Field(default=0.975, ge=0, le=1)
    # Evidence that jumps about stays below this; it is a guard, as appearance learns what is wrong all the time, too.
    least_agreement: float = Field(default=0.2, ge=0, le=1)


class Fused(Section):
    """The whole method for one video (amd.inference.fused)."""

    short_edge: int = Field(default=180, ge=16)  # at which opinions are joined and smoothed
    # Share of what moves that the model of single images has to see, to have a say. Of objects unlike those of its
    # videos it sees less than a tenth, of others more than a fifth.
    least_known: float = Field(default=0.15, ge=0, le=1)
    iterations: int = Field(default=0, ge=0)  # of a fit of appearance to the video; 0: none, which is as good
    frames: int = Field(default=100, ge=2)  # spread over the video, that tell how sure it is, and that are fitted to
    appearance: float = Field(default=0.6, ge=0, le=1)  # the weight of what is fitted
    crf: Crf | None = SMOOTHING
    confidence: Confidence = Confidence()
    model: Model = APPEARANCE
    fit: Adapt = FIT

    @property
    def fitting(self) -> Adapt:
        """The settings of the fit with the iterations that are wanted."""
        return self.fit.model_copy(update={"iterations": self.iterations}) if self.iterations else self.fit
