"""CpnMultiScaleHeatmap: CPN's labels for its four levels and its reading of the refined maps.

Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright import losses
from posewright.codecs import _maps, _multiscale
from posewright.codecs._multiscale import BlurMultiScaleHeatmap
from posewright.types import CropRule

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CpnMultiScaleHeatmap(BlurMultiScaleHeatmap):
    """Four labels per keypoint, from a wide blur to a narrow one; maps at the scale of 0 to 255.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        kernels: sizes of the labels' blurs: (15, 11, 9, 7) for 256x192, (23, 17, 13, 9) for 384x288.
        blur: size of the blur before decoding.
        shifts: lengths, in map pixels, of the moves toward the second maximum (the third, ...).
    """

    kernels: tuple[int, ...] = (15, 11, 9, 7)
    blur: int = 21
    shifts: tuple[float, ...] = (0.25,)

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for CPN's own crop only, which is cut out and resized."""
        return ("cpn",)

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Named "cpn": squares in the global net, hard keypoint mining on the refined maps."""
        return {"cpn": losses.cpn}

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to labels [..., 4, K, h, w] and weight.

        As with `MultiScaleHeatmap`, a keypoint a few pixels from the border may have the peak, 255, beside its pixel.

        Returns:
            labels: float32, one level per kernel.
            weight: [..., K] float32, the visibility 0, 1 or 2; 0 for keypoints outside of the input.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        inside = ((xy >= 0) & (xy < self.size[::-1])).all(-1)
        weight = np.where(inside, visibility, 0).astype(np.float32)
        pixel = np.floor(xy / _maps.stride(self.size, self.map_size))
        return _multiscale.labels(pixel, weight, self.map_size, self.kernels), weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        As published, each map is first divided by its maximum, which turns a negative map positive. Map pixel i is
        read as input pixel 4 i + 2, and the score is the map's value, before all that, at the nearest pixel, divided
        by 255, plus 0.5.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read, at_a_time=512)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        peak = maps.max((1, 2))
        _maps.refuse_not_finite(peak)
        xy = _multiscale.toward_second_maximum(maps, self.blur, self.shifts)
        # A positive factor moves nothing. A map whose maximum is 0 would turn to NaN; it ends where an empty one does.
        if len(rest := np.flatnonzero(peak <= 0)):
            scaled = maps[rest] / np.where(peak == 0, np.inf, peak)[rest, None, None]
            xy[rest] = _multiscale.toward_second_maximum(scaled, self.blur, self.shifts)
        return (xy + 0.5) * _maps.stride(self.size, self.map_size), _multiscale.score_at(maps, xy)
