"""params.yaml as typed, validated objects: a wrong key, type or range stops a run before any work.

Each section is one class; a stage reads its own sections alone, which are also the ones that dvc.yaml
names for it, so a changed value reruns exactly the stages that it touches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from amd.config.evaluations import Features, Robustness, Semantic, Sweep
from amd.config.fused import Fused
from amd.config.motion import Motion
from amd.config.pipeline import (
    Adapt,
    Corpus,
    Data,
    Inbox,
    Ingest,
    Model,
    Objectness,
    Predict,
    Pretrain,
    Register,
    Shard,
)
from amd.config.section import Section
from amd.config.transfer import Crf, Embedding, InstanceCorpus, Transfer
from amd.runtime.errors import UserError
from amd.runtime.receipts import fingerprint

DEFAULT_PATH = Path("params.yaml")

_TRAINING = {"readers": "num_workers", "recompute": "activation_checkpointing"}
NEW_NAMES = {  # of parameters that were renamed, by section
    "pretrain": {"pairs": "batch_size", **_TRAINING},
    "embedding": {"images": "batch_size", **_TRAINING},
    "semantic": {"images": "batch_size", **_TRAINING},
    "adapt": {"pairs": "batch_size"},
}

SectionType = TypeVar("SectionType", bound=Section)


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    corpus: Corpus
    ingest: Ingest
    shard: Shard
    model: Model
    pretrain: Pretrain
    objectness: Objectness
    predict: Predict
    adapt: Adapt
    inbox: Inbox
    instance_corpus: InstanceCorpus
    embedding: Embedding
    transfer: Transfer
    crf: Crf
    fused: Fused
    motion: Motion
    robustness: Robustness
    features: Features
    semantic: Semantic
    sweep: Sweep
    register_: Register = Field(alias="register")


def load_params(path: Path | str = DEFAULT_PATH) -> Params:
    """Read and validate a parameter file.

    Raises UserError naming the first wrong key, its value and what is allowed.
    """
    try:
        return parse_params(Path(path).read_text(), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `amd profile quickstart` writes one") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None


def parse_params(text: str, origin: str) -> Params:
    """The parameters that a parameter file's text says; UserError as of load_params, naming `origin`."""
    from ruamel.yaml import YAML  # here: a registered model reads no YAML, and its environment has no ruamel
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise UserError(f"{origin}: not valid YAML ({' '.join(str(error).split())})") from None
    for section, values in (tree if isinstance(tree, dict) else {}).items():
        for old, new in NEW_NAMES.get(section, {}).items():
            if isinstance(values, dict) and old in values:
                raise UserError(f"{origin}: {section}.{old} is now {section}.{new}; rename it")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{origin}: {key} is {first['input']!r}: {first['msg']}") from None


def params_hash(params: Params) -> str:
    """SHA-256 of the parameters' values."""
    return fingerprint(params.model_dump())


def made_with(params: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section of the parameters that a checkpoint keeps, by the names that they have now."""
    names = NEW_NAMES.get(section, {})
    return {names.get(name, name): value for name, value in params.get(section, {}).items()}


def own_section(params: Mapping[str, Any], default: SectionType) -> SectionType:
    """A section of the parameters `params` that a model was made with; what is not told is the default's."""
    name = type(default).__name__.lower()
    try:
        return type(default).model_validate(default.model_dump() | made_with(params, name))
    except (ValidationError, TypeError, AttributeError) as error:
        raise UserError(f"the model's own {name} parameters are damaged ({str(error).splitlines()[0]})") from None
