"""Motion evidence: flows of a stream, the network's input and file, and maps from frames."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from amd.models.evidence import (
    PACKAGED,
    EvidenceArchitecture,
    EvidenceInfo,
    EvidenceNetwork,
    load_evidence,
    save_evidence,
)
from amd.motion.dense import FlowSettings, flow_on_grid, grid_size, neighbour_flows, occluded, warp
from amd.motion.evidence import _averaged, _Logits, motion_evidence
from amd.motion.inputs import LEAST_LENGTH, channels, network_input
from amd.runtime.errors import UserError

SMALL = FlowSettings(gaps=(1, 2), short_edge=48, grid=24)


def picture(height: int = 120, width: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(count: int, step: int = 2) -> Iterator[np.ndarray]:
    """The picture moving to the right by `step` pixels a frame, 48 x 80."""
    whole = picture()
    for number in range(count):
        yield np.ascontiguousarray(whole[20:68, 60 - step * number : 140 - step * number])


def test_flow_is_in_units_of_a_frame_240_high() -> None:
    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in moving(2))
    flow = flow_on_grid(first, second, 0, (24, 40))
    assert flow.shape == (2, 24, 40)
    assert np.median(flow[0]) == pytest.approx(2 * 240 / 48, rel=0.05)
    assert abs(np.median(flow[1])) < 0.3


def test_every_frame_has_its_flows_and_ends_have_stand_ins() -> None:
    given = list(neighbour_flows(moving(6), SMALL))
    assert len(given) == 6
    assert [entry.real for entry in given[:3]] == [(False, True, False, True), (True, True, False, True), (True,) * 4]
    assert given[-1].real == (True, False, True, False)
    for entry in given:
        assert [float(np.median(flow[0])) for flow in entry.flows] == pytest.approx([-10, 10, -20, 20], rel=0.1)


def test_a_stream_holds_few_frames() -> None:
    """Frames are asked for only a little ahead of the flows that are given."""
    asked = []

    def counted() -> Iterator[np.ndarray]:
        for frame in moving(25, step=1):
            asked.append(1)
            yield frame

    for number, _ in enumerate(neighbour_flows(counted(), SMALL)):
        assert len(asked) <= number + 8


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_videos(count: int) -> None:
    given = list(neighbour_flows(moving(count), SMALL))
    assert len(given) == count
    if count == 1:
        assert not given[0].flows.any()
        assert not any(given[0].real)
    if count == 2:
        assert [float(np.median(flow[0])) for flow in given[0].flows] == pytest.approx([-10, 10, -20, 20], rel=0.1)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="80x48 pixels beside one of 60x40"):
        list(neighbour_flows([np.zeros((48, 80, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)], SMALL))


def test_the_grid_of_a_narrow_frame_is_bounded() -> None:
    assert grid_size(480, 854, 120) == (120, 214)
    assert grid_size(1920, 1080, 120) == (213, 120)
    assert grid_size(2, 4000, 120) == (1, 960)


def test_warp_and_occlusion_by_hand() -> None:
    """A map is fetched from two cells to the right; what leaves the frame, and what contradicts, is occluded."""
    ramp = np.tile(np.arange(6, dtype=np.float32), (4, 1))
    forward = np.zeros((2, 4, 6), np.float32)
    forward[0] = 2
    assert warp(ramp[None], forward)[0, 0].tolist() == [2, 3, 4, 5, 5, 5]
    assert occluded(forward, -forward)[0].tolist() == [False] * 4 + [True] * 2
    backward = -forward
    backward[0, :, 3] = 1
    assert occluded(forward, backward)[0].tolist() == [False, True, False, False, True, True]


def test_the_input_is_free_of_scale_and_of_the_camera() -> None:
    torch.manual_seed(0)
    flows = torch.zeros(1, 2, 2, 24, 40)
    flows[:, :, 0, 8:16, 10:20] = 4.0
    noise = 0.1 * torch.randn_like(flows)
    once, twice = network_input(flows + noise), network_input(3 * (flows + noise))
    assert once.shape == (1, channels(2), 24, 40)
    assert torch.allclose(once, twice, atol=0.02)
    shifted = network_input(flows + noise + torch.tensor([7.0, -5.0])[:, None, None])
    residuals = [0, 1, 2, 3, 4]
    assert torch.allclose(shifted[:, residuals], once[:, residuals], atol=0.02)
    assert once[0, 0, 8:16, 10:20].mean() > 0.8
    assert once[0, 0, :8].abs().max() < 0.2


def test_noise_is_not_enlarged() -> None:
    flows = torch.full((1, 2, 2, 24, 40), 0.0)
    flows[..., ::2] = 0.01
    values = network_input(flows)[0, [0, 1, 2, 5, 6]]
    assert values.abs().max() <= 0.02 / LEAST_LENGTH


def network(gaps: int = 2, seed: int = 0) -> tuple[EvidenceNetwork, EvidenceInfo]:
    torch.manual_seed(seed)
    architecture = EvidenceArchitecture(channels(2 * gaps), (4, 6))
    return EvidenceNetwork(architecture).eval(), EvidenceInfo(architecture, tuple(range(1, gaps + 1)), 1)


def test_a_file_gives_the_network_back(tmp_path: Path) -> None:
    made, info = network()
    save_evidence(tmp_path / "e.safetensors", made, info)
    read, again = load_evidence(tmp_path / "e.safetensors")
    assert again == info
    inputs = torch.randn(1, info.architecture.channels, 25, 39)
    assert made(inputs).shape == (1, 25, 39)
    assert torch.allclose(made(inputs), read(inputs), atol=0.02)
    save_evidence(tmp_path / "f.safetensors", read, again)
    assert (tmp_path / "e.safetensors").read_bytes() == (tmp_path / "f.safetensors").read_bytes()


def test_other_files_are_refused(tmp_path: Path) -> None:
    made, info = network()
    path = tmp_path / "e.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load_evidence(path)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a readable file"):
        load_evidence(path)
    save_file({"x": torch.zeros(1)}, path, {"format": "another"})
    with pytest.raises(UserError, match="no weights of motion evidence"):
        load_evidence(path)
    save_evidence(path, made, info)
    tensors = load_file(path)
    name = sorted(tensors)[0]
    metadata = {
        "format": "amd-evidence-1",
        "info": '{"architecture": {"channels": 30, "widths": [4, 6]}, "gaps": [1, 2]}',
    }
    save_file({**tensors, name: torch.zeros(3)}, path, metadata)
    with pytest.raises(UserError, match=f"'{name}' does not fit"):
        load_evidence(path)
    save_file(tensors, path, {**metadata, "info": '{"architecture": {"channels": 30, "widths": [99999]}, "gaps": [1]}'})
    with pytest.raises(UserError, match="cannot be"):
        load_evidence(path)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_one_map_for_every_frame(count: int) -> None:
    made, info = network()
    maps = list(motion_evidence(moving(count), made, info, SMALL))
    assert len(maps) == count
    assert all(values.shape == (24, 40) and values.dtype == np.float32 for values in maps)
    assert all((values > 0).all() and (values < 1).all() for values in maps if count > 1)
    if count == 1:
        assert not maps[0].any()


def test_maps_do_not_depend_on_what_comes_much_later() -> None:
    made, info = network()
    few, many = (list(motion_evidence(moving(count, 1), made, info, SMALL, rounds=1)) for count in (9, 14))
    assert np.allclose(few[:5], many[:5], atol=1e-5)


def test_averaging_follows_the_flow_and_ends_well() -> None:
    """A spot that moves by one cell a frame is averaged with itself: it stays as bright and as small."""
    flow = np.zeros((2, 3, 8), np.float32)
    flow[0] = 1
    spots = [np.zeros((3, 8), np.float32) for _ in range(4)]
    for number, spot in enumerate(spots):
        spot[1, 2 + number] = 6
    spots[2][0, 0] = 3  # what one frame alone says
    stream = [
        _Logits(spot, -flow if number else None, flow if number < 3 else None) for number, spot in enumerate(spots)
    ]
    averaged = [entry.logits for entry in _averaged(iter(stream))]
    assert len(averaged) == 4
    for number, spot in enumerate(averaged):
        assert spot[1, 2 + number] == pytest.approx(6)
    assert averaged[2][0, 0] == pytest.approx(1)


def test_the_networks_gaps_are_the_flows() -> None:
    made, info = network(gaps=1)
    with pytest.raises(ValueError, match="trained on flows over"):
        next(motion_evidence(moving(3), made, info, SMALL))


def test_the_packaged_network_is_small_and_finds_what_moves() -> None:
    """A square moves over a scene that moves otherwise; without the square nothing is found, nor in a black clip."""
    assert PACKAGED.stat().st_size < 3_000_000
    made, info = load_evidence()
    scene = picture(360, 600)
    square = picture(360, 600)[::-1, ::-1][:60, :60]

    def clip(with_square: bool) -> Iterator[np.ndarray]:
        for number in range(4):
            frame = np.ascontiguousarray(scene[60:300, 100 + 3 * number : 528 + 3 * number])
            if with_square:
                frame[90:150, 150 + 5 * number : 210 + 5 * number] = square
            yield frame

    for number, values in enumerate(motion_evidence(clip(True), made, info)):
        truth = np.zeros((240, 428), bool)
        truth[90:150, 150 + 5 * number : 210 + 5 * number] = True
        mask = cv2.resize(values, (428, 240)) > 0.5
        assert (mask & truth).sum() / (mask | truth).sum() > 0.6
    for frames in (clip(False), (np.zeros((240, 428, 3), np.uint8) for _ in range(3))):
        assert max((values > 0.5).mean() for values in motion_evidence(frames, made, info)) < 0.002
