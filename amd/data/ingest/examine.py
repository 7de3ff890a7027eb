"""One source looked at whole: what its container says, every frame decoded as a thumbnail, and a verdict.

Input: a Source that can be opened. Output: the columns of amd.data.tables.MANIFEST that its content decides.

Rules. A source is rejected when it is no video, shows no picture, passes a limit or gives fewer than the two
frames of a pair. A frame folder is also rejected when an image does not decode or differs in size: whoever made
the folder can mend it. A video with a damaged or missing end, or with frames lost between others, is accepted with
its good frames and a warning. `frames` counts the good frames; whoever reads an accepted row takes the first `frames`
of them, and with PyAV where `decoder` says so: decord does not repeat damaged videos. What decord gives is compared
with PyAV, which reads the whole of what differs.
"""

import hashlib
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

from amd.config import Ingest, Shard
from amd.data import images
from amd.data.images import image_size
from amd.data.ingest import decoder_check
from amd.data.ingest.decoder_check import Sample, agrees
from amd.data.pairs import select as pairs
from amd.data.pairs.select import THUMBNAIL, PairFilter, pair_change, thumbnail
from amd.data.tables import MANIFEST
from amd.data.video import animation, flaws, orientation, probe, pyav_frames
from amd.data.video import decode as video
from amd.data.video.decode import DecodeError, Source, read_frames
from amd.data.video.flaws import Flaws
from amd.data.video.probe import Probe, ProbeError
from amd.runtime.errors import UserError

LOST_SHARE = 0.01  # of the promised frames: fewer lost than this are the container's slip
END_SHARE = 0.95  # of the promised duration that frames must reach, where no count is promised


@dataclass(frozen=True)
class Limits:
    """What of the parameters decides a row."""

    max_pixels: int
    max_hours: float
    min_change: float
    max_change: float

    @classmethod
    def of(cls, ingest: Ingest, shard: Shard) -> "Limits":
        """The limits in two sections of params.yaml."""
        return cls(ingest.max_pixels, ingest.max_hours, shard.min_change, shard.max_change)

    def key(self) -> str:
        """A short hash of the limits and of the code that applies them: rows of another key do not hold."""
        digest = hashlib.sha256(repr(self).encode())
        rules = (animation, decoder_check, flaws, images, orientation, pairs, probe, pyav_frames, video)
        for file in (__file__, *(module.__file__ for module in rules)):
            digest.update(Path(str(file)).read_bytes())
        return digest.hexdigest()[:16]


def rejected(reason: str) -> dict:
    """The columns of a rejection."""
    return {"status": "rejected", "reason": reason}


def examine(source: Source, limits: Limits) -> dict:
    """The columns of a readable source's row that its content decides; it is decoded once, as thumbnails."""
    try:
        facts = _folder_facts(source) if source.frame_names is not None else probe.probe(source.path)
    except ProbeError as error:
        return rejected(f"not a readable video ({error.reason})")
    except UserError as error:
        return rejected(str(error).removeprefix(f"{source.path}/"))
    if not facts.has_video:
        return rejected("no readable video stream (sound only, or a damaged header)")
    columns = {name: value for name, value in asdict(facts).items() if name in MANIFEST.names}
    if reason := _beyond(facts, limits):
        return columns | rejected(reason)
    found = _decode(source, facts, limits)
    if "decord" in found.decoders and (found.damage or len(found.decoders) > 1 or not found.same_as_pyav(source.path)):
        found = _decode(replace(source, decoder="pyav"), facts, limits)
    if facts.duration_s is None and facts.fps:
        columns["duration_s"] = found.frames / facts.fps
    columns |= {name: getattr(found, name) for name in ("frames", "decoder", "still_pairs", "cuts")}
    return columns | _verdict(source, facts, found, limits)


@dataclass
class _Found:
    """What decoding a source to its end gave."""

    frames: int = 0
    end_s: float = 0.0  # time of the last frame
    decoders: set[str] = field(default_factory=set)
    sample: Sample = field(default_factory=lambda: Sample(None))  # what is compared with PyAV
    flaws: Flaws = field(default_factory=Flaws)
    still_pairs: int = 0
    cuts: int = 0
    damage: str = ""
    too_long: bool = False  # and left before its end

    @property
    def decoder(self) -> str | None:
        """What gave the frames; None when there are none."""
        return next(iter(self.decoders), None)

    def same_as_pyav(self, path: Path) -> bool:
        """Whether PyAV gives the frames of the sample; a video that is too long is rejected whoever reads it."""
        return self.too_long or agrees(path, self.sample)


def _decode(source: Source, facts: Probe, limits: Limits) -> _Found:
    promised = facts.frames_promised or round((facts.fps or 0) * (facts.duration_s or 0))
    found, judge = _Found(sample=Sample(promised)), PairFilter(limits.min_change, limits.max_change)
    before = None
    try:
        with closing(read_frames(source, THUMBNAIL)) as frames:
            for frame in frames:
                small = thumbnail(frame.image)
                if before is not None:
                    judge.judge(pair_change(before, small))
                before = small
                found.frames, found.end_s = found.frames + 1, frame.timestamp
                found.decoders.add(frame.decoder)
                found.sample.see(frame.index, frame.image)
                found.flaws.see(frame)
                if found.end_s > limits.max_hours * 3600:  # longer than its container says
                    found.too_long = True
                    break
    except DecodeError as error:
        found.damage = error.reason
    found.still_pairs, found.cuts = judge.counts["still"], judge.counts["cut"]
    return found


def _verdict(source: Source, facts: Probe, found: _Found, limits: Limits) -> dict:
    """Accepted, with what there is to warn of, or rejected."""
    if source.frame_names is not None and found.damage:
        return rejected(found.damage)
    if found.frames == 0:
        return rejected(f"no frame decodes ({found.damage or 'the container is empty'})")
    if found.frames == 1:
        return rejected("1 frame; a pair takes 2")
    if found.too_long:
        return rejected(_too_long(found.end_s, limits))
    warnings = [_loss(source, facts, found), *found.flaws.texts()]
    if found.still_pairs == found.frames - 1:
        warnings.append("every pair is still: less changes than shard.min_change")
    return {"status": "accepted", "reason": "; ".join(warning for warning in warnings if warning)}


def _loss(source: Source, facts: Probe, found: _Found) -> str:
    """What the video lost of what its container promised; empty when nothing."""
    promised = facts.frames_promised
    extent = f"{found.frames} of {promised} frames" if promised else f"{found.frames} frames"
    if found.damage:
        return f"corrupt tail: {extent} decode ({found.damage})"
    if promised:
        lost = promised - found.frames - found.flaws.lost
        if lost > 1 + LOST_SHARE * promised and lost > probe.trimmed_frames(source.path):
            return f"truncated: {extent} are there"
        return ""
    end = found.end_s + found.end_s / (found.frames - 1)  # the last frame is shown as long as the others
    if facts.duration_s and end < END_SHARE * facts.duration_s:
        return f"truncated: frames end after {end:.1f} of {facts.duration_s:.1f} s"
    return ""


def _beyond(facts: Probe, limits: Limits) -> str:
    """Which limit the container's facts pass; empty when none."""
    pixels = facts.width * facts.height
    if pixels > limits.max_pixels:
        return f"{facts.width}x{facts.height} is {pixels} pixels; ingest.max_pixels is {limits.max_pixels}"
    if facts.duration_s and facts.duration_s > limits.max_hours * 3600:
        return _too_long(facts.duration_s, limits)
    return ""


def _too_long(seconds: float, limits: Limits) -> str:
    return f"{seconds / 3600:.2f} hours; ingest.max_hours is {limits.max_hours:g}"


def _folder_facts(source: Source) -> Probe:
    """The facts of a frame folder, from its first image; it has no clock, so neither rate nor duration."""
    names = cast(tuple[str, ...], source.frame_names)
    first = source.path / names[0]
    height, width = image_size(first)
    codec = first.suffix.lower().lstrip(".").replace("jpg", "jpeg")
    return Probe(has_video=True, codec=codec, width=width, height=height, frames_promised=len(names))
