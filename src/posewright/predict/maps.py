"""A network's maps, before they are decoded: for those who look at them or time them."""

from __future__ import annotations

import numpy as np
import torch

from posewright.image import to_tensor
from posewright.predict.predictor import Predictor
from posewright.runtime.crops import CropNetwork
from posewright.runtime.exported import ExportedNetwork


def maps_of(predictor: Predictor, crops: np.ndarray) -> np.ndarray:
    """Crops [N, H, W, 3] uint8 RGB, N above 0, to the maps [N, C, h, w] float32 that `Predictor.keypoints` decodes.

    Raises:
        ValueError: an exported file runs the network, which may decode by itself.
    """
    spec, net = predictor.spec, predictor.net
    if isinstance(net, ExportedNetwork):
        raise ValueError(f"{net.path}: expected a network that yields maps, got an exported file")

    def run(crops: np.ndarray) -> torch.Tensor:
        if isinstance(net, CropNetwork):
            return torch.from_numpy(net(crops))
        images = to_tensor(crops, spec.colour, spec.mean, spec.std).to(predictor.device)
        return net(images).float().cpu()

    with torch.inference_mode():
        maps = run(crops)
        if predictor.flip:
            mirrored = run(np.ascontiguousarray(crops[:, :, ::-1]))
            maps = (maps + spec.codec.unflip(mirrored, spec.skeleton)) / 2
    return maps.numpy()
