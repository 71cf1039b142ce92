"""What a network sees of a person: its heatmaps, small, as one picture that a page's gallery lays over the image."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch

from posewright import geometry
from posewright.image import encode, warp_all
from posewright.predict.predictor import Predictor
from posewright.runtime.exported import ExportedNetwork
from posewright.types import Boxes

MOST = 96
"""Of how many cases a gallery holds the heatmaps: each costs a run of the network at every evaluation."""

_LARGEST, _QUALITY = 100, 60


def available(predictor: Predictor) -> bool:
    """Whether the network's maps can be had; exported files may decode by themselves."""
    return not isinstance(predictor.net, ExportedNetwork)


def of_boxes(predictor: Predictor, pixels: np.ndarray, boxes: np.ndarray) -> list[dict[str, Any]]:
    """The heatmaps of people of one image, as their keypoints are decoded from.

    Args:
        predictor: whose network is run, once for all boxes.
        pixels: the image [H, W, 3] uint8 RGB.
        boxes: [N, 4] x, y, width, height in image pixels.

    Returns:
        For each box "maps", a base64 JPEG of the K maps below each other; "size", the (height, width) of one; and
        "region", left, top, right and bottom of what they show, in image pixels.
    """
    spec, height, width = predictor.spec, *predictor.spec.size
    boxes = np.nan_to_num(boxes)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)  # annotations may hold empty ones
    crop = geometry.crop(
        Boxes.of(boxes), spec.size, padding=spec.padding, rule=spec.crop_rule, image_size=pixels.shape[:2]
    )
    maps = np.asarray(torch.as_tensor(predictor.maps(warp_all(pixels, crop, spec.border))).float().cpu())
    ends = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    regions = crop.to_image(np.repeat(ends[None], len(crop), 0)).reshape(-1, 4)
    per_point = maps.shape[1] // spec.skeleton.num_keypoints
    return [
        {"region": region.tolist(), **_picture(each[::per_point])}  # offset maps follow a point's heatmap
        for region, each in zip(regions, maps)
    ]


def _picture(maps: np.ndarray) -> dict[str, Any]:
    """Maps [K, h, w], their highest value white and 0 black."""
    step = -(-max(maps.shape[1:]) // _LARGEST)
    maps = maps[:, ::step, ::step]
    grey = (255 * np.clip(maps / max(float(maps.max()), 1e-6), 0, 1)).astype(np.uint8)
    strip = np.repeat(grey.reshape(-1, grey.shape[2], 1), 3, 2)
    return {"maps": base64.b64encode(encode(strip, ".jpg", _QUALITY)).decode(), "size": grey.shape[1:]}
