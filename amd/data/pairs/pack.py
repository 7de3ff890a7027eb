"""One pass over a video: its frames encoded once each, paired, judged and written to shards.

Input: a source, and where evidence is wanted what gives it. Output: tars, and what they hold. Nothing but a few frames
is held, whatever the video's length.
"""

import io
import json
import tarfile
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from pydantic import BaseModel

from amd.config import Shard
from amd.data.pairs.evidence import EvidenceJudge, EvidenceSource, encode_map, pair_quality
from amd.data.pairs.select import PairFilter, pair_change, thumbnail
from amd.data.video.decode import DecodeError, Frame, Source, fit_size, read_frames
from amd.runtime.files import atomic_path, sha256

# Colour at full size: a frame that was shrunk has colour detail in every pixel, which 4:2:0 would halve.
SUBSAMPLING = "444"


class ShardRow(BaseModel):
    """A shard as the index lists it."""

    shard: str
    samples: int
    bytes: int
    sha256: str
    quality: list[int] | None = None


@dataclass(frozen=True)
class _Encoded:
    """A frame as shards hold it, and what its pairs are judged by."""

    frame: int  # index in the source
    timestamp: float
    height: int
    width: int
    jpeg: bytes
    grey: np.ndarray
    map: bytes | None = None  # of its evidence
    quality: float = 0.0


class VideoPass:
    """The pass; its fields say afterwards what came out."""

    def __init__(
        self, source: Source, frames: int, folder: Path, shard: Shard, evidence: EvidenceSource | None = None
    ) -> None:
        self.source, self.counted, self.folder, self.shard, self.evidence = source, frames, folder, shard, evidence
        self.judge = PairFilter(shard.min_change, shard.max_change)
        self.motion = EvidenceJudge()
        self.changes = array("d")
        self.good_frames = 0
        self.map_bytes = 0
        self.reason = ""

    def write(self) -> list[ShardRow]:
        """Write the video's shards, each of at most `pairs_per_shard` samples."""
        shards: list[ShardRow] = []
        pairs = self._pairs()
        for pair in pairs:
            path = self.folder / f"{self.source.video_id}-{len(shards):05d}.tar"
            shards.append(self._write_tar(path, chain([pair], islice(pairs, self.shard.pairs_per_shard - 1))))
        if self.motion.refusal:
            shards = [row.model_copy(update={"quality": [0] * row.samples}) for row in shards]
        return shards

    def _frames(self) -> Iterator[Frame]:
        """The frames that the manifest counted; a reason when there are fewer, or more that are broken."""
        edge = self.shard.short_edge
        if edge is not None and self.evidence is not None:
            edge = max(edge, self.evidence.short_edge)
        try:
            with closing(read_frames(self.source, edge, self.shard.fps, self.counted)) as frames:
                yield from frames
        except DecodeError as error:
            self.reason = str(error)

    def _encoded(self) -> Iterator[_Encoded]:
        """Every frame as shards hold it."""
        if self.evidence is not None:
            return self._with_evidence(self.evidence)
        return (_encode(frame, self.shard) for frame in self._frames())

    def _with_evidence(self, evidence: EvidenceSource) -> Iterator[_Encoded]:
        """Every frame with its map and its quality, as they become known."""
        waiting: deque[_Encoded] = deque()
        adjacent = PairFilter(self.shard.min_change, self.shard.max_change)
        beside_cut: set[int] = set()

        def images() -> Iterator[np.ndarray]:
            before: _Encoded | None = None
            for frame in self._frames():
                encoded = _encode(frame, self.shard)
                if before is not None and adjacent.judge(pair_change(before.grey, encoded.grey)) == "cut":
                    beside_cut.update((before.frame, encoded.frame))
                waiting.append(encoded)
                before = encoded
                yield frame.image

        for probability in evidence(images()):
            encoded = waiting.popleft()
            quality = self.motion.judge(probability, encoded.frame in beside_cut)
            beside_cut.discard(encoded.frame)
            yield replace(encoded, map=encode_map(probability), quality=quality)

    def _pairs(self) -> Iterator[tuple[_Encoded, _Encoded]]:
        """The pairs worth learning from; no more than gap + 1 encoded frames are held."""
        window: deque[_Encoded] = deque(maxlen=self.shard.gap + 1)
        for encoded in self._encoded():
            self.good_frames += 1
            window.append(encoded)
            if len(window) == window.maxlen:
                self.changes.append(pair_change(window[0].grey, window[-1].grey))
                if self.judge.judge(self.changes[-1]) == "keep":
                    yield window[0], window[-1]

    def _write_tar(self, path: Path, pairs: Iterable[tuple[_Encoded, _Encoded]]) -> ShardRow:
        quality: list[int] = []
        with atomic_path(path) as part:
            with tarfile.open(part, "w", copybufsize=2**20) as tar:  # type: ignore[call-overload]  # stubs lack it
                for first, second in pairs:
                    self._add_sample(tar, first, second)
                    quality.append(pair_quality(first.quality, second.quality))
            return ShardRow(
                shard=path.name,
                samples=len(quality),
                bytes=part.stat().st_size,
                sha256=sha256(part),
                quality=None if self.evidence is None else quality,
            )

    def _add_sample(self, tar: tarfile.TarFile, first: _Encoded, second: _Encoded) -> None:
        """Add one sample; nothing of its headers depends on who writes it, when or where."""
        meta = {
            "video_id": self.source.video_id,
            "frames": [first.frame, second.frame],
            "timestamps": [first.timestamp, second.timestamp],
            "height": first.height,
            "width": first.width,
        }
        members = {
            "first.jpg": first.jpeg,
            "first.png": first.map,
            "meta.json": json.dumps(meta, sort_keys=True).encode(),
            "second.jpg": second.jpeg,
            "second.png": second.map,
        }
        for name, content in members.items():
            if content is None:
                continue
            header = tarfile.TarInfo(f"{meta['video_id']}-{first.frame:08d}.{name}")
            header.size = len(content)  # time, owner and group stay 0, the mode 0644
            tar.addfile(header, io.BytesIO(content))
        self.map_bytes += len(first.map or b"") + len(second.map or b"")


def _encode(frame: Frame, shard: Shard) -> _Encoded:
    """A frame at the shards' size; where evidence was to see it larger, it is shrunk here."""
    image = frame.image
    size = fit_size(image.shape[1], image.shape[0], shard.short_edge)
    if size != image.shape[1::-1]:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), shard.quality, colorsubsampling=SUBSAMPLING)
    return _Encoded(frame.index, frame.timestamp, image.shape[0], image.shape[1], jpeg, thumbnail(image))
