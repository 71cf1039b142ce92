"""Spec: what turns a network into a pose system.

A pose system is more than a network: preprocessing, codec and scoring must be those the weights were trained with,
or 2 to 7 AP are lost. They travel together in one `Spec`.

The name leads to the code: "hrnet-w32-256x192" is looked up in `models/hrnet.py`, in its `SPECS`. There is no
registry to fill.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from posewright.codecs import Codec
from posewright.types import Colour, CropRule, Skeleton

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""RGB, in grey levels 0..255."""
IMAGENET_STD = (58.395, 57.12, 57.375)


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
        crop_rule: how boxes become crops; see `geometry.matrix_of_region`.
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
    crop_rule: CropRule = "standard"
    colour: Colour = "rgb"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    scoring: Literal["above 0.2", "all"] = "above 0.2"
    nms: float | None = 0.9
    paper: str = ""

    def __post_init__(self) -> None:
        if self.codec.size != self.size:
            raise ValueError(f"{self.name}: input size {self.size}, but the codec is for {self.codec.size}")
        if self.crop_rule not in self.codec.crop_rules:
            raise ValueError(
                f"{self.name}: {type(self.codec).__name__} needs crop rule {' or '.join(self.codec.crop_rules)}, got "
                f"{self.crop_rule!r}; another rule costs 2 to 5 AP in silence"
            )

    @property
    def border(self) -> tuple[int, int, int]:
        """RGB of a crop outside of its image: black, but the mean colour, which the network sees as 0, for CPN's."""
        red, green, blue = self.mean if self.colour == "rgb" else self.mean[::-1]
        return (round(red), round(green), round(blue)) if self.crop_rule == "cpn" else (0, 0, 0)

    def build(self, num_keypoints: int | None = None) -> nn.Module:
        """The network, with random weights, for `num_keypoints` (default: the spec's skeleton's)."""
        return self.builder(self.codec.channels(num_keypoints or self.skeleton.num_keypoints))

    def with_skeleton(self, skeleton: Skeleton) -> Spec:
        """The same system for another skeleton."""
        return replace(self, skeleton=skeleton)

    def with_codec(self, changes: Mapping[str, Any]) -> Spec:
        """The same system with other values of some of its codec's fields, such as `{"quarter": False}`.

        The sizes are the network's and stay.

        Raises:
            ValueError: the codec has no such field, or refuses a value or its combination with others.
        """
        if not changes:
            return self
        codec, kind = msgspec.to_builtins(self.codec), type(self.codec)
        known = [name for name in codec if name not in ("size", "map_size")]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                raise ValueError(f"{kind.__name__}, the codec of {self.name}, has no setting {name!r}; {hint}")
        try:
            return replace(self, codec=msgspec.convert(codec | dict(changes), kind))
        except msgspec.ValidationError as error:
            came = ", ".join(f"{name}={value!r}" for name, value in changes.items())
            raise ValueError(f"{kind.__name__}, the codec of {self.name}, cannot have {came}: {error}") from None
