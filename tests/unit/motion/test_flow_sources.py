"""Optical flow behind one function: motions that are known, files of others, networks, and what is refused."""

import struct

import cv2
import numpy as np
import pytest
import torch
from clips import write_flo
from projects import python

from amd.data.images import read_image
from amd.models.amd import AMD, Architecture
from amd.motion.flow import SMALLEST, FlowFiles, flows, inverse_search, read_flo
from amd.runtime.errors import UserError
from amd.transfer.amd_features import motion_flow

HEIGHT, WIDTH = 96, 128


def textured(shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """A smooth random picture, moved by (x, y) pixels around its edges."""
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 2)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    return np.roll(picture, (shift[1], shift[0]), (0, 1))


def inner(flow: np.ndarray) -> np.ndarray:
    return flow[16:-16, 16:-16].reshape(-1, 2)


def random_flow(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (HEIGHT, WIDTH, 2)).astype(np.float32)


def test_every_frame_has_the_flow_to_the_next_and_the_last_goes_on():
    """Pixels move by (2, 0), then by (3, 1): the last frame's flow is minus that to the frame before it."""
    frames = [textured(), textured((2, 0)), textured((5, 1))]
    found = list(flows(iter(frames), inverse_search))
    assert [flow.shape for flow in found] == [(HEIGHT, WIDTH, 2)] * 3
    for flow, expected in zip(found, [(2, 0), (3, 1), (3, 1)], strict=True):
        assert flow.dtype == np.float32
        np.testing.assert_allclose(np.median(inner(flow), axis=0), expected, atol=0.1)


def test_one_frame_alone_has_no_motion_and_no_frames_no_flow():
    only = list(flows([textured()], inverse_search))
    assert len(only) == 1
    assert only[0].shape == (HEIGHT, WIDTH, 2)
    assert not only[0].any()
    assert list(flows([], inverse_search)) == []


def test_no_more_than_two_frames_are_held():
    alive = []

    def frames():
        for number in range(6):
            frame = textured((number, 0))
            alive.append(frame)
            yield frame

    for number, _ in enumerate(flows(frames(), inverse_search)):
        assert len(alive) <= number + 2


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(UserError, match="128x96 pixels beside one of 64x96"):
        list(flows([textured(), textured()[:, :64]], inverse_search))


@pytest.mark.parametrize("size", [(1, 1), (12, 64), (64, 12), (15, 300), (SMALLEST, 200)])
def test_small_frames_do_not_end_the_process(size: tuple[int, int]):
    """OpenCV's search crashes on some low and wide frames: tried in a process of its own."""
    code = (
        "import numpy as np; from amd.motion.flow import inverse_search; "
        f"a = np.random.default_rng(0).integers(0, 256, ({size[0]}, {size[1]}, 3), np.uint8); "
        "print(inverse_search(a, np.roll(a, 1, 1)).shape)"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str((*size, 2))


def test_flo_files_of_others_are_read_as_they_are(tmp_path):
    """OpenCV is an independent writer of the format."""
    flow = random_flow(0)
    assert cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "theirs.flo"), flow)
    np.testing.assert_array_equal(read_flo(write_flo(tmp_path / "ours.flo", flow), (HEIGHT, WIDTH)), flow)


def test_files_are_a_source_by_the_names_of_the_frames(tmp_path):
    frames = [textured()] * 3
    for number in range(2):
        write_flo(tmp_path / f"{number:05d}.flo", random_flow(number))
    names = [f"{number:05d}" for number in range(100)]
    found = list(flows(frames, FlowFiles(tmp_path, names)))
    for flow, seed in zip(found, [0, 1, 1], strict=True):  # the last goes on as the one before it
        np.testing.assert_array_equal(flow, random_flow(seed))
    write_flo(tmp_path / "00002.flo", random_flow(2))
    np.testing.assert_array_equal(list(flows(frames, FlowFiles(tmp_path, names)))[2], random_flow(2))
    assert not next(flows(frames[:1], FlowFiles(tmp_path / "none", names))).any()
    with pytest.raises(UserError, match=r"00000\.flo: no such flow"):
        list(flows(frames, FlowFiles(tmp_path / "none", names)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "not a .flo file"),
        (lambda content: b"PIEH" + content[4:8], "not a .flo file"),
        (lambda content: b"\0\0\0\0" + content[4:], "not a .flo file"),
        (lambda content: content[:-1], "are not a flow of 128x96 pixels"),
        (lambda content: content + b"\0", "are not a flow of 128x96 pixels"),
        (lambda content: content[:4] + struct.pack("<ii", 96, 128) + content[12:], "flow of 96x128 pixels for a frame"),
        (lambda content: content[:4] + struct.pack("<ii", -1, 96) + content[12:], "-1x96 pixels for a frame of 128x96"),
        (lambda content: content[:12] + struct.pack("<f", np.nan) + content[16:], "unknown or not finite"),
        (lambda content: content[:12] + struct.pack("<f", 1e10) + content[16:], "unknown or not finite"),
        (lambda content: content[:12] + struct.pack("<f", -np.inf) + content[16:], "unknown or not finite"),
    ],
)
def test_files_that_are_no_flow_of_the_frame_are_named(tmp_path, change, message):
    path = write_flo(tmp_path / "bad.flo", random_flow(0))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError) as error:
        read_flo(path, (HEIGHT, WIDTH))
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_alone_cannot_ask_for_memory(tmp_path):
    path = tmp_path / "huge.flo"
    path.write_bytes(struct.pack("<fii", 202021.25, 2**31 - 1, 2**31 - 1))
    with pytest.raises(UserError, match="which no image has"):
        read_flo(path)


def test_the_motion_pathways_flow_is_at_the_frames_size_and_scale():
    """Against the network's own output: resized with aligned corners, vectors scaled as distances between corners."""
    torch.manual_seed(0)
    model = AMD(Architecture("small", 3, 4, 0.0, "small", 64, 128)).eval()
    first, second = textured(), textured((4, 0))
    found = motion_flow(model)(first, second)
    assert found.shape == (HEIGHT, WIDTH, 2)
    pixels = [torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 255 for frame in (first, second)]
    with torch.no_grad():
        dense = model(*pixels).forward_dense_flow[0].numpy()
    for (row, column), (y, x) in {(0, 0): (0, 0), (HEIGHT - 1, WIDTH - 1): (63, 127)}.items():
        scale = (WIDTH - 1) / 127, (HEIGHT - 1) / 63
        np.testing.assert_allclose(found[row, column], dense[:, y, x] * scale, rtol=1e-4, atol=1e-5)


def test_flow_of_a_real_video_brings_frames_together(shared_data):
    """Warped back along the flow, the next frame is far nearer to this one than unwarped."""
    folder = shared_data / "davis2016/JPEGImages/480p/blackswan"
    frames = [read_image(path)[::2, ::2] for path in sorted(folder.glob("*.jpg"))[:6:5]]
    flow = next(flows(frames, inverse_search))
    grid = np.stack(np.meshgrid(np.arange(flow.shape[1]), np.arange(flow.shape[0])), axis=-1).astype(np.float32) + flow
    back = cv2.remap(frames[1], grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    apart, together = (np.abs(frames[0].astype(float) - other).mean() for other in (frames[1], back))
    assert together < 0.6 * apart
