"""Segment one video of the inbox: the program that flows.inbox.flow runs once a video, within limits of memory.

Input: an untrusted video, a checkpoint, params.inbox. Output, in --out: masks, overlay and summary.json of
amd.inference.inputs, and contact_sheet.png. A video that is refused or fails is one line and exit status 2.
"""

import argparse
import signal
from contextlib import closing
from pathlib import Path

from amd.config import DEFAULT_PATH, load_params
from amd.data.images import write_image
from amd.data.video.decode import Source, read_frames
from amd.data.video.limits import refuse_video
from amd.data.video.rules import INBOX, memory_reason
from amd.draw.sheet import contact_sheet
from amd.inference.inputs import segment_inputs
from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.files import read_json
from amd.runtime.processes import limit_memory
from flows.inbox.folder import SHEET

SUMMARY = "summary.json"
SHEET_SHORT_EDGE = 160  # pixels of a frame on the contact sheet


@exit_on_user_error
def main() -> None:
    """Read the command line, check the video, segment it."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    limits = load_params(options.params).inbox
    limit_memory(limits.memory_mb)
    if reason := refuse_video(options.video, limits, INBOX):
        raise UserError(reason)
    try:
        segment_inputs([options.video], options.out, options.model, adapt=options.adapt or None, overlay=True)
    except UserError as error:
        own = str(error).removeprefix(f"1 of 1 inputs failed: {options.video.name}: ")
        raise UserError(memory_reason(own, limits)) from None
    (row,) = read_json(options.out / SUMMARY)["inputs"]
    (overlay,) = options.out.glob("*/overlay.mp4")
    with closing(read_frames(Source("overlay", overlay), SHEET_SHORT_EDGE)) as frames:
        sheet = contact_sheet(((frame.image, frame.timestamp) for frame in frames), row["frames"])
    write_image(options.out / SHEET, sheet)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.programs.inbox_video", description="Segment one dropped video."
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--model", required=True, help="see `amd --help`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--adapt", type=int, default=0, help="iterations of adaptation; 0 for none")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
