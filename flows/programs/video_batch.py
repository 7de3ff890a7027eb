"""Ingest or shard a batch of videos: the program that flows.batches runs, on whichever machine.

Input: a file of items (flows.batch_work), the folders and videos that they name. Output: --results, what each item
gave, in order, and what the work itself writes. A video that kills its process is that video's failure alone. As long
as this program lives it touches the file of items; it ends when that is gone, for then nobody waits for it.
"""

import argparse
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

from amd.data.pool import each_in_pool
from amd.runtime.errors import exit_on_user_error, system_errors
from flows.batch_work import WORKS, read_items, write_results

BEAT_S = 5.0


@exit_on_user_error
@system_errors()
def main() -> None:
    """Read the command line, do the work, write what it gave."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_beat, args=(options.items,), daemon=True).start()
    work = WORKS[options.work]
    with closing(each_in_pool(work.do, read_items(options.items, work), 1)) as outcomes:
        write_results(options.results, work, [outcome for _, outcome in outcomes])


def _beat(items: Path) -> None:
    while True:
        try:
            os.utime(items)
        except FileNotFoundError:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(BEAT_S)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.programs.video_batch", description="Ingest or shard some videos."
    )
    parser.add_argument("--work", choices=WORKS, required=True)
    parser.add_argument("--items", type=Path, required=True, help="file of the videos")
    parser.add_argument("--results", type=Path, required=True, help="file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
