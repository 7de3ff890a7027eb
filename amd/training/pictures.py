"""What a pretraining looks like while it runs: pictures of its batches.

Input: the model and a batch. Output: a picture with a row per frame pair: both frames, the first one's soft masks,
segment flow, the first frame as predicted from the second, and what was visible for that.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from amd.data.pairs.read import Batch, to_float
from amd.draw.colours import flow_colours
from amd.models.amd import AMD, AMDOutput
from amd.models.warp import visibility, warp

PAIRS = 4  # in a picture, at most
MARGIN = 2  # pixels around a tile
HEADING = 14  # pixels of the line that names the columns
BACKGROUND = 205  # grey, beside which white tiles are seen


def training_picture(model: AMD, batch: Batch) -> np.ndarray:
    """A row of tiles for each of the batch's first pairs, as RGB uint8 H,W,3.

    The model is put back into the mode it was in; no random state is used and no statistic is moved.
    """
    maps = None if batch.evidence is None else batch.evidence[:PAIRS]  # of first frames
    few = Batch(batch.first[:PAIRS], batch.second[:PAIRS], batch.keys[:PAIRS])
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            first, second = to_float(few, next(model.parameters()).device)
            columns = _columns(model, model(first, second), first, second)
            if maps is not None:
                columns["evidence"] = maps[..., None].expand(-1, -1, -1, 3).numpy()
    finally:
        model.train(was_training)
    return _sheet(columns)


def _columns(model: AMD, output: AMDOutput, first: Tensor, second: Tensor) -> dict[str, np.ndarray]:
    """Tiles uint8 B,H,W,3 by the name of their column."""
    size = first.shape[2:]
    masks = F.interpolate(output.masks_first, size, mode="bilinear", align_corners=False)
    flow = output.forward_flows[0]
    predicted = F.interpolate(warp(model.motion_input(second), flow), size, mode="bilinear", align_corners=True)
    visible = F.interpolate(visibility(output.backward_flows[0]), size, mode="nearest")
    return {
        "first": _pixels(first),
        "second": _pixels(second),
        **{f"segment {m}": _pixels(masks[:, m : m + 1]) for m in range(masks.shape[1])},
        "flow": np.stack([_flow_tile(pair, size) for pair in flow]),
        "predicted": _pixels(predicted),
        "visible": _pixels(visible),
    }


def _pixels(images: Tensor) -> np.ndarray:
    """Images B,3,H,W or B,1,H,W in [0, 1] as uint8 B,H,W,3."""
    rgb = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    return rgb.mul(255).round().clamp(0, 255).byte().cpu().numpy()


def _flow_tile(flow: Tensor, size: torch.Size) -> np.ndarray:
    """A flow 2,h,w in pixels of the motion input as colours at `size`, the longest vector saturated."""
    scale = torch.tensor([size[1] / flow.shape[2], size[0] / flow.shape[1]]).view(2, 1, 1)
    planes = (flow.float().cpu() * scale).numpy()
    resized = np.stack([cv2.resize(plane, (size[1], size[0])) for plane in planes])
    return flow_colours(resized, float(np.hypot(*resized).max()))


def _sheet(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """All tiles on grey, a row per pair, under the names of the columns."""
    pairs, height, width = next(iter(columns.values())).shape[:3]
    size = (HEADING + pairs * (height + MARGIN) + MARGIN, len(columns) * (width + MARGIN) + MARGIN, 3)
    sheet = np.full(size, BACKGROUND, np.uint8)
    for column, (name, tiles) in enumerate(columns.items()):
        left = MARGIN + column * (width + MARGIN)
        cv2.putText(sheet, name, (left, HEADING - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40), 1, cv2.LINE_AA)
        for row, tile in enumerate(tiles):
            top = HEADING + MARGIN + row * (height + MARGIN)
            sheet[top : top + height, left : left + width] = tile
    return sheet
