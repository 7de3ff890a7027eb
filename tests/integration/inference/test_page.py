"""The page of `amd demo` without a browser: what it plays, what it writes, what it takes and refuses."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import av
import numpy as np
import pytest
from clips import encode
from PIL import Image
from starlette.testclient import TestClient

from amd.config.profiles import local_params
from amd.data.images import write_deep, write_mask
from amd.draw.overlay import COLOUR
from amd.inference.choice import Choice
from amd.inference.export import EXPORTS, MaskedFrame
from amd.inference.inputs import segment_inputs
from amd.inference.page.desk import EXPORTED, KEPT, PROGRESS, ROW, Asked, Desk
from amd.inference.page.preview import HALF, LONGEST, previewed, shown_soft, stacked
from amd.inference.page.server import make_app
from amd.inference.page.work import export, segment
from amd.runtime.errors import UserError
from amd.runtime.files import read_json, write_json

LIMITS = local_params().inbox


def frame(size: tuple[int, int] = (45, 67), reason: str = "") -> MaskedFrame:
    """Red above, blue below; the probability rises from left to right, and the mask is another than its half."""
    height, width = size
    image = np.full((height, width, 3), (210, 40, 40), np.uint8)
    image[height // 2 :] = (40, 40, 210)
    soft = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    mask = (soft > 0.3) & (not reason)
    return MaskedFrame(0, "000000", 0.0, image, mask, soft, reason=reason)


def test_the_preview_has_the_frame_above_and_below_it_what_gives_the_mask_at_a_half():
    given = frame((44, 66))
    picture = stacked(given)
    assert picture.shape == (88, 66, 3)
    assert (picture[:44] == given.image).all()
    assert ((picture[44:, :, 0] > 255 * HALF) == given.mask).all()
    assert (np.diff(picture[44, :, 0].astype(int)) >= 0).all(), "a higher threshold gives no larger mask"
    assert stacked(frame((45, 67))).shape[0] % 4 == stacked(frame((45, 67))).shape[1] % 2 == 0
    assert max(stacked(frame((1500, 700)))[:, :, 0].shape) <= 2 * LONGEST
    assert not shown_soft(frame(reason="most of the frame would be masked")).any()


def test_a_photo_is_previewed_as_a_picture(tmp_path: Path):
    (given,) = previewed(iter([frame()]), tmp_path, one_image=True)
    with Image.open(tmp_path / "preview.png") as picture:
        assert (np.array(picture) == stacked(given)).all()


def job_of(folder: Path, softs: list[np.ndarray], refused: tuple[str, ...] = ()) -> Path:
    """A job that is done, of a clip with these probabilities; the clip."""
    clip = encode(folder / "clip.mp4", frames=len(softs), size=softs[0].shape[::-1])
    for number, soft in enumerate(softs):
        write_mask(folder / KEPT / f"masks/{number:06d}.png", soft > 0.7)  # the method's own, not at a half
        write_deep(folder / KEPT / f"soft16/{number:06d}.png", np.rint(soft * 65535).astype(np.uint16))
    write_json(folder / ROW, {"refused": refused})
    return clip


def test_an_export_has_the_masks_of_its_threshold_and_at_a_half_the_methods_own(tmp_path: Path):
    soft = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))
    clip = job_of(tmp_path, [soft, soft[:, ::-1]], refused=("000001",))
    wanted = {HALF: (soft > 0.7, soft[:, ::-1] > 0.7), 0.2: (soft > 0.2, soft[:, ::-1] > 0.7)}
    for threshold, masks in wanted.items():
        export(clip, tmp_path, "masks", threshold)
        (archive,) = (tmp_path / EXPORTED / f"masks@{threshold:g}").iterdir()
        with zipfile.ZipFile(archive) as files:
            read = [np.array(Image.open(files.open(f"{number:06d}.png"))) > 0 for number in range(2)]
        assert all((a == b).all() for a, b in zip(read, masks, strict=True))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=4, size=(96, 72))


def content_of(path: Path) -> bytes | list[bytes]:
    """A file's bytes; of a WebM, which has a number of its own, the frames'."""
    if path.suffix != ".webm":
        return path.read_bytes()
    with av.open(str(path)) as video:
        return [picture.to_ndarray(format="rgba").tobytes() for picture in video.decode(video=0)]


def test_exports_are_those_of_amd_segment(clip: Path, tmp_path: Path):
    job = tmp_path / "job"
    segment(clip, job, Choice(method="flow"), LIMITS)
    others = tuple(kind for kind in EXPORTS if kind != "objects")  # with which all others would tell objects apart
    for folder, kinds in (("objects", ("objects",)), ("others", others)):
        segment_inputs([clip], tmp_path / folder, method="flow", export=kinds, threads=1)
    assert read_json(job / ROW)["frames"] == 4
    assert read_json(job / PROGRESS) == {"phase": "flow", "done": 4, "total": 4, "rate": ANY}
    for kind, export_kind in EXPORTS.items():
        export(clip, job, kind, HALF)
        folder = tmp_path / ("objects" if kind == "objects" else "others") / "clip"
        (made,) = (job / EXPORTED / f"{kind}@0.5").iterdir()
        if export_kind.place.endswith("/"):
            with zipfile.ZipFile(made) as files:
                content = {name: files.read(name) for name in files.namelist()}
            assert content == {path.name: path.read_bytes() for path in (folder / kind).iterdir()}, kind
        else:
            (original,) = folder.glob(export_kind.place)
            assert made.name == f"clip-{kind}{original.suffix}"
            assert content_of(made) == content_of(original), kind


def test_motion_alone_refuses_a_photo(tmp_path: Path):
    Image.new("RGB", (32, 24)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"^a photo has no motion .* --model"):
        segment(tmp_path / "photo.png", tmp_path / "job", Choice(method="motion"), LIMITS)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One whose worker does not run: what is queued waits."""
    return Desk(tmp_path / "jobs", LIMITS.model_copy(update={"max_bytes": 1000}), Asked())


@pytest.fixture
def page(desk: Desk) -> Iterator[TestClient]:
    with TestClient(make_app(desk), base_url="http://127.0.0.1") as client:
        yield client


def test_a_file_that_is_refused_leaves_a_line_and_no_file(page: TestClient, desk: Desk, tmp_path: Path):
    for name, content, reason in (
        ("clip.mp4", bytes(1001), "clip.mp4: 1001 bytes; inbox.max_bytes is 1000"),
        ("clip.mp4", b"", "clip.mp4: an empty file"),
        ("notes.txt", b"x", "notes.txt: not a video or an image by its name; formats: "),
        ("../clip.mp4", b"x", "../clip.mp4: a name with a separator or with '..'; rename it"),
    ):
        answer = page.post("/jobs", params={"name": name}, content=content)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(reason)
    assert page.get("/jobs").json() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_jobs_wait_in_order_and_go_with_their_files(page: TestClient, tmp_path: Path):
    first, second = (
        page.post("/jobs", params={"name": name}, content=b"x").json()["id"] for name in ("a.mp4", "ö b.png")
    )
    assert [(job["id"], job["name"], job["state"], job["ahead"]) for job in page.get("/jobs").json()] == [
        (first, "a.mp4", "queued", 0),
        (second, "ö b.png", "queued", 1),
    ]
    assert page.post(f"/jobs/{first}/exports", params={"kind": "masks"}).status_code == 422, "it is not done"
    assert page.get(f"/jobs/{first}/preview").json() == {"error": f"job {first}: no preview yet"}
    page.delete(f"/jobs/{first}")
    assert [job["id"] for job in page.get("/jobs").json()] == [second]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ö b.png"]
    assert page.get(f"/jobs/{first}/preview").status_code == 422


def test_other_sites_are_refused(page: TestClient):
    assert page.get("/jobs", headers={"host": "evil.example"}).status_code == 400
    asked = {"params": {"name": "a.mp4"}, "content": b"x"}
    assert page.post("/jobs", headers={"origin": "http://evil.example"}, **asked).status_code == 403
    assert page.post("/jobs", headers={"origin": "http://127.0.0.1"}, **asked).status_code == 200


def test_the_page_is_told_what_there_is(page: TestClient):
    about = page.get("/about").json()
    assert list(about["exports"]) == list(EXPORTS)
    assert about["limits"]["bytes"] == 1000
    assert about["images"]
    assert not Asked(method="motion").takes_images  # motion alone refuses a photo
    assert tuple(about["overlay"]["colour"]) == COLOUR
    for name in ("/", "/static/style.css", "/static/viewer.js", "/static/page.js"):
        assert page.get(name).status_code == 200
