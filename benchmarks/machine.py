"""What a measurement was made on: processor, memory, GPU, versions, threads, load and commit."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

LIBRARIES = ("torch", "numpy", "decord", "av", "simplejpeg", "opencv-python-headless", "webdataset")


def describe() -> dict[str, Any]:
    """Everything that a reader needs to judge the numbers, as plain values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": psutil.cpu_count(logical=False),
            "threads": psutil.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "matrix_units": matrix_units(),
            "gpu": _gpu(),
        },
        "versions": {"python": platform.python_version()} | _versions(),
        "torch_threads": torch.get_num_threads(),
        "threads_in_environment": {name: os.environ[name] for name in sorted(os.environ) if name.endswith("_THREADS")},
        "load_average": list(os.getloadavg()),
    }


def commit() -> str:
    """The commit, with "+changes" when the tree differs from it; empty where there is no repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def matrix_units() -> list[str]:
    """What of the processor multiplies matrices fast, by the kernel's names."""
    wanted = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16")
    flags = _cpuinfo("flags", "Features").split()
    return [flag for flag in wanted if flag in flags]


def _gpu() -> str | None:
    """Name and memory of the GPU, if there is one."""
    if not torch.cuda.is_available():
        return None
    return f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GB"


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(*keys: str) -> str:
    """The first of `keys` in /proc/cpuinfo; empty where there is no such file or line."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue  # decord has no wheel everywhere
    return found
