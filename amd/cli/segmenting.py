"""`amd segment`: masks of images, frame folders and videos."""

from pathlib import Path

from amd.cli.arguments import Command, argument, positive

SEGMENT = """\
Segment the object in images, frame folders and videos (any mix; folders are searched for all of them).

The object is the model's object segment, chosen without labels; a pixel belongs to its most probable segment. With
--method transfer it is what the embeddings, objectness and motion of the whole video single out; MODEL is then an
instance embedding, which has learned from instance masks.
An input that fails is reported and stops no other. The same command again goes on where it was. Masks of earlier
runs that lie in an input are left out.

  OUT/<input>/masks/<frame>.png   0 or 255, at the frame's own size; of a video's frames the number, from 000000
  OUT/<input>/soft/<frame>.png    --soft: the object's probability, 0 to 255
  OUT/<input>/overlay.mp4         --overlay: masks drawn over the frames (overlay.png of an image)
  OUT/summary.json                frames, size, mean object area, time, warnings, failures; also of earlier runs
"""

# Every option goes by its name (`dest`) to the parameter of that name of segment_inputs.
COMMANDS = (
    Command(
        "segment",
        "masks of images and videos",
        SEGMENT,
        "amd segment clip.mp4 photos/*.jpg frames/ --model models:/amd@champion --out out --overlay --adapt 100",
        "amd.inference.inputs:segment_inputs",
        (
            argument("paths", metavar="INPUT", nargs="+", type=Path, help="an image, a folder or a video"),
            argument("--model", dest="model_uri", required=True, metavar="MODEL", help="see `amd --help`"),
            argument("--out", required=True, metavar="DIR", type=Path, help="where masks and summary go"),
            argument(
                "--adapt",
                metavar="N",
                type=positive,
                help="adapt the model to each video for N iterations first (paper: 100)",
            ),
            argument("--overlay", action="store_true", help="also draw the masks over the frames"),
            argument("--soft", action="store_true", help="also write the object's probability"),
            argument(
                "--raw-orientation",
                action="store_true",
                help="take photos as stored, whatever their EXIF orientation says",
            ),
            argument("--segment", metavar="K", type=int, help="take segment K for the object"),
            argument("--method", choices=("amd", "transfer"), default="amd", help="default: %(default)s"),
            argument(
                "--flow",
                metavar="FLOW",
                help="for transfer: dis (default), a folder with <input>/<frame>.flo, or an AMD",
            ),
        ),
    ),
)
