"""What codecs have in common beside functions: two sizes, a crop rule, channels and the way back from a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from posewright import losses
from posewright.codecs import _maps
from posewright.types import CropRule, Skeleton

if TYPE_CHECKING:
    from posewright.codecs import Maps

Refinement = Literal["newton", "quarter", "none"]
"""From a maximum to the keypoint: a Newton step on the blurred map's logarithm, the quarter rule, or nothing."""


def check_refinement(codec: Any) -> None:
    """Refuse a codec whose `refine` is not known.

    Raises:
        ValueError: it is not.
    """
    if codec.refine not in get_args(Refinement):
        raise ValueError(f"{type(codec).__name__}: refine must be one of {get_args(Refinement)}, got {codec.refine!r}")


@dataclass(frozen=True, slots=True)
class MapCodec:
    """One map per keypoint, of the standard crop, mirrored without a shift; codecs say where they differ.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        flip_shift: whether mirrored maps, mirrored back, are moved one pixel to the right; None: as published.
    """

    size: tuple[int, int]
    map_size: tuple[int, int]
    flip_shift: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _maps.check_sizes(self)

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for the standard crop only."""
        return ("standard",)

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Squared errors: "mse" of all keypoints, "ohkm" of each person's hardest ones."""
        return {"mse": losses.weighted_mse, "ohkm": losses.ohkm_mse}

    def channels(self, num_keypoints: int) -> int:
        """One map per keypoint."""
        return num_keypoints

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """Maps of mirrored inputs, mirrored back, with or without a shift as `flip_shift` says."""
        shift = self._published_shift if self.flip_shift is None else self.flip_shift
        return _maps.mirror(maps, skeleton, shift=shift, per_point=self.channels(1))

    @property
    def _published_shift(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class AlignedCodec(MapCodec):
    """Positions 0 and size - 1 of input and map coincide."""

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        if min(*self.size, *self.map_size) < 2:
            raise ValueError(f"{type(self).__name__}: sides must be at least 2, got {self.size} and {self.map_size}")

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for crops whose edges lie at 0 and size - 1."""
        return ("udp",)

    @property
    def _stride(self) -> np.ndarray:
        """Input pixels per map pixel along x and y: ((W_i - 1) / (W_o - 1), (H_i - 1) / (H_o - 1))."""
        (height, width), (map_height, map_width) = self.size, self.map_size
        return np.array([(width - 1) / (map_width - 1), (height - 1) / (map_height - 1)])


@dataclass(frozen=True, slots=True)
class TripleCodec(AlignedCodec):
    """Three maps per keypoint: whether it is near, and the offsets to it along x and y."""

    def channels(self, num_keypoints: int) -> int:
        """Three maps per keypoint."""
        return 3 * num_keypoints

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """As of `MapCodec`, and x offsets change their sign."""
        flipped: Any = MapCodec.unflip(self, maps, skeleton)
        flipped[..., 1::3, :, :] *= -1
        return flipped
