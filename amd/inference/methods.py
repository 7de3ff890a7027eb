"""The ways from a video to masks, each opened by its name: fused, motion, flow, amd, transfer.

    fused      motion evidence and an AMD of single images together: the way without a model
    motion     motion evidence alone, for speed
    amd        an AMD's appearance alone: of a model, or without one fitted to the evidence
    transfer   Instance Embedding Transfer, with its model
    flow       plain flow minus the camera's: the floor, without learning

Input: what a user asks for. Output: a Method. Without a model the default is fused, with one it is amd.
"""

from collections.abc import Iterator
from typing import Any, Literal, Protocol, cast

from amd.inference.choice import Choice
from amd.inference.export import MaskedFrame
from amd.inference.video import Video
from amd.runtime.errors import UserError

METHODS = ("fused", "motion", "amd", "transfer", "flow")


class Method(Protocol):
    """A way from frames to masks, with its model."""

    def summary(self) -> dict[str, Any]:
        """What summary.json says of it."""

    def key(self, video: Video) -> dict[str, Any]:
        """What masks are made of beside the source's files: masks of an equal key are equal."""

    def masks(self, video: Video) -> Iterator[MaskedFrame]:
        """Each wanted frame of a video with its mask, in order, in memory that does not grow with the length."""


def open_method(choice: Choice) -> Method:
    """The method that `choice` names; UserError for words that do not go together, and a model that cannot be had."""
    method = choice.method or ("amd" if choice.model else "fused")
    if method not in METHODS:
        raise UserError(f"--method {method}: choose of {', '.join(METHODS)}")
    _check(choice, method)
    if method == "transfer":
        from amd.inference.transfer import open_transfer  # SciPy's graphs and the CRF take a moment to import

        return open_transfer(str(choice.model), choice.flow, choice.device, choice.threads)
    if method == "amd" and choice.model is not None:
        from amd.inference.amd import open_amd

        return open_amd(choice.model, choice.adapt, choice.segment, choice.device)
    from amd.inference.moving import FlowMethod, open_moving

    if method == "flow":
        return FlowMethod()
    return open_moving(choice, cast(Literal["fused", "motion", "amd"], method))


def _check(choice: Choice, method: str) -> None:
    """UserError for the first option that the method does not have."""
    if method == "transfer" and choice.model is None:
        raise UserError("--method transfer: needs an instance embedding; give one with --model")
    if choice.flow is not None and method != "transfer":
        raise UserError(f"--flow: the method {method} has its own flow; leave it out, or give --method transfer")
    if choice.evidence is not None and (method in ("transfer", "flow") or (method == "amd" and choice.model)):
        raise UserError(f"--evidence: the method {method} has no use for it here; leave it out")
    given = {"--model": choice.model, "--adapt": choice.adapt, "--segment": choice.segment}
    refused = {
        "motion": ("--model", "--adapt", "--segment"),
        "flow": ("--model", "--adapt", "--segment"),
        "transfer": ("--adapt", "--segment"),
    }
    for option in refused.get(method, ()):
        if given[option] is not None:
            raise UserError(f"{option}: the method {method} has no use for it; leave it out")
    if choice.segment is not None and choice.model is None:
        raise UserError("--segment: without --model the object is what moves; leave it out")
