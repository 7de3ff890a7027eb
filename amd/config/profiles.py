"""Profiles: whole parameter files that come with the package.

Enters: a profile's name. Leaves: its parameters, or a params.yaml of it in which the user's `data` section stands.
"""

from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from amd.config import DEFAULT_PATH, Params, load_params
from amd.runtime.errors import UserError
from amd.runtime.files import write_text

PROFILES = ("quickstart", "workstation", "paper")


def profile_path(name: str) -> Path:
    """The parameter file of a profile, one of PROFILES."""
    return Path(__file__).parent / "profiles" / f"{name}.yaml"


def load_profile(name: str) -> Params:
    """The parameters of a profile."""
    return load_params(profile_path(name))


def local_params() -> Params:
    """The parameters of ./params.yaml; those of the quickstart where there is none."""
    return load_params() if DEFAULT_PATH.exists() else load_profile("quickstart")


def write_profile(name: str, path: Path) -> list[str]:
    """Make `path` the profile's parameter file, keeping the `data` section of the file that is there.

    Returns a line per value that changes. UserError when the file that is there is not a parameter file; it is
    left as it is.
    """
    if not path.exists():
        write_text(path, profile_path(name).read_text())
        return [f"{path} is new"]
    before = _read(path)
    after = YAML().load(profile_path(name))  # keeps the comments
    for key, value in (before.get("data", {})).items():
        after["data"][key] = value
    _write(path, after)
    return list(_changes(before, after))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = YAML(typ="safe").load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}); move it away first") from None
    if not isinstance(tree, dict) or not all(isinstance(section, dict) for section in tree.values()):
        raise UserError(f"{path}: not a parameter file; move it away first")
    return tree


def _write(path: Path, tree: Mapping[str, Any]) -> None:
    text = StringIO()
    YAML().dump(tree, text)
    write_text(path, text.getvalue())


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """A line per value that differs; values are those of sections."""
    for section in [*after, *(name for name in before if name not in after)]:
        old, new = before.get(section, {}), after.get(section, {})
        for key in [*new, *(key for key in old if key not in new)]:
            if (old_value := _shown(old, key)) != (new_value := _shown(new, key)):
                yield f"{section}.{key}: {old_value} → {new_value}"


def _shown(section: Mapping[str, Any], key: str) -> str:
    if key not in section:
        return "absent"
    return "empty" if section[key] is None else str(section[key])
