"""Labels from coarse to fine, scaled to 255, read by moving towards the second maximum.

Li et al., "Rethinking on Multi-Stage Networks for Human Pose Estimation" (MSPN), arXiv 1901.00148, section 3.4; used
unchanged by RSN (Cai et al., "Learning Delicate Local Representations for Multi-Person Pose Estimation", ECCV 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright.codecs import _blur, _maps, _multiscale
from posewright.codecs._multiscale import BlurMultiScaleHeatmap, SecondMaximumHeatmap

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class MultiScaleHeatmap(SecondMaximumHeatmap):
    """Five labels per keypoint, from a wide blur to a narrow one; maps at the scale of 0 to 255.

    See `SecondMaximumHeatmap`, which CPN shares, for its attributes; the blur is 5 for COCO and 9 for MPII.
    """


@dataclass(frozen=True, slots=True)
class MmposeMultiScaleHeatmap(BlurMultiScaleHeatmap):
    """The labels of MSPN and RSN as mmpose draws and reads them ("megvii"), for weights that were trained there.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        kernels: sizes of the labels' blurs, coarse to fine.
        blur: size of the blur before decoding.
    """

    blur: int = 11

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to labels [..., L, K, h, w] and weight.

        The label is 255 at the keypoint's pixel, and can be well above that beside it close to the border.

        Returns:
            labels: float32, one level per kernel.
            weight: [..., K] float32, 0 or 1; up to one map pixel left of or above the map counts as inside.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        pixel = np.trunc(xy / _maps.stride(self.size, self.map_size))
        inside = ((pixel >= 0) & (pixel < self.map_size[::-1])).all(-1)
        weight = np.where(inside, np.minimum(visibility, 1), 0).astype(np.float32)
        return _multiscale.labels(pixel, weight, self.map_size, self.kernels, at_keypoint=True), weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        Peak, value and the quarter rule are taken from the blurred map, scaled to its maximum before the blur. Half
        a map pixel is added where the quarter rule applies only. The score is the value divided by 255, plus 0.5.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found: list[tuple[np.ndarray, np.ndarray]] = []
        last = np.array(self.map_size[::-1]) - 1
        for piece, blurred in _blur.pieces(maps, self.blur, mirrored=False):
            before, after = piece.max((1, 2)), blurred.max((1, 2))
            blurred *= (before / np.where(after == 0, 1, after))[:, None, None]
            pixel, value = _maps.peaks(blurred, -1, computed=True)
            half = 0.5 * ((pixel > 1) & (pixel < last)).all(-1, keepdims=True)
            found.append((pixel + _maps.quarter_shift(blurred, pixel, computed=True) + half, value / 255 + 0.5))
        xy, score = map(np.concatenate, zip(*found))
        return xy * _maps.stride(self.size, self.map_size), score
