"""A stand-in for the stage shard: `python -m benchmarks.simulated.shards MANIFEST FOLDER`, a file per input."""

import sys
from pathlib import Path


def main() -> None:
    """Write what is missing."""
    manifest, folder = map(Path, sys.argv[1:])
    folder.mkdir(exist_ok=True)
    there = {path.name for path in folder.iterdir()}
    for line in manifest.read_text().splitlines():
        name = Path(line.rstrip(":")).stem
        if len(name) == 7 and name.isdigit() and f"{name}.tar" not in there:
            (folder / f"{name}.tar").write_bytes(name.encode() * 64)


if __name__ == "__main__":
    main()
