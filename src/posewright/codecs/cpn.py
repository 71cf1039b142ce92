"""CpnMultiScaleHeatmap: CPN's labels for its four levels and its reading of the refined maps.

Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from posewright import losses
from posewright.codecs import _maps, _multiscale
from posewright.codecs._multiscale import SecondMaximumHeatmap
from posewright.types import CropRule


@dataclass(frozen=True, slots=True)
class CpnMultiScaleHeatmap(SecondMaximumHeatmap):
    """Four labels per keypoint, from a wide blur to a narrow one; maps at the scale of 0 to 255.

    As published, each map is divided by its maximum before it is blurred, which turns a negative map positive; the
    score is read before that.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        kernels: sizes of the labels' blurs: (15, 11, 9, 7) for 256x192, (23, 17, 13, 9) for 384x288.
        blur: size of the blur before decoding.
        shifts: lengths, in map pixels, of the moves toward the second maximum (the third, ...).
    """

    kernels: tuple[int, ...] = (15, 11, 9, 7)
    blur: int = 21

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for CPN's own crop only, which is cut out and resized."""
        return ("cpn",)

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Named "cpn": squares in the global net, hard keypoint mining on the refined maps."""
        return {"cpn": losses.cpn}

    def _pixels(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.asarray(((xy >= 0) & (xy < self.size[::-1])).all(-1))
        return np.floor(xy / _maps.stride(self.size, self.map_size)), inside

    def _walked(self, maps: np.ndarray) -> np.ndarray:
        peak = maps.max((1, 2))
        _maps.refuse_not_finite(peak)
        xy = _multiscale.toward_second_maximum(maps, self.blur, self.shifts)
        # A positive factor moves nothing. A map whose maximum is 0 would turn to NaN; it ends where an empty one does.
        if len(rest := np.flatnonzero(peak <= 0)):
            scaled = maps[rest] / np.where(peak == 0, np.inf, peak)[rest, None, None]
            xy[rest] = _multiscale.toward_second_maximum(scaled, self.blur, self.shifts)
        return xy
