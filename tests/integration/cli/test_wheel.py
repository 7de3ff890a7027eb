"""The wheel of a release: every file of the packages (weights, profiles, templates), the command and the licence."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from projects import REPOSITORY

PACKAGES = ("amd", "stages", "flows")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def test_a_wheel_has_every_file_of_the_packages_and_the_licence(tmp_path: Path):
    source = tmp_path / "source"
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    subprocess.run([sys.executable, "-c", BUILD, tmp_path], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as file:
        names = file.namelist()
        (commands,) = (file.read(name).decode() for name in names if name.endswith("entry_points.txt"))
        (licence,) = (file.read(name) for name in names if name.endswith("LICENSE"))
    wanted = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    assert {"amd/models/weights/evidence.safetensors", "amd/models/weights/photo.safetensors", "amd/py.typed"} < wanted
    assert wanted - set(names) == set()
    assert "amd = amd.cli:main" in commands
    assert licence == (REPOSITORY / "LICENSE").read_bytes()
