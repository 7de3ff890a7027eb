"""Which videos are set aside: by what is in them, whatever their names, and stably."""

import hashlib

from amd.data.ingest.held_out import hold_out


def rows(count: int) -> list[dict]:
    digest = lambda number: hashlib.sha256(f"video {number}".encode()).hexdigest()
    return [{"video_id": f"v{number}", "sha256": digest(number), "status": "accepted"} for number in range(count)]


def aside(found: list[dict], share: float = 0.05) -> set[str]:
    hold_out(found, share)
    return {row["sha256"] for row in found if row["status"] == "held out"}


def test_the_share_is_about_what_was_asked_for_and_at_least_two():
    assert 70 <= len(aside(rows(2000))) <= 130
    assert len(aside(rows(8))) == 2
    assert aside(rows(5)) == aside(rows(2000), 0.0) == set()


def test_more_videos_set_none_aside_that_was_trained_on():
    for count in range(6, 300, 7):
        before, after = aside(rows(count)), aside(rows(count + 7))
        trained = {row["sha256"] for row in rows(count)} - before
        assert not after & trained
        assert len(after & before) >= min(len(before), len(after)) - 2  # of the two that fill up, others may come


def test_names_order_and_rejected_ones_do_not_matter():
    expected, renamed = aside(rows(40)), [row | {"video_id": "x" + row["video_id"]} for row in reversed(rows(40))]
    assert aside(renamed) == expected
    rejected = [row | {"status": "rejected", "sha256": None} for row in rows(3)]
    assert aside(rejected + rows(40)) == expected
