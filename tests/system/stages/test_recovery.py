"""What was made half, or changed on the disk since, does not count: receipts, and a new MLflow store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clips import encode
from safetensors import SafetensorError

from amd.config.profiles import load_profile
from amd.data.ingest.manifest import ingest
from amd.data.pairs.write import write_shards
from amd.runtime.errors import UserError
from amd.runtime.files import atomic_path, write_json
from amd.runtime.receipts import SEAL, read_sealed, write_sealed

CONNECT = """
import resource, sys
from amd.runtime.errors import exit_on_user_error
from amd.runtime.tracking import connect
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
exit_on_user_error(connect)()
"""
VALUE = {"video_id": "clip-0", "pairs": 7, "median_change": 0.1 + 0.2, "reason": "größer", "shards": [{"bytes": 10240}]}


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    write_sealed(path, VALUE)
    content = path.read_bytes()
    refused = 0
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert read_sealed(path) == VALUE  # a space became a tab
        except UserError:
            refused += 1
    assert refused > 0.95 * 8 * len(content)


@pytest.mark.parametrize("value", [VALUE, [VALUE], "text", {SEAL: "0"}, {**VALUE, SEAL: None}])
def test_file_without_its_seal_is_refused(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "receipt.json", value)
    with pytest.raises(UserError, match="not as it was written"):
        read_sealed(tmp_path / "receipt.json")


def test_new_store_is_whole_or_absent(tmp_path: Path) -> None:
    """MLflow's tables take 1 MB; a disk that ends amid them leaves none, and a killed run's half is removed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AMD_"))}

    def connect(largest_file: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CONNECT, str(largest_file)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    failed = connect(300_000)
    assert failed.returncode == 2, failed.stderr
    assert failed.stderr.startswith(f"error: MLflow store sqlite:///{tmp_path}/mlflow.db: ")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]
    (tmp_path / ".mlflow.db.killed.part").write_bytes(b"SQLite format 3")
    assert connect(1 << 30).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db.lock", "mlflow.db", "mlartifacts"}


def test_folder_that_takes_no_shards_is_named_as_such(tmp_path: Path) -> None:
    """Not as three bad videos: nothing is wrong with them."""
    settings = load_profile("quickstart")
    shard = settings.shard.model_copy(update={"short_edge": None, "min_change": 0.0, "max_change": 255.0, "workers": 1})
    rows = ingest(encode(tmp_path / "clip.mp4", frames=4), settings.ingest.model_copy(update={"workers": 1}), shard)
    (tmp_path / "shards").touch()
    with pytest.raises(OSError, match="shards"):
        write_shards(rows, tmp_path / "shards", shard)


def test_full_disk_under_a_library_in_rust_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match=rf"{path}: no space left on the disk"), atomic_path(path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SafetensorError, match="header"), atomic_path(path):
        raise SafetensorError("Error while deserializing header")
