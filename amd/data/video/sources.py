"""Which sources a path names: video files, frame folders, or the lines of a split file.

Input: a path from a user. Output: sources in a fixed order, each with an id of its own. What plainly cannot
be read (a link loop, a locked folder, a bad line) is a source too, with its `problem`, so that it is reported
and stops nothing. Of a folder, files of other formats and what `amd segment` made are left out, and that is said.
An image that moves (WebP, AVIF, PNG, HEIC) is a video.

A split file (.txt, UTF-8) has a line per video. A line that as a whole names an existing file or folder means
all of it, blanks and all. Otherwise it is a folder, blank space, and the names of its frames in order; of a
folder with blanks in its name, the shortest beginning of the line that is a folder. Relative paths start at
the split file's own folder. Frame names are plain file names, without separators.
"""

import hashlib
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from amd.data.video import animation
from amd.data.video.animation import is_animated
from amd.data.video.decode import Source
from amd.runtime.errors import UserError, printable
from amd.runtime.files import read_json

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".gif", ".mpg",
    ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ts", ".m2ts", ".mts", ".wmv", ".asf", ".flv", ".ogv", ".ogm",
    ".mxf", ".ivf", ".y4m", ".rm", ".rmvb", ".dv",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".dib", ".webp",
    ".avif", ".heic", ".heif", ".hif", ".tif", ".tiff", ".tga", ".jp2", ".j2k", ".jpx", ".jpf",
})  # fmt: skip
RECEIPT = "receipt.json"  # in every folder that `amd segment` makes
NAMED = 5  # files or folders in a note; the others are counted
SLUG_LENGTH = 48  # characters of a path that stay readable in a video id


def find_inputs(path: Path, report: Callable[[str], None] | None = None) -> list[Source]:
    """Find the sources that `path` names; see the module's text for the rules.

    Folders are searched recursively, hidden names left out. `report` is told in a line what else is left out; by
    default on stderr. UserError when `path` does not exist, is a split file that cannot be read, or names nothing at
    all.
    """
    path = Path(path)
    if not _exists(path):
        raise UserError(f"{path}: no such file or folder; give a video, a folder of videos or a split file")
    if path.is_dir():
        search = _Search(path)
        sources = list(search.sources(path))
        for note in search.notes():
            (report or _say)(note)
    elif path.suffix.lower() == ".txt":
        sources = list(_split_lines(path))
    else:
        sources = [_source(path, path.name)]
    if not sources:
        raise UserError(f"{path}: no video and no frame folder in it; formats: {_formats()}")
    return _distinct(sources)


def video_id(name: str, line: str = "") -> str:
    """A readable id of A-Za-z0-9_- for a relative path: the end of it in ASCII, and a short hash of it all.

    `line` is the line of a split file, hashed too: it may take some frames of a folder, another line others.
    """
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", ascii_text).strip("_")[-SLUG_LENGTH:].strip("_")
    digest = hashlib.sha256(f"{name}\n{line}".encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{slug or 'video'}-{digest}"


def natural_key(name: str) -> tuple:
    """Sorts frame2 before frame10; names equal but for leading zeros keep a fixed order."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts], name


class _Search:
    """One search of a folder and of the folders in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: dict[Path, Path] = {}  # real folders that were read, each with the path by which
        self.results: list[str] = []  # folders that amd segment made
        self.others: list[str] = []  # files of other formats

    def sources(self, folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Source]:
        """The sources in a folder; `above` has the real folders that hold it."""
        name = _relative(folder, self.root)
        real = folder.resolve()
        if real in above:
            yield _source(folder, name, (), "a symbolic link that leads back to a folder around it")
            return
        if real in self.seen:
            yield _source(folder, name, (), f"a symbolic link to {self.seen[real]}, which is read already")
            return
        if folder != self.root and is_result(folder):
            self.results.append(name)
            return
        self.seen[real] = folder
        try:
            children = sorted(folder.iterdir(), key=lambda child: natural_key(child.name))
            folders = {child for child in children if child.is_dir()}
        except OSError as error:
            yield _source(folder, name, (), f"the folder is not readable ({error.strerror})")
            return
        shown = [child for child in children if not child.name.startswith(".")]
        images = [child for child in shown if child not in folders and _is_image(child)]
        if images:
            yield _source(folder, name, tuple(image.name for image in images))
        known = {*images}
        for child in shown:
            if child in folders:
                yield from self.sources(child, above | {real})
            elif child not in known:
                yield from self._file(child)

    def _file(self, path: Path) -> Iterator[Source]:
        """The source that a file is which is no image."""
        if path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
            yield _source(path, _relative(path, self.root))
        else:
            self.others.append(_relative(path, self.root))

    def notes(self) -> Iterator[str]:
        """What was left out, a line for each reason."""
        if self.results:
            yield f"{self.root}: left out {_count(self.results, 'folder')} made by amd segment: {_named(self.results)}"
        if self.others:
            yield f"{self.root}: left out {_count(self.others, 'file')} of other formats: {_named(self.others)}"


def is_result(folder: Path) -> bool:
    """Whether `amd segment` made a folder: its receipt lies in it."""
    try:
        receipt = read_json(folder / RECEIPT) if (folder / RECEIPT).is_file() else None
    except (UserError, OSError, RecursionError):
        return False
    return isinstance(receipt, dict) and isinstance(receipt.get("key"), dict) and "path" in receipt["key"]


def is_one_image(path: Path) -> bool:
    """Whether a file is an image that does not move, by its name and its header."""
    return path.is_file() and _is_image(path)


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES and not (suffix in animation.SUFFIXES and path.is_file() and is_animated(path))


def _split_lines(split: Path) -> Iterator[Source]:
    try:
        text = split.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{split}: not a readable split file of UTF-8 text ({error})") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line := line.strip():
            yield _split_line(split.parent, line, f"line {number} of {split.name}")


def _split_line(base: Path, line: str, where: str) -> Source:
    """The source of one line of a split file; `base` is the folder of that file."""
    if "\0" in line:
        return _source(base, line, (), f"{where}: not text")
    if _exists(base / line):
        return _whole(base / line, line, where)
    for blank in re.finditer(r"\s+", line):
        folder, names = base / line[: blank.start()], tuple(line[blank.end() :].split())
        if _exists(folder) and folder.is_dir():
            bad = next((name for name in names if not is_plain_frame(name)), None)
            problem = "" if bad is None else f"{where}: {bad!r} is not a plain frame name"
            return _source(folder, line[: blank.start()], names if bad is None else (), problem, line)
    return _source(base / line.split()[0], line, (), f"{where}: no such file or folder")


def _whole(path: Path, line: str, where: str) -> Source:
    """A line that names a video file, or a folder whose images are all meant."""
    if not path.is_dir():
        return _source(path, line)
    try:
        names = [child.name for child in path.iterdir() if not child.name.startswith(".") and _is_image(child)]
    except OSError as error:
        return _source(path, line, (), f"{where}: the folder is not readable ({error.strerror})")
    frames = sorted(names, key=natural_key)
    return _source(path, line, tuple(frames), "" if frames else f"{where}: no images in this folder")


def _source(path: Path, name: str, frames: tuple[str, ...] | None = None, problem: str = "", line: str = "") -> Source:
    """A source with its problem, where one is known, and its id, made of `name` and `line`."""
    if not problem and not all(_is_text(text) for text in (str(path), *(frames or ()))):
        problem = "a name that is not UTF-8; rename it"
    elif not problem and frames is None and not path.exists():
        problem = "a symbolic link to nothing"
    elif not problem and frames is None and not path.is_file():
        problem = "not a regular file"
    return Source(video_id(name, line), path, frames, problem)


def _distinct(sources: list[Source]) -> list[Source]:
    """The same line twice in a split file would be one id twice: the later ones are numbered."""
    times: dict[str, int] = {}
    distinct = []
    for source in sources:
        count = times[source.video_id] = times.get(source.video_id, 0) + 1
        distinct.append(source if count == 1 else replace(source, video_id=f"{source.video_id}-{count}"))
    return distinct


def _relative(path: Path, root: Path) -> str:
    return root.resolve().name if path == root else path.relative_to(root).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a locked folder, or a line of frame names longer than a file name may be
        return False


def is_plain_frame(name: str) -> bool:
    """Whether a frame's name can only be that of an entry of its folder."""
    return name not in (".", "..") and not re.search(r"[/\\\0]", name)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun}{'s' * (len(names) != 1)}"


def _named(names: list[str]) -> str:
    """The first of some names, which come from strangers, and how many more there are."""
    return ", ".join(map(printable, names[:NAMED])) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)


def _say(note: str) -> None:
    print(note.encode(errors="replace").decode(), file=sys.stderr)


def _formats() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES))
