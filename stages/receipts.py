"""Receipts of predictions: which sequence was finished from what, so that nothing stale is kept.

`<out>/done/<dataset>/<sequence>.json` is written after a video's last prediction. It counts while all that the
predictions were made from is the same, to the byte: checkpoint, settings, frames, code.
"""

import shutil
from pathlib import Path
from typing import Any

import amd
from amd.config import Section
from amd.data.benchmarks.davis import Sequence, is_folder, visible_names
from amd.data.benchmarks.predictions import prediction_path
from amd.runtime.errors import UserError
from amd.runtime.files import remove_half_written, sha256
from amd.runtime.receipts import fingerprint, standing, write_sealed
from stages.owned import files_below

SCHEDULING = {"runner", "workers", "threads", "timeout_s", "retries"}  # settings that say how, not what, is computed
KINDS = ("masks", "segments")  # folders of a model's predictions
MOVING = ("fused", "motion")  # what moves and looks like an object, and what moves (amd.inference.fused)
ADAPTED = (*KINDS, *MOVING)
CODE = ("models/*.py", "motion/*.py", "training/*.py", "inference/*.py", "data/images.py")


def origin(
    checkpoint_sha256: str, sequence: Sequence, settings: Section, fused: Section | None = None
) -> dict[str, str]:
    """Hashes of all that the predictions of an adapted video are made from."""
    return {
        "checkpoint": checkpoint_sha256,
        "settings": fingerprint(settings.model_dump(exclude=SCHEDULING)),
        "frames": fingerprint([[frame.name, sha256(frame.image)] for frame in sequence.frames]),
        "code": code_hash(),
        **({"fused": fingerprint(fused.model_dump())} if fused else {}),
    }


def code_hash() -> str:
    """Hash of the library's files that adapt and segment a video."""
    root = Path(amd.__file__).parent
    files = sorted(path for pattern in CODE for path in root.glob(pattern))
    return fingerprint([[str(path.relative_to(root)), sha256(path)] for path in files])


def read_receipt(
    out: Path, sequence: Sequence, made_from: dict[str, str], kinds: tuple[str, ...] = KINDS
) -> dict[str, Any] | None:
    """The receipt of a video that is finished, with its predictions as they were; None when it is to be done."""
    path, found = receipt_path(out, sequence.dataset, sequence.name), _predictions_hash(out, sequence, kinds)
    return standing(path, "origin", {**made_from, "predictions": found}) if found else None


def write_receipt(
    out: Path,
    sequence: Sequence,
    made_from: dict[str, str],
    figures: dict[str, float],
    kinds: tuple[str, ...] = KINDS,
) -> None:
    """Declare a video finished, whose predictions are all there."""
    whole = {**made_from, "predictions": _predictions_hash(out, sequence, kinds)}
    write_sealed(receipt_path(out, sequence.dataset, sequence.name), {"origin": whole, **figures})


def discard(out: Path, dataset: str, name: str) -> None:
    """Remove a video's receipt, then its predictions; UserError for a file among them that is none."""
    folders = [folder / name for folder in _prediction_folders(out, dataset, ADAPTED) if (folder / name).is_dir()]
    for path in (path for folder in folders for path in files_below(folder)):
        if path.suffix not in (".png", ".part"):
            raise UserError(f"{path}: not made by the pipeline, but where it removes files; move it away")
    receipt_path(out, dataset, name).unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def discard_others(out: Path, dataset: str, names: set[str]) -> list[str]:
    """Remove the videos of `dataset` that are not in `names`; gives their names."""
    folders = [folder for folder in _prediction_folders(out, dataset, ADAPTED) if is_folder(folder)]
    done = receipt_path(out, dataset, "any").parent
    remove_half_written(done)
    receipts = {name.removesuffix(".json") for name in visible_names(done)} if is_folder(done) else set()
    strays = sorted({name for folder in folders for name in visible_names(folder)} | receipts)
    removed = [name for name in strays if name not in names]
    for name in removed:
        discard(out, dataset, name)
    return removed


def receipt_path(out: Path, dataset: str, name: str) -> Path:
    """Where the receipt of sequence `name` lies."""
    return out / "done" / dataset / f"{name}.json"


def _predictions_hash(out: Path, sequence: Sequence, kinds: tuple[str, ...]) -> str | None:
    """Hash of all masks and label maps of a video; None when one is not there."""
    folders = _prediction_folders(out, sequence.dataset, kinds)
    paths = (prediction_path(folder, sequence.name, frame.name) for folder in folders for frame in sequence.frames)
    try:
        return fingerprint([sha256(path) for path in paths])
    except OSError:
        return None


def _prediction_folders(out: Path, dataset: str, kinds: tuple[str, ...]) -> list[Path]:
    return [out / kind / dataset for kind in kinds]
