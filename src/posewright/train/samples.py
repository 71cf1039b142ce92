"""A look at what a network is trained on: samples of a batch with their targets and predictions."""

from __future__ import annotations

import numpy as np
import torch

from posewright import draw
from posewright.data.loader import Batch
from posewright.spec import Spec
from posewright.train.state import Run
from posewright.types import Boxes, Poses

SAMPLES = 4
"""Samples of a batch that are drawn."""


def pixels(images: torch.Tensor, spec: Spec) -> np.ndarray:
    """Network inputs [N, 3, H, W] as images again, [N, H, W, 3] uint8 RGB."""
    values = images.permute(0, 2, 3, 1).numpy() * np.array(spec.std) + np.array(spec.mean)
    values = (values if spec.colour == "rgb" else values[..., ::-1]).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(values)


def heatmaps(maps: torch.Tensor, num_keypoints: int) -> torch.Tensor:
    """The finest heatmap of each point, [N, K, h, w], of maps or targets: offset maps follow a point's heatmap."""
    finest = maps[:, -1] if maps.ndim == 5 else maps
    return finest[:, :: finest.shape[1] // num_keypoints]


def targets_over(images: np.ndarray, batch: Batch, spec: Spec) -> np.ndarray:
    """Images [N, H, W, 3] uint8, each darkened and lit where any point's finest target heatmap is high."""
    heat = heatmaps(batch.target, spec.skeleton.num_keypoints).amax(1, keepdim=True)
    heat = torch.nn.functional.interpolate(heat, images.shape[1:3], mode="bilinear", align_corners=False)
    light = (heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-6)).clamp(0, 1)[:, 0, :, :, None].numpy()
    return (images * 0.5 * (1 - light) + np.array([255.0, 160.0, 0.0]) * light).astype(np.uint8)


def batch_sheet(run: Run, batch: Batch, maps: torch.Tensor) -> np.ndarray:
    """The first samples of a batch, one per row: the image, the target and the prediction, [H, W, 3] uint8 RGB."""
    spec, (height, width) = run.spec, run.spec.size
    number = min(SAMPLES, len(batch.images))
    xy, score = spec.codec.decode(maps[:number])
    whole = Boxes.of([[0.0, 0.0, width, height]], cleaned=True)
    cells = []
    for n, image in enumerate(pixels(batch.images[:number], spec)):
        poses = Poses(xy[n : n + 1], np.ones_like(score[n : n + 1]), np.ones(1), whole, spec.skeleton)
        truth = batch.xy[n : n + 1], batch.visibility[n : n + 1]
        cells += [
            image,
            draw.draw_truth(image, *truth, whole.xywh, spec.skeleton, boxes=False),
            draw.draw(image, poses, boxes=False, scores=False),
        ]
    return draw.sheet(cells, columns=3, cell=(height, width))
