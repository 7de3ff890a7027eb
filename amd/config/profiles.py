"""Profiles: the defaults (quickstart.yaml, as the repository's params.yaml), and what others change of them.

Input: a profile's name. Output: its parameters, or a whole params.yaml of it in which the user's `data` section
stands.
"""

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from amd.config import DEFAULT_PATH, Params, load_params, parse_params
from amd.runtime.errors import UserError
from amd.runtime.files import write_text

PROFILES = ("quickstart", "workstation", "own", "paper")
FOLDER = Path(__file__).parent / "profiles"
DEFAULTS = FOLDER / "quickstart.yaml"
ENTRY = re.compile(r"(  |)([a-z_]+):")  # a section, or a key of one


def profile_text(name: str) -> str:
    """The whole parameter file of a profile, one of PROFILES: the defaults, and the profile's lines in place of theirs.

    Lines are replaced with their comments. RuntimeError for a profile that sets what the defaults do not have.
    """
    if name == "quickstart":
        return DEFAULTS.read_text()
    head, changes = _entries((FOLDER / f"{name}.yaml").read_text())
    _, defaults = _entries(DEFAULTS.read_text())
    if strangers := changes.keys() - defaults.keys():
        raise RuntimeError(f"profile {name}: {sorted(strangers)} are not in {DEFAULTS.name}")
    lines = list(head)
    for number, (entry, kept) in enumerate(defaults.items()):
        lines += [""] * (entry.endswith(".") and number > 0) + changes.get(entry, kept)
    return "\n".join(lines) + "\n"


def _entries(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """The comment before the first blank line or section, and the lines of every `section.key`, in order.

    A section's own line is that of `section.`.
    """
    head: list[str] = []
    entries: dict[str, list[str]] = {}
    section, lines = "", head
    for line in text.splitlines():
        if match := ENTRY.match(line):
            section = section if match[1] else match[2]
            lines = entries.setdefault(f"{section}.{match[2] if match[1] else ''}", [])
        elif not line and not section:
            lines = []  # a comment of the profile's own
        if line:
            lines.append(line)
    return head, entries


def load_profile(name: str) -> Params:
    """The parameters of a profile."""
    return parse_params(profile_text(name), f"profile {name}")


def differences(params: Params, other: Params) -> dict[str, Any]:
    """What `params` says otherwise than `other`, by `section.key`."""
    ours, theirs = params.model_dump(by_alias=True), other.model_dump(by_alias=True)
    return {
        f"{section}.{key}": value
        for section, values in ours.items()
        for key, value in values.items()
        if value != theirs[section][key]
    }


def nearest_profile(params: Params) -> tuple[str, int]:
    """The profile that differs least, and in how many values; the first of equals."""
    counts = {name: len(differences(params, load_profile(name))) for name in PROFILES}
    name = min(counts, key=lambda each: counts[each])
    return name, counts[name]


def local_params() -> Params:
    """The parameters of ./params.yaml; those of the quickstart where there is none."""
    return load_params() if DEFAULT_PATH.exists() else load_profile("quickstart")


def write_profile(name: str, path: Path) -> list[str]:
    """Make `path` the profile's parameter file, keeping the `data` section of the file that is there.

    Returns a line per value that changes. UserError when the file that is there is not a parameter file; it is
    left as it is.
    """
    if not path.exists():
        write_text(path, profile_text(name))
        return [f"{path} is new"]
    before = _read(path)
    after = YAML().load(profile_text(name))  # keeps the comments
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
