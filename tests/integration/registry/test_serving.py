"""A served model over HTTP: `mlflow models serve` as the documentation has it, with pictures, videos and nonsense."""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from backends import HOST, answers, free_ports
from clips import encode
from PIL import Image
from projects import REPOSITORY
from registering import expected, images, make_checkpoint
from waiting import wait_for

from amd.data.images import encode_png, read_image
from amd.inference.segmenter import Segmenter
from amd.registry.packaging import save_pyfunc

DOCUMENT = REPOSITORY / "docs/registry.md"


class Served(NamedTuple):
    """A server, its checkpoint, and the folder that it may read."""

    url: str
    checkpoint: Path
    folder: Path

    def post(self, **body: Any) -> tuple[int, dict]:
        """Status and answer of a request."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/invocations", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def documented(word: str) -> str:
    """The block of the documentation that has a word in it."""
    return next(block for block in re.findall(r"```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if word in block)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The documented command, on a free port."""
    folder = tmp_path_factory.mktemp("served")
    checkpoint = make_checkpoint(folder / "amd.safetensors", seed=0)
    save_pyfunc(checkpoint, folder / "champion")
    (folder / "readable").mkdir()
    (port,) = free_ports(1)
    command = documented("mlflow models serve").replace("5001", str(port)).replace("--timeout 60", "--timeout 300")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "AMD_SERVE_FOLDER": str(folder / "readable")}
    served = Served(f"http://{HOST}:{port}", checkpoint, folder / "readable")
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, shell=True, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: answers(f"{served.url}/ping") or server.poll() is not None, 300)
        assert server.poll() is None, (folder / "server.log").read_text()
        yield served
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    assert "Traceback" not in (folder / "server.log").read_text()


def text(content: bytes | Path) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else content.read_bytes()).decode()


def picture(encoded: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def masks(frames: list[dict]) -> list[np.ndarray]:
    return [picture(frame["mask"]) == 255 for frame in frames]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is not installed")
def test_the_documented_line_gives_the_mask(served: Served, tmp_path: Path):
    Image.fromarray(images((480, 854))[0]).save(tmp_path / "photo.jpg")
    line = documented("curl").replace("http://127.0.0.1:5001", served.url)
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    _, mask = expected(served.checkpoint, read_image(tmp_path / "photo.jpg"))
    assert 0 < (mask == 255).mean() < 1
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), mask)
    _, answer = served.post(inputs=[text(tmp_path / "photo.jpg")])
    assert len(json.dumps(answer)) < 50_000


def test_lists_of_mixed_sizes_and_data_frames(served: Served):
    given = images((60, 80), (97, 41))
    texts = [text(encode_png(image)) for image in given]
    wanted = [expected(served.checkpoint, image) for image in given]
    for body in (
        {"inputs": [texts[0], f"data:image/png;base64,{texts[1]}"]},
        {"dataframe_split": {"columns": ["image"], "data": [[one] for one in texts]}},
        {"dataframe_records": [{"image": one} for one in texts]},
    ):
        status, answer = served.post(**body)
        assert status == 200, answer
        for record, (_, mask) in zip(answer["predictions"], wanted, strict=True):
            assert record.keys() == {"mask"}
            np.testing.assert_array_equal(picture(record["mask"]), mask)
    _, answer = served.post(inputs=texts, params={"soft": True})
    for record, (soft, _) in zip(answer["predictions"], wanted, strict=True):
        np.testing.assert_array_equal(picture(record["soft"]), np.rint(soft[3] * 255))


def test_a_video_by_motion_and_a_file_by_the_model(served: Served):
    clip = encode(served.folder / "clip.mp4", frames=6)
    _, answer = served.post(inputs=[text(clip), "file:clip.mp4"])
    moving = list(Segmenter.from_pretrained(method="motion").segment_video(clip))
    for record in answer["predictions"]:
        assert [frame["timestamp"] for frame in record["frames"]] == [frame.timestamp for frame in moving]
        assert [frame["confidence"] for frame in record["frames"]] == [frame.confidence for frame in moving]
        np.testing.assert_array_equal(masks(record["frames"]), [frame.mask for frame in moving])
    _, answer = served.post(inputs=[f"file://{clip}"], params={"method": "amd"})
    wanted = [frame.mask for frame in Segmenter.from_pretrained(str(served.checkpoint)).segment_video(clip)]
    assert any(mask.any() for mask in wanted)
    np.testing.assert_array_equal(masks(answer["predictions"][0]["frames"]), wanted)


def test_what_is_refused_gets_one_line(served: Served, tmp_path: Path):
    secret = encode(tmp_path / "secret.mp4", frames=2)
    (served.folder / "link.mp4").symlink_to(secret)
    large = io.BytesIO()
    Image.new("1", (5000, 5000)).save(large, "PNG")
    good = text(encode_png(images((60, 80))[0]))
    for inputs, params, reason in (
        (["ä" * 100], {}, "not base64; send base64 of a PNG, a JPEG or a video, or file:NAME"),
        ([text(b"no picture")], {}, "neither a PNG nor a JPEG, and as a video: not a readable video"),
        ([text(base64.b64decode(good)[:60])], {}, "not a readable image"),
        ([text(large.getvalue())], {}, "5000x5000 is 25000000 pixels; the server's max_pixels is 16777216"),
        ([f"file:{secret}"], {}, "no such file below the folder that this server reads"),
        (["file:../served0/amd.safetensors"], {}, "no such file below the folder that this server reads"),
        (["file:link.mp4"], {}, "no such file below the folder that this server reads"),
        ([good], {"method": "magic"}, "method 'magic': choose of motion, fused, amd"),
        ([good], {"method": "motion"}, "a photo has no motion"),
        ([[[1, 2], [3, 4]]], {}, "an image has shape H,W,3"),
    ):
        status, answer = served.post(inputs=inputs, params=params)
        assert status == 400, answer
        assert reason in answer["message"]
        assert "\n" not in answer["message"]
        assert len(answer["message"]) < 300
        assert "stack_trace" not in answer
    assert served.post(inputs=[good])[0] == 200  # and goes on
