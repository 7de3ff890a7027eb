"""The training reader: coverage, mixing, exact resumption, and refusals that name what is wrong."""

import shutil
import tarfile
from collections import Counter
from itertools import groupby, islice
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import simplejpeg
import torch
import webdataset
from moving_scenes import EVERY_PAIR, clip

from amd.data.pairs import read as reader_module
from amd.data.pairs.read import WINDOW, Batch, PairReader, positions, to_float
from amd.data.pairs.shard import ShardFile, read_contents
from amd.data.pairs.transforms import PairTransform
from amd.data.pairs.write import write_shards
from amd.data.tables import INDEX, read_table, write_table
from amd.runtime.errors import UserError

TRANSFORM = PairTransform(short_edge=44, min_ratio=0.96, crop=40)
VIDEOS = 12
LENGTHS = [6 + number % 4 for number in range(VIDEOS)]  # frames: 5 to 8 pairs, in 2 shards each
PAIRS = sum(LENGTHS) - VIDEOS


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """Shards of twelve small clips."""
    videos, shards = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("shards")
    rows = []
    for number, frames in enumerate(LENGTHS):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64 + frames, 3)).astype(np.uint8)
        soft = cv2.GaussianBlur(noise, (0, 0), 2)
        rows.append(clip(videos, f"v{number}", np.stack([soft[:, i : i + 64] for i in range(frames)])))
    write_shards(rows, shards, EVERY_PAIR)
    return shards / "index.parquet"


@pytest.fixture
def own_index(index, tmp_path) -> Path:
    """A copy of the shards that a test may damage."""
    return Path(shutil.copytree(index.parent, tmp_path / "shards")) / "index.parquet"


def read(index: Path, batches: int, **options) -> list[Batch]:
    return list(islice(PairReader(index, TRANSFORM, **({"batch_size": 4, "seed": 0} | options)), batches))


def keys(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


def all_keys(index: Path) -> set[str]:
    urls = [{"url": str(index.parent / row["shard"])} for row in read_table(index, INDEX)]
    return {sample["__key__"] for sample in webdataset.tarfile_to_samples()(urls)}


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.first, other.first)
        assert torch.equal(one.second, other.second)


def test_a_batch_holds_the_augmented_pairs_of_its_keys(index):
    batch = read(index, 1)[0]
    assert batch.first.shape == batch.second.shape == (4, 40, 40, 3)
    assert batch.first.dtype == batch.second.dtype == torch.uint8
    urls = [{"url": str(path)} for path in index.parent.glob("*.tar")]
    samples = {sample["__key__"]: sample for sample in webdataset.tarfile_to_samples()(urls)}
    for key, first, second in zip(batch.keys, batch.first.numpy(), batch.second.numpy(), strict=True):
        for crop, name in ((first, "first.jpg"), (second, "second.jpg")):
            frame = cv2.resize(simplejpeg.decode_jpeg(samples[key][name]), (57, 43), interpolation=cv2.INTER_AREA)
            scores = [cv2.matchTemplate(frame, view, cv2.TM_CCOEFF_NORMED).max() for view in (crop, crop[:, ::-1])]
            assert max(scores) > 0.9
        assert (first != second).any()


def test_to_float_gives_what_networks_take(index):
    batch = read(index, 1)[0]
    first, second = to_float(batch)
    assert first.shape == second.shape == (4, 3, 40, 40)
    assert first.dtype == torch.float32
    assert first[2, 1, 7, 9].item() == pytest.approx(batch.first[2, 7, 9, 1].item() / 255)
    assert 0 <= float(second.min()) < float(second.max()) <= 1


def test_an_epoch_is_every_pair_once_and_its_tail_flows_into_the_next(index):
    assert PAIRS % 4, "the last batch of an epoch must be mixed for this test to mean anything"
    found = keys(read(index, 3 * PAIRS // 4 + 1))
    epochs = [found[start : start + PAIRS] for start in range(0, 3 * PAIRS, PAIRS)]
    for epoch in epochs:
        assert len(set(epoch)) == PAIRS
        assert set(epoch) == all_keys(index)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_seeds_differ_and_one_seed_repeats(index):
    assert_same(read(index, 6), read(index, 6))
    assert keys(read(index, 6)) != keys(read(index, 6, seed=1))


def test_an_epoch_augments_a_pair_anew(index):
    crops: dict[str, list] = {}
    for batch in read(index, 2 * PAIRS // 4):
        for key, first in zip(batch.keys, batch.first, strict=True):
            crops.setdefault(key, []).append(first)
    twice = [pair for pair in crops.values() if len(pair) == 2]
    assert len(twice) > PAIRS // 2
    assert sum(torch.equal(*pair) for pair in twice) < len(twice) / 10


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_resumed_reader_goes_on_exactly(index, workers):
    through = read(index, 60, workers=workers)  # more than three epochs
    for start in (7, 40):
        reader = PairReader(index, TRANSFORM, batch_size=4, seed=0, workers=workers, start=start)
        assert_same([next(reader) for _ in range(3)], through[start : start + 3])
        assert reader.state_dict() == {"batches": start + 3}  # not those that workers hold ready
    if workers:
        assert_same(through, read(index, 60, workers=workers))
    if workers == 1:
        assert_same(through[:5], read(index, 5))  # as without any


def test_reading_leaves_torchs_random_state_alone(index):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    read(index, 3)
    read(index, 1, workers=1)
    assert torch.equal(torch.rand(4), expected)


def test_skipping_decodes_nothing_and_opens_no_finished_shard(index, monkeypatch):
    decoded, opened = [], []
    decode, read_contents = simplejpeg.decode_jpeg, reader_module.read_contents
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda jpeg: decoded.append(1) or decode(jpeg))
    monkeypatch.setattr(reader_module, "read_contents", lambda path: opened.append(path) or read_contents(path))
    read(index, 1, start=1000 * PAIRS // 4 - 1)
    assert len(decoded) == 2 * 4
    assert len(opened) <= 8


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_parts_share_each_epoch_without_overlap(ranks, workers):
    counts = np.array([5, 31, 1, 8, 4, 16, 100, 7])
    parts = ranks * workers
    for epoch in (0, 1, 5):
        seen: Counter = Counter()
        shards_of_parts = []
        for part in range(parts):
            own = [(p.shard, p.number) for p in of_epoch(counts, part, parts, epoch)]
            seen.update(own)
            shards_of_parts.append({shard for shard, _ in own})
        assert seen == Counter((shard, number) for shard in range(8) for number in range(counts[shard]))
        assert sum(len(shards) for shards in shards_of_parts) == 8


def of_epoch(counts, part, parts, epoch) -> list:
    """The positions of one epoch, found by reading from the beginning."""
    found = []
    for position in positions(counts, 0, part, parts, 0):
        if position.epoch > epoch:
            return found
        if position.epoch == epoch:
            found.append(position)


def test_ranks_read_other_shards(index):
    halves = [{key.rsplit("-", 1)[0] for key in keys(read(index, 8, rank=rank, world_size=2))} for rank in (0, 1)]
    found = [set(keys(read(index, PAIRS // 4 // 2 - 2, rank=rank, world_size=2))) for rank in (0, 1)]
    assert all(len(half) > 4 for half in halves)
    assert not found[0] & found[1]


def test_epochs_and_seeds_deal_and_order_the_shards_anew():
    counts = np.full(48, 31)
    orders = []
    for seed in (0, 1):
        for epoch, part in islice(groupby(positions(counts, seed, 0, 2, 0), lambda p: p.epoch), 3):
            shards = list(dict.fromkeys(p.shard for p in part))
            assert len(shards) == 24, epoch
            orders.append(shards)
    assert len({tuple(order) for order in orders}) == 6
    assert len({frozenset(order) for order in orders}) == 6


@pytest.mark.parametrize("parts", [1, 2])
def test_a_batch_of_eight_mixes_eight_of_48_videos(parts):
    """One shard per video, of 31 pairs, as the built-in corpus has them."""
    counts = np.full(48, 31)
    shards = [p.shard for p in islice(positions(counts, 0, 0, parts, 0), 4 * 48 * 31 // parts)]
    distinct = [len(set(shards[start : start + 8])) for start in range(0, len(shards) - 7, 8)]
    assert np.mean(np.array(distinct) == 8) > 0.95


def test_samples_of_a_shard_are_shuffled_within_the_window():
    numbers = [p.number for p in islice(positions(np.array([200]), 0, 0, 1, 0), 200)]
    assert sorted(numbers) == list(range(200))
    assert all(number < place + WINDOW for place, number in enumerate(numbers))  # what memory must hold
    assert np.mean(np.abs(np.diff(numbers)) == 1) < 0.2


def test_every_shard_is_open_only_while_it_is_read(index, monkeypatch):
    monkeypatch.setattr(reader_module, "OPEN_SHARDS", 3)
    shards = {path.resolve() for path in index.parent.glob("*.tar")}
    most = 0
    reader = PairReader(index, TRANSFORM, batch_size=1, seed=0)
    for _ in range(2 * PAIRS):
        next(reader)
        most = max(most, sum(Path(each.path) in shards for each in psutil.Process().open_files()))
    assert most == 3
    assert len(shards) > 3


def test_contents_are_read_once(index, monkeypatch):
    opened = []
    read_contents = reader_module.read_contents
    monkeypatch.setattr(reader_module, "read_contents", lambda path: opened.append(path) or read_contents(path))
    read(index, 3 * PAIRS // 4)
    assert sorted(opened) == sorted(path.resolve() for path in index.parent.glob("*.tar"))


def test_pictures_are_those_of_webdataset(index):
    for path in index.parent.glob("*.tar"):
        contents = read_contents(path)
        file = ShardFile(path, contents)
        samples = list(webdataset.tarfile_to_samples()([{"url": str(path)}]))
        assert len(contents.keys) == len(samples)
        for number, sample in enumerate(samples):
            assert file.read(number) == (sample["__key__"], sample["first.jpg"], sample["second.jpg"])
        file.close()


def test_a_member_that_claims_more_than_there_is(tmp_path):
    header = tarfile.TarInfo("v-0.first.jpg")
    header.size = 1 << 40
    (tmp_path / "v.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(UserError, match=r"v\.tar: the shard is damaged \(it ends early\)"):
        read_contents(tmp_path / "v.tar")


def test_fewer_shards_than_readers(index):
    shards = len(read_table(index, INDEX))
    assert shards == 2 * VIDEOS
    with pytest.raises(UserError, match=r"24 shards .* 5 processes x 5 workers; .*pairs_per_shard") as error:
        read(index, 1, world_size=5, workers=5)
    assert "\n" not in str(error.value)
    assert len(read(index, 1, world_size=24, rank=23)) == 1


def test_an_index_without_shards_and_no_index(tmp_path):
    write_table(tmp_path / "index.parquet", INDEX, [])
    with pytest.raises(UserError, match="0 shards"):
        read(tmp_path / "index.parquet", 1)
    with pytest.raises(UserError, match="no such table"):
        read(tmp_path / "none.parquet", 1)


def test_a_truncated_or_missing_shard_is_named_at_the_start(own_index):
    shard = own_index.parent / "v3-00001.tar"
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"v3-00001\.tar: the shard is damaged: \d+ bytes, not \d+;"):
        read(own_index, 1)
    shard.unlink()
    with pytest.raises(UserError, match=r"v3-00001\.tar: the shard is missing"):
        read(own_index, 1)


def test_an_index_may_not_point_elsewhere(own_index):
    rows = read_table(own_index, INDEX)
    rows[0]["shard"] = f"../shards/{rows[0]['shard']}"
    write_table(own_index, INDEX, rows)
    with pytest.raises(UserError, match="damaged"):
        read(own_index, 1)


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    """Change a file's bytes but not its size, so that only reading it can tell."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new.ljust(len(old), b"\0")))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_with_its_shard_and_key(own_index, workers):
    overwrite(own_index.parent / "v3-00001.tar", b"\xff\xd8\xff", b"")
    with pytest.raises(UserError, match=r"v3-00001\.tar: .*sample v3-0000000\d: [^\n]*$"):
        read(own_index, 40, workers=workers)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"-00000005.second.jpg", b"-00000005.third.jpg", "sample v3-00000005 has no second.jpg"),
        (b"ustar", b"none", r"the shard is damaged \("),
    ],
)
def test_a_damaged_tar_is_named(own_index, old, new, reason):
    overwrite(own_index.parent / "v3-00001.tar", old, new)
    with pytest.raises(UserError, match=rf"v3-00001\.tar: .*{reason}"):
        read(own_index, 40)


def test_a_shard_of_fewer_samples_than_the_index_says(own_index):
    rows = read_table(own_index, INDEX)
    rows[5]["samples"] += 1
    write_table(own_index, INDEX, rows)
    with pytest.raises(UserError, match=rf"{rows[5]['shard']}: .*ends early"):
        read(own_index, 40)
