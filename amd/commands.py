"""What the commands of `amd` do: each function's arguments are its command's options (amd.cli).

Libraries are imported inside, because each command needs few and some take seconds.
"""

from pathlib import Path

from amd.errors import UserError


def segment(
    paths: list[Path], model: str, out: Path, adapt: int | None, overlay: bool, soft: bool, segment: int | None
) -> None:
    """Masks of images, frame folders and videos."""
    from amd.segment_inputs import segment_inputs

    segment_inputs(paths, model, out, adapt, overlay, soft, segment)


def score(dataset: str, root: Path, predictions: Path, json: Path | None) -> None:
    """J and F of a folder of masks."""
    from amd.evaluation.vos import run_score

    run_score(dataset, root, predictions, json)


def robustness(
    dataset: str,
    root: Path,
    model: str,
    band: float,
    blur: float,
    further: bool,
    json: Path | None,
    pictures: Path | None,
) -> None:
    """Masks of a benchmark's frames as they are and corrupted."""
    from amd.evaluation.corruptions import Strengths
    from amd.evaluation.robustness import run_robustness

    run_robustness(dataset, root, model, Strengths(band=band, blur=blur), further, json, pictures)


def features(dataset: str, root: Path, model: str, out: Path) -> None:
    """Foreground against background in a network's features."""
    from amd.evaluation.features import run_features

    run_features(dataset, root, model, out)


def objectness(model: str, shards: Path, pairs: int, json: Path | None, figure: Path | None) -> None:
    """Statistics of every segment over training frames."""
    from amd.evaluation.channels import run_objectness

    run_objectness(model, shards, pairs, json, figure)


def saliency(dataset: str, root: Path, model: str | None, predictions: Path | None, json: Path | None) -> None:
    """F-beta and MAE of a model's or of saved maps."""
    from amd.evaluation.saliency import run_saliency

    run_saliency(dataset, root, model, predictions, json)


def doctor(paths: list[Path], dataset: str | None, root: Path | None) -> None:
    """What is wrong with videos, or what there is of a benchmark."""
    if bool(paths) == bool(dataset) or bool(dataset) != bool(root):
        raise UserError("amd doctor: give paths, or --dataset with --root")
    if dataset:
        _doctor_dataset(dataset, root)
    else:
        _doctor_paths(paths)


def import_(reference: Path, out: Path) -> None:
    """The published reference's weights as a checkpoint."""
    from amd.loading import import_reference

    info = import_reference(reference, out)
    architecture = info.architecture
    print(f"{out}: {architecture.backbone}, {architecture.segments} segments, object segment {info.object_segment}")


def models_list() -> None:
    """The registered versions."""
    from amd.registry import list_models

    list_models()


def models_promote(name: str, version: str) -> None:
    """Move the champion's alias to a version."""
    from amd.registry import promote

    result = promote(name, version)
    print(f"{result.uri} is the champion: {result.reason}")


def models_pull(uri: str, out: Path) -> None:
    """A registered version's checkpoint as a file."""
    from amd.registry import pull

    print(pull(uri, out))


def profile(name: str, write: Path) -> None:
    """Write a profile's parameters and say what changes."""
    from amd.profiles import write_profile

    changes = write_profile(name, write)
    print("\n".join(changes) or f"{write} is the profile {name} already")


def _doctor_paths(paths: list[Path]) -> None:
    from amd.data.manifest import ingest
    from amd.data.validation import validation_report
    from amd.params import DEFAULT_PATH, load_params
    from amd.profiles import load_profile

    params = load_params() if DEFAULT_PATH.exists() else load_profile("quickstart")
    rows = [row for path in paths for row in ingest(path, params.ingest, params.shard)]
    print(validation_report(rows), end="")


def _doctor_dataset(dataset: str, root: Path) -> None:
    from amd.data.check import check_dataset

    print(check_dataset(dataset, root))
