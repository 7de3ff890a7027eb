"""`amd segment`: masks of images, frame folders and videos."""

from pathlib import Path

from amd.cli.arguments import Command, argument, port, positive


def exports(text: str) -> tuple[str, ...]:
    """The names of --export; UserError for one that is none."""
    from amd.inference.export import parse_exports  # decoders take a moment to import

    return parse_exports(text)


SEGMENT = """\
Segment the object in videos, frame folders and images (any mix; folders are searched for all of them).

Without --model the object is what moves on its own: a packaged network sees that in the optical flow, and another
says in each frame what looks like an object (--method fused). A video without a confident object has empty masks, and a
line says why. With --model the object is the model's object segment, chosen without labels.
An input that fails is reported and stops no other. The same command again goes on where it was. Masks of earlier
runs that lie in an input are left out; masks made with other settings stay, the new ones are in OUT/<input>-2.

  OUT/<input>/masks/<frame>.png   0 or 255, at the frame's own size; of a video's frames the number, from 000000
  OUT/<input>/…                   what --export names
  OUT/summary.json                frames, size, mean object area, confidence, time, warnings, failures
"""

DEMO = """\
A page in the browser: drop videos and images into it, see masks play beside the frames, move the threshold, download
what `amd segment --export` writes. One is worked on at a time, the others wait.

The page is on 127.0.0.1 alone. Sizes are limited as in the inbox (./params.yaml, else the defaults). What was dropped
and made is deleted when the page ends, with Ctrl-C. Images need a model of single images (--model).
"""

# Every option goes by its name (`dest`) to the parameter of that name of segment_inputs.
COMMANDS = (
    Command(
        "segment",
        "masks of videos and images",
        SEGMENT,
        "amd segment clip.mp4\n  amd segment clip.mp4 photos/*.jpg frames/ --model models:/amd@champion --overlay",
        "amd.inference.inputs:segment_inputs",
        (
            argument("paths", metavar="INPUT", nargs="+", type=Path, help="a video, a folder of frames or an image"),
            argument("--out", metavar="DIR", type=Path, default=Path("segmented"), help="default: %(default)s"),
            argument("--model", metavar="MODEL", help="see `amd --help`; without it, what moves"),
            argument(
                "--method",
                choices=("fused", "motion", "amd", "transfer", "flow"),
                help="fused (default), motion (faster), amd (default with --model), transfer, flow (the floor)",
            ),
            argument(
                "--adapt",
                metavar="N",
                type=positive,
                help="adapt to each video for N iterations first; with fused, of a fit beside motion and model",
            ),
            argument(
                "--export",
                metavar="NAMES",
                type=exports,
                default=(),
                help="besides masks, of soft, soft16, objects, rgba, alpha, overlay, coco, boxes, timestamps: A,B",
            ),
            argument("--overlay", action="store_true", help="short for --export overlay"),
            argument("--soft", action="store_true", help="short for --export soft"),
            argument("--objects", action="store_true", help="give parts that stay apart ids of their own"),
            argument("--keep", metavar="X,Y@S", action="append", default=[], help="keep the object there at S seconds"),
            argument("--drop", metavar="X,Y@S", action="append", default=[], help="leave the object there out"),
            argument("--start", metavar="S", type=float, default=0.0, help="begin at S seconds"),
            argument("--end", metavar="S", type=float, help="end at S seconds"),
            argument(
                "--every",
                metavar="N",
                type=positive,
                default=1,
                help="take every N-th frame; motion is seen between these",
            ),
            argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"),
            argument("--threads", metavar="N", type=positive, help="default: what is free"),
            argument(
                "--raw-orientation",
                action="store_true",
                help="take photos as stored, whatever their EXIF orientation says",
            ),
            argument("--segment", metavar="K", type=int, help="take the model's segment K for the object"),
            argument(
                "--evidence",
                metavar="FILE",
                type=Path,
                help="motion evidence of one's own (dvc repro pipelines/motion/dvc.yaml), not the packaged weights",
            ),
            argument(
                "--flow",
                metavar="FLOW",
                help="for transfer, instead of motion evidence: dis, a folder with <input>/<frame>.flo, or an AMD",
            ),
        ),
    ),
    Command(
        "demo",
        "the same in the browser: a page to drop videos into",
        DEMO,
        "amd demo",
        "amd.inference.page.server:serve",
        (
            argument("--model", metavar="MODEL", help="see `amd --help`; without it, what moves"),
            argument(
                "--method",
                choices=("fused", "motion", "amd", "flow"),
                help="fused (default), motion (faster), amd (default with --model), flow (the floor)",
            ),
            argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"),
            argument("--port", metavar="N", type=port, default=8300, help="default: %(default)s; 0 for any free one"),
        ),
    ),
)
