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
