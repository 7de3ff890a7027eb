"""Pictures and figures of the report by hand: flow colours, overlays, the frames that are shown, curves."""

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reports import HEIGHT, WIDTH, decoded, segment_row, shifted_j, write_project
from torch.nn import functional as F

from amd.data.benchmarks.davis import davis2016
from amd.data.images import write_image
from amd.draw.colours import colour_wheel, flow_colours
from amd.draw.plots import POINTS, thinned
from amd.models.loading import open_model
from amd.report.page import choice_in_words
from amd.report.pictures import (
    FALSE_ALARM,
    HIT,
    MISS,
    OUTLINE,
    WIDEST,
    draw_errors,
    draw_truth,
    file_uri,
    picture_sequence,
    representatives,
)
from amd.runtime.errors import UserError


def test_segment_flow_is_the_models_in_pixels_of_the_frame(tmp_path: Path):
    write_project(tmp_path)
    model, info = open_model(tmp_path / "models/amd.safetensors")
    bee = davis2016(tmp_path / "heldout")[1]
    shown = picture_sequence(bee, {"adapted": tmp_path / "predictions/adapted"}, "adapted", model, info)
    assert [frame.name for frame in shown.frames] == ["00002", "00003", "00001"]
    assert shown.curves["adapted"] == pytest.approx([shifted_j(shift) for shift in (2, 5, 3, 4)])
    lengths = []
    for frame in shown.frames:
        pair = []
        for number in (int(frame.name), int(frame.name) + 1):
            image = np.array(Image.open(bee.frames[number].image))
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            size = (32, round(32 * WIDTH / HEIGHT))
            pair.append(F.interpolate(pixels, size, mode="bilinear", antialias=True) / 255)
        with torch.no_grad():
            flow = model(*pair).forward_flows[0]
        flow = flow * torch.tensor([WIDTH / 128, HEIGHT / 128]).view(1, 2, 1, 1)
        flow = F.interpolate(flow, (HEIGHT, WIDTH), mode="bilinear")[0].numpy()
        lengths.append(np.hypot(*flow).max())
        picture = decoded(frame.pictures["flow"]).astype(int)
        assert np.abs(picture - flow_colours(flow, shown.longest_flow)).mean() < 4  # JPEG, 8-bit resizing
    assert shown.longest_flow == pytest.approx(max(lengths), rel=0.02)


def test_flow_colours_agree_with_colorsys():
    flow = np.random.default_rng(1).normal(size=(2, 5, 7))
    lengths = np.hypot(*flow)
    coloured = flow_colours(flow, lengths.max())
    for y, x in np.ndindex(5, 7):
        hue = np.arctan2(flow[1, y, x], flow[0, y, x]) / (2 * np.pi) % 1
        wanted = 255 * np.array(colorsys.hsv_to_rgb(hue, lengths[y, x] / lengths.max(), 1))
        assert np.abs(coloured[y, x] - wanted).max() <= 0.5 + 1e-6
    assert (flow_colours(np.array([[[9.0]], [[0.0]]]), 2.0) == (255, 0, 0)).all()  # farther than full colour


def test_no_flow_is_white_whatever_the_scale():
    assert (flow_colours(np.zeros((2, 3, 3)), 0.0) == 255).all()


def test_the_wheel_is_a_disc_of_all_directions():
    wheel = colour_wheel(101)
    assert wheel.shape == (101, 101, 4)
    assert wheel[50, 50].tolist() == [255, 255, 255, 255]
    assert wheel[0, 0, 3] == 0
    assert np.abs(wheel[50, 99].astype(int) - [255, 0, 0, 255]).max() < 10
    assert np.abs(wheel[50, 1].astype(int) - [0, 255, 255, 255]).max() < 10


def test_representatives():
    assert representatives([0.5, 0.9, 0.1, 0.7, 0.6]) == {2: "worst", 4: "median", 1: "best"}
    assert list(representatives([0.5, 0.9, 0.1])) == [2, 0, 1]
    assert representatives([0.4, 0.2]) == {1: "worst", 0: "best"}
    assert representatives([0.4]) == {0: "only"}


def test_overlays_keep_what_they_should():
    image = np.full((20, 30, 3), 200, np.uint8)
    truth, mask = np.zeros((2, 20, 30), bool)
    truth[5:15, 5:15], mask[5:15, 10:20] = True, True
    shown = draw_truth(image, truth)
    assert (shown[10, 10] == 200).all()  # the object as it is
    assert (shown[2, 25] == 70).all()  # the rest dark
    assert np.abs(shown[5, 10].astype(int) - OUTLINE).max() < 20  # smoothed
    errors = draw_errors(image, mask, truth)
    for column, colour in ((7, MISS), (12, HIT), (17, FALSE_ALARM)):
        assert errors[10, column].tolist() == [int(0.4 * 140 + 0.6 * value) for value in colour]
    assert (image == 200).all()


def test_long_curves_are_averaged_down():
    values = np.arange(10 * POINTS, dtype=float)
    assert thinned(values).tolist() == [4.5 + 10 * n for n in range(POINTS)]
    values[:10] = np.nan
    values[10] = np.nan
    short = thinned(values)
    assert np.isnan(short[0])
    assert short[1] == 15.0  # the mean of 11 to 19
    assert thinned([1, 2]).tolist() == [1, 2]


def test_the_choice_in_words():
    rows = [segment_row(0, 1.5), segment_row(1, 9.0, area=0.005), segment_row(2, 3.0)]
    words = choice_in_words(rows, 2)
    assert "Segment 2 moves 3.00 px" in words
    assert "segment 0, 1.50 px" in words  # segment 1 is all but empty
    assert "no other segment is a candidate" in choice_in_words(rows[1:], 2)


def test_files_are_embedded_and_large_ones_shrunk(tmp_path: Path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (400, 2 * WIDEST, 3), dtype=np.uint8)
    write_image(tmp_path / "small.png", small)
    write_image(tmp_path / "large.png", large)
    assert (decoded(file_uri(tmp_path / "small.png")) == small).all()
    shrunk = decoded(file_uri(tmp_path / "large.png"))
    assert shrunk.shape == (200, WIDEST, 3)
    assert abs(shrunk.mean() - large.mean()) < 2
    (tmp_path / "small.png").write_bytes(b"PNG")
    with pytest.raises(UserError, match=r"small\.png: not a readable image"):
        file_uri(tmp_path / "small.png")
