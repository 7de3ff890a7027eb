"""Files of weights: equal content, equal bytes; and nothing of the content lost by ordering it."""

from pathlib import Path

import torch
from safetensors import safe_open

from amd.models.checkpoint import save_tensors

METADATA = {
    "zeta": "1",
    "format": "a-format",
    "info": '{"name": "Übung \\" \\\\ 物体", "lines": "a\\nb"}',
    "control": "\x00\x1f\x7f\u2028\b\f\t\n end  ",
    "empty": "",
}
TENSORS = {
    "z.weight": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "a.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "m.count": torch.tensor(7),
    "none": torch.empty(0, 3),
}


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    files = set()
    for number in range(16):  # the library alone gives another order nearly every time
        save_tensors(tmp_path / f"{number}.safetensors", TENSORS, METADATA)
        files.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(files) == 1


def test_content_is_read_back_by_the_library(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", TENSORS, METADATA)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == METADATA
        assert set(file.keys()) == set(TENSORS)
        for name, tensor in TENSORS.items():
            found = file.get_tensor(name)
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor)
