"""Spec: what turns a network into a pose system. `find` and `names` look specs up.

A pose system is more than a network: preprocessing, codec and scoring must be those the weights were trained with,
or 2 to 7 AP are lost. They travel together in one `Spec`.

The name leads to the code: "hrnet-w32-256x192" is looked up in `models/hrnet.py`, in its `SPECS`. There is no
registry to fill.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from posewright.types import Colour, CropRule, Skeleton

if TYPE_CHECKING:
    import torch
    from torch import nn

Maps = TypeVar("Maps", bound="np.ndarray | torch.Tensor")

DEFAULT = "litebaseline-160x160"
"""What "default" stands for: the pose system whose weights are in the package."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""RGB, in grey levels 0..255."""
IMAGENET_STD = (58.395, 57.12, 57.375)


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

    def channels(self, num_keypoints: int) -> int:
        """How many maps the network must yield."""
        ...

    def encode(self, xy: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to (target, weight [..., K]), float32."""
        ...

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [N, C, h, w] to keypoints [N, K, 2] in input pixels and scores [N, K], float64."""
        ...

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """Maps [N, C, h, w] of mirrored inputs, back as of the unmirrored ones; the argument stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """A pose system: network, preprocessing, codec and scoring that belong together.

    Attributes:
        name: family-variant-HxW.
        builder: makes the network for a number of output channels.
        codec: the bridge between input and maps.
        skeleton: what the published weights' channels are.
        size: (height, width) of the input, equal to the codec's.
        padding: factors on a box's width and height before the aspect ratio is fixed.
        crop: the crop rule.
        colour: channel order of the input.
        mean, std: subtracted from and divided into grey levels 0..255, in the input's channel order.
        scoring: a pose's score is its box's score times the mean of its keypoint scores: "above 0.2", the mean of those
            strictly above 0.2 (HRNet family), or "all" (MSPN, RSN, CPN).
        nms: OKS above which the lower-scored of two poses is dropped in evaluation, or None (MSPN, RSN).
        paper: one line on where it is from.
    """

    name: str
    builder: Callable[[int], nn.Module] = field(repr=False)
    codec: Codec
    skeleton: Skeleton = field(repr=False)
    size: tuple[int, int]
    padding: tuple[float, float] = (1.25, 1.25)
    crop: CropRule = "standard"
    colour: Colour = "rgb"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    scoring: Literal["above 0.2", "all"] = "above 0.2"
    nms: float | None = 0.9
    paper: str = ""

    def __post_init__(self) -> None:
        if self.codec.size != self.size:
            raise ValueError(f"{self.name}: input size {self.size}, but the codec is for {self.codec.size}")
        if self.crop not in self.codec.crop_rules:
            raise ValueError(
                f"{self.name}: {type(self.codec).__name__} needs crop rule {' or '.join(self.codec.crop_rules)}, got "
                f"{self.crop!r}; another rule costs 2 to 5 AP in silence"
            )

    @property
    def border(self) -> tuple[int, int, int]:
        """RGB of a crop outside of its image: black, but the mean colour, which the network sees as 0, for CPN's."""
        red, green, blue = self.mean if self.colour == "rgb" else self.mean[::-1]
        return (round(red), round(green), round(blue)) if self.crop == "cpn" else (0, 0, 0)

    def build(self, num_keypoints: int | None = None) -> nn.Module:
        """The network, with random weights, for `num_keypoints` (default: the spec's skeleton's)."""
        return self.builder(self.codec.channels(num_keypoints or self.skeleton.num_keypoints))

    def with_skeleton(self, skeleton: Skeleton) -> Spec:
        """The same system for another skeleton."""
        return replace(self, skeleton=skeleton)


def families() -> list[str]:
    """The model families, one a file in `models/`."""
    import posewright.models as package

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def names(pattern: str = "*") -> list[str]:
    """Names of all specs that match a shell pattern, such as "mspn*", sorted."""
    return sorted(n for family in families() for n in _specs(family) if fnmatch.fnmatchcase(n, pattern))


def find(name: str) -> Spec:
    """The spec of that name; "default" is that of the weights in the package.

    Raises:
        LookupError: there is none; the message names the nearest.
    """
    name = DEFAULT if name == "default" else name
    family = name.split("-")[0]
    if family in families() and name in (specs := _specs(family)):
        return specs[name]
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"families: {', '.join(families())}"
    raise LookupError(f"no pose system is named {name!r}; {hint} (`posewright models` lists all)")


def _specs(family: str) -> dict[str, Spec]:
    module: Any = importlib.import_module(f"posewright.models.{family}")
    return module.SPECS
