"""GaussianHeatmap: Gaussian heatmaps read at their peak, moved a quarter of a pixel.

Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; used unchanged by HRNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright.codecs import _maps
from posewright.codecs._base import MapCodec
from posewright.codecs._gaussians import pixel_gaussians
from posewright.types import Skeleton

if TYPE_CHECKING:
    import torch

    from posewright.codecs import Maps

COCO_KEYPOINT_WEIGHT = (1.0,) * 7 + (1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5)
"""The optional weights for COCO's 17 keypoints: elbows and knees 1.2, wrists and ankles 1.5."""


@dataclass(frozen=True, slots=True)
class GaussianHeatmap(MapCodec):
    """Gaussian heatmaps, one a keypoint, decoded by arg-max and a quarter of a pixel toward the higher neighbour.

    Map pixel i lies at input pixel i * stride, without any half-pixel term, so a mirrored map is one pixel off: the
    flip rule moves it back by one, which leaves a bias of one input pixel at stride 4.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: of the Gaussian, in map pixels: 2 for 64x48 maps, 3 for 96x72.
        keypoint_weight: K factors on the keypoints' training weights, such as `COCO_KEYPOINT_WEIGHT`, or None.
        empty: both map coordinates of a keypoint whose map has no value above 0: 0, or -1 as in mmpose.
        separately: apply the quarter rule to each axis on its own, as mmpose 1.x does.
    """

    sigma: float = 2.0
    keypoint_weight: tuple[float, ...] | None = None
    empty: int = 0
    separately: bool = False

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        _maps.check_above_zero(self, "sigma")

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., K, h, w] and weight [..., K].

        The Gaussian has its peak, exactly 1, at the nearest map pixel, and is cut off to the square of 3 sigma
        around it. Keypoints outside of the map keep their weight as long as a part of that square may reach in.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        maps, weight = pixel_gaussians(xy, visibility, self.size, self.map_size, self.sigma)
        if self.keypoint_weight is not None:
            weight = weight * _factors(self.keypoint_weight, weight.shape[-1])
        return maps, weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maps' maxima.

        Raises:
            ValueError: maps of another size.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixel, score = _maps.peaks(maps, self.empty)
        xy = pixel + _maps.quarter_shift(maps, pixel, separately=self.separately)
        return xy * _maps.stride(self.size, self.map_size), score

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """Maps of mirrored inputs, mirrored back and moved one pixel to the right; column 0 keeps its own value."""
        return _maps.mirror(maps, skeleton, shift=True)


def _factors(keypoint_weight: tuple[float, ...], num_keypoints: int) -> np.ndarray:
    if len(keypoint_weight) != num_keypoints:
        raise ValueError(f"GaussianHeatmap: {len(keypoint_weight)} keypoint weights for {num_keypoints} keypoints")
    return np.array(keypoint_weight, np.float32)
