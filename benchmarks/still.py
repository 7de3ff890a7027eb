"""Masks where nothing moves on its own, and where something does: `python -m benchmarks.still`.

Input: textures (built-in patterns, or a folder of photographs). Output: of 50 drawn clips of each sort, the share of
frames that have a mask, by the kind of scene; and of the clips that are refused.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from amd.data.synthetic.layer_textures import Textures, load_textures
from amd.data.synthetic.layers import draw_clip
from amd.data.synthetic.still_scenes import KINDS, draw_still
from amd.inference.segmenter import Segmenter

CLIPS, TIMES = 50, range(-5, 6)
SEED = 800_000  # no clip that anything was trained or set on
PHOTOGRAPHS = 80


def clips(textures: Textures) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """CLIPS without and CLIPS with objects: kind, frames uint8 N,H,W,3, and whether each frame shows an object."""
    nothing = np.zeros(len(TIMES), bool)
    for number in range(CLIPS):
        kind = KINDS[number % len(KINDS)]
        yield kind, draw_still(textures, kind, SEED + number, TIMES), nothing
    for number in range(CLIPS):
        clip = draw_clip(textures, SEED + number, TIMES, empty=0.0)
        yield "objects", clip.frames, clip.truth.any((1, 2))


def main() -> None:
    """Print a row a kind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.still", description=__doc__)
    parser.add_argument("--textures", type=Path, help="a folder of photographs (default: built-in patterns)")
    parser.add_argument("--method", choices=("fused", "motion"), default="fused", help="(default: %(default)s)")
    options = parser.parse_args()
    folder = options.textures
    textures = load_textures(folder, 0.0, seed=77, most=PHOTOGRAPHS) if folder else Textures([], 1.0, seed=77)
    segmenter = Segmenter.from_pretrained(method=options.method)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for kind, frames, shows in clips(textures):
        made = list(segmenter.segment_video(frames))
        refused = np.array([bool(frame.reason) for frame in made])
        masked = np.array([frame.mask.any() for frame in made])
        found[kind].append(np.stack([shows, masked, refused]))
    still = np.concatenate([rows for kind in KINDS for rows in found[kind]], axis=1)
    for kind, rows in [*((kind, np.concatenate(found[kind], axis=1)) for kind in KINDS), ("all still", still)]:
        print(f"{kind}: {len(rows[0])} frames, {rows[1].mean():.1%} with a mask")
    shows, masked, refused = np.concatenate(found["objects"], axis=1).astype(bool)
    print(f"objects: {shows.sum()} frames, {refused[shows].mean():.1%} refused, {masked[shows].mean():.1%} with a mask")


if __name__ == "__main__":
    main()
