"""The disk that shards will take: told before they are written, and refused when it is not there.

Input: rows of the manifest, parameters. Output: bytes. What JPEG and PNG make of a pixel was measured on camera clips
at a short edge of 144: larger frames take less, noisy ones more.
"""

import shutil
from pathlib import Path

from amd.config import Shard
from amd.data.pairs.evidence import PNG_BYTES_PER_CELL, EvidenceSource
from amd.data.video.decode import fit_size
from amd.runtime.errors import UserError

JPEG_BYTES_PER_PIXEL = {100: 1.5, 95: 0.7, 90: 0.5, 75: 0.3, 50: 0.2}  # by the quality
SAMPLE_BYTES = 3 * 1024  # of a sample's headers and padding


def bytes_needed(rows: list[dict], shard: Shard, evidence: EvidenceSource | None) -> int:
    """About how many bytes the shards of these rows of the manifest take; rows without a size count as nothing."""
    by_pixel = min((step, value) for step, value in JPEG_BYTES_PER_PIXEL.items() if step >= shard.quality)[1]
    total = 0.0
    for row in rows:
        if not (row["width"] and row["height"]):
            continue
        frame = by_pixel * _pixels(row, shard.short_edge)
        if evidence is not None:
            frame += PNG_BYTES_PER_CELL * _pixels(row, evidence.grid)
        total += _pairs(row, shard) * (2 * frame + SAMPLE_BYTES)
    return round(total)


def require_space(needed: int, folder: Path) -> str:
    """What to tell of `needed` bytes in `folder`; UserError when they are not free."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    words = f"about {_readable(needed)}, {_readable(free)} are free"
    if needed > free:
        raise UserError(f"{folder}: the shards take {words}; free some, or lower shard.short_edge or shard.fps")
    return words


def _pixels(row: dict, short_edge: int | None) -> int:
    width, height = fit_size(row["width"], row["height"], short_edge)
    return width * height


def _pairs(row: dict, shard: Shard) -> float:
    """Pairs of a video that move."""
    moving = max(0, row["frames"] - (row["still_pairs"] or 0))
    rate = min(1.0, shard.fps / row["fps"]) if shard.fps and row["fps"] else 1.0
    return moving * rate


def _readable(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
