"""Input pixels <-> network target: encode, decode, unflip and the losses that learn it; `Codec` says what they share.

One class per target. A new codec is one file of this folder: a frozen dataclass with what `Codec` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch

    from posewright.losses import Loss
    from posewright.types import CropRule, Skeleton

Maps = TypeVar("Maps", bound="np.ndarray | torch.Tensor")


class Codec(Protocol):
    """Input pixels <-> network target, both directions and the flip rule in one class.

    Codecs are frozen dataclasses without state; all methods are vectorised over people and keypoints.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        ...

    @property
    def map_size(self) -> tuple[int, int]:
        """(height, width) of the network's maps."""
        ...

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """The crop rules that this codec's input <-> map bridge is right for; a Spec with another is refused."""
        ...

    @property
    def losses(self) -> Mapping[str, Loss]:
        """The losses that learn this target, by the names that training knows them by; the published one first."""
        ...

    def channels(self, num_keypoints: int) -> int:
        """How many maps the network must yield."""
        ...

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to (target, weight [..., K]), float32."""
        ...

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [N, C, h, w] to keypoints [N, K, 2] in input pixels and scores [N, K], float64."""
        ...

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """Maps [N, C, h, w] of mirrored inputs, back as of the unmirrored ones; the argument stays as it is."""
        ...
