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
and made is deleted when the page ends, with Ctrl-C.
"""

# Every option goes by its name (`dest`) to the parameter of that name of segment_inputs.
COMMANDS = (
    Command("segment", "masks of videos and images", SEGMENT, "amd.inference.inputs:segment_inputs").used(
        "amd segment clip.mp4\n  amd segment clip.mp4 photos/*.jpg frames/ --model models:/amd@champion --overlay",
        argument("paths", "a video, a folder of frames or an image", "INPUT", nargs="+", type=Path),
        argument("--out", "default: %(default)s", "DIR", type=Path, default=Path("segmented")),
        argument("--model", "see `amd --help`; without it, what moves", "MODEL"),
        argument(
            "--method",
            "fused (default), motion (faster), amd (default with --model), transfer, flow (the floor)",
            choices=("fused", "motion", "amd", "transfer", "flow"),
        ),
        argument(
            "--adapt",
            "adapt to each video for N iterations first; with fused, of a fit beside motion and model",
            "N",
            type=positive,
        ),
        argument(
            "--export",
            "besides masks, of soft, soft16, objects, rgba, alpha, overlay, coco, boxes, timestamps: A,B",
            "NAMES",
            type=exports,
            default=(),
        ),
        argument("--overlay", "short for --export overlay", action="store_true"),
        argument("--soft", "short for --export soft", action="store_true"),
        argument("--objects", "give parts that stay apart ids of their own", action="store_true"),
        argument("--keep", "keep the object there at S seconds", "X,Y@S", action="append", default=[]),
        argument("--drop", "leave the object there out", "X,Y@S", action="append", default=[]),
        argument("--start", "begin at S seconds", "S", type=float, default=0.0),
        argument("--end", "end at S seconds", "S", type=float),
        argument("--every", "take every N-th frame; motion is seen between these", "N", type=positive, default=1),
        argument("--device", "default: %(default)s", choices=("auto", "cpu", "cuda"), default="auto"),
        argument("--threads", "default: what is free", "N", type=positive),
        argument(
            "--raw-orientation", "take photos as stored, whatever their EXIF orientation says", action="store_true"
        ),
        argument("--segment", "take the model's segment K for the object", "K", type=int),
        argument(
            "--evidence",
            "motion evidence of one's own (dvc repro pipelines/motion/dvc.yaml), not the packaged weights",
            "FILE",
            type=Path,
        ),
        argument(
            "--flow",
            "for transfer, instead of motion evidence: dis, a folder with <input>/<frame>.flo, or an AMD",
            "FLOW",
        ),
    ),
    Command(
        "demo", "the same in the browser: a page to drop videos into", DEMO, "amd.inference.page.server:serve"
    ).used(
        "amd demo",
        argument("--model", "see `amd --help`; without it, what moves", "MODEL"),
        argument(
            "--method",
            "fused (default), motion (faster), amd (default with --model), flow (the floor)",
            choices=("fused", "motion", "amd", "flow"),
        ),
        argument("--device", "default: %(default)s", choices=("auto", "cpu", "cuda"), default="auto"),
        argument("--port", "default: %(default)s; 0 for any free one", "N", type=port, default=8300),
    ),
)
