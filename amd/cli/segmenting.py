"""`amd segment`: masks of images, frame folders and videos."""

from pathlib import Path

from amd.cli.arguments import Commands, command, positive

SEGMENT = """\
Segment the object in images, frame folders and videos (any mix; folders are searched for all of them).

The object is the model's object segment, chosen without labels; a pixel belongs to its most probable segment. With
--method transfer it is what the embeddings, objectness and motion of the whole video single out; MODEL is then an
instance embedding, which has learned from instance masks.
An input that fails is reported and stops no other. The same command again goes on where it was.

  OUT/<input>/masks/<frame>.png   0 or 255, at the frame's own size; of a video's frames the number, from 000000
  OUT/<input>/soft/<frame>.png    --soft: the object's probability, 0 to 255
  OUT/<input>/overlay.mp4         --overlay: masks drawn over the frames (overlay.png of an image)
  OUT/summary.json                frames, size, mean object area, time, warnings, failures
"""


def add(subparsers: Commands) -> None:
    """Add the commands."""
    _segment(subparsers)


def segment(
    paths: list[Path],
    model: str,
    out: Path,
    adapt: int | None,
    overlay: bool,
    soft: bool,
    segment: int | None,
    method: str,
    flow: str | None,
) -> None:
    """Masks of images, frame folders and videos."""
    from amd.inference.inputs import segment_inputs

    segment_inputs(paths, model, out, adapt, overlay, soft, segment, method, flow)


def _segment(subparsers: Commands) -> None:
    example = "amd segment clip.mp4 photos/*.jpg frames/ --model models:/amd@champion --out out --overlay --adapt 100"
    parser = command(subparsers, "segment", segment, "masks of images and videos", SEGMENT, example)
    parser.add_argument("paths", metavar="INPUT", nargs="+", type=Path, help="an image, a folder or a video")
    parser.add_argument("--model", required=True, metavar="MODEL", help="see `amd --help`")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="where masks and summary go")
    parser.add_argument(
        "--adapt", metavar="N", type=positive, help="adapt the model to each video for N iterations first (paper: 100)"
    )
    parser.add_argument("--overlay", action="store_true", help="also draw the masks over the frames")
    parser.add_argument("--soft", action="store_true", help="also write the object's probability")
    parser.add_argument("--segment", metavar="K", type=int, help="take segment K for the object")
    parser.add_argument("--method", choices=("amd", "transfer"), default="amd", help="default: %(default)s")
    parser.add_argument(
        "--flow", metavar="FLOW", help="for transfer: dis (default), a folder with <input>/<frame>.flo, or an AMD"
    )
