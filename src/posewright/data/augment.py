"""Augmentation: random views of annotated people, and changes to the pixels of their crops.

A view is a region, an angle and a flip flag: it changes how the crop is cut, never the image or the annotation, so a
flip or a turn costs nothing. `views` works on many people at once; every person has a generator of its own, from which
the same numbers are drawn in the same order whatever is switched on, so one setting does not disturb another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from posewright import geometry, image
from posewright.types import CropRule, Skeleton

Draw = Literal["normal", "uniform"]


@dataclass(frozen=True, slots=True)
class Augment:
    """How training crops differ from the plain ones. The defaults change nothing; `chance` means probability.

    Attributes:
        scale: smallest and largest factor on the region's sides; below 1 makes the person larger.
        scale_limit: a larger factor is cut to this one, or None (CPN).
        scale_draw: "normal" draws around the middle with half the range as deviation and clips (HRNet), "uniform"
            draws evenly (MSPN).
        rotation: degrees; the deviation of a normal draw, which is clipped at twice that, or a uniform one's bound.
        rotation_draw: see above.
        rotation_chance: how often a crop is turned at all.
        flip: chance that left and right are swapped.
        flip_or_rotate: a crop is flipped or rotated but never both (CPN); the two chances together are at most 1.
        half_body: chance of a crop around the upper or the lower half of the keypoints, for people with enough of them
            (skeletons that do not say which points are upper have none).
        half_body_rule: "hrnet" or "mspn", which choose and frame the half differently.
        padding: factors on the box's width and height in place of the spec's, or None.
        extend: width and height grow by up to these fractions more, each drawn evenly (MSPN).
        shift: the centre moves by up to half this fraction of the box, in x and y (mmpose 0.x).
        shift_chance: how often it does.
        brightness, contrast, saturation: largest relative change of each.
        channel_gain: largest relative change of each colour channel by itself (CPN).
        hue: largest turn of the hue, degrees.
        grey: chance of no colours at all.
        blur: chance of a Gaussian blur of up to 1/100 of the crop's height.
        erase: chance that a rectangle of 2 to 20 % of the crop is painted over (Zhong et al., AAAI 2020).
        cutout: chance that half of the cells of a grid are painted over (Huang et al., arXiv 2008.07139: information
            dropping, which makes a network learn from the context of a keypoint).
    """

    scale: tuple[float, float] = (1.0, 1.0)
    scale_limit: float | None = None
    scale_draw: Draw = "normal"
    rotation: float = 0.0
    rotation_draw: Draw = "normal"
    rotation_chance: float = 0.6
    flip: float = 0.0
    flip_or_rotate: bool = False
    half_body: float = 0.0
    half_body_rule: Literal["hrnet", "mspn"] = "hrnet"
    padding: tuple[float, float] | None = None
    extend: tuple[float, float] = (0.0, 0.0)
    shift: float = 0.0
    shift_chance: float = 0.3
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    channel_gain: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    erase: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotation_chance", "flip", "half_body", "shift_chance", "grey", "blur", "erase", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment: {name} is a probability, 0 to 1, got {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment: scale must be two factors above 0, the smaller first, got {self.scale}")
        for name in ("rotation", "shift", "brightness", "contrast", "saturation", "channel_gain", "hue"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"augment: {name} must not be negative, got {getattr(self, name)}")
        if self.flip_or_rotate and self.flip + self.rotation_chance > 1:
            raise ValueError(
                "augment: with flip_or_rotate, flip and rotation_chance together are at most 1, got "
                f"{self.flip} and {self.rotation_chance}"
            )

    @property
    def recolours(self) -> bool:
        """Whether `recolour` may change a crop."""
        changes = (self.brightness, self.contrast, self.saturation, self.channel_gain, self.hue, self.grey)
        return any(changes) or any((self.blur, self.erase, self.cutout))


NONE = Augment()
"""The plain crop, as in evaluation."""

SIMPLEBASELINE = Augment(scale=(0.7, 1.3), rotation=40, flip=0.5)
"""SimpleBaseline (Xiao et al., ECCV 2018) and LPN."""

HRNET = Augment(scale=(0.65, 1.35), rotation=45, flip=0.5, half_body=0.3)
"""HRNet (Sun et al., CVPR 2019), DARK and UDP."""

LITEHRNET = Augment(scale=(0.75, 1.25), rotation=30, flip=0.5, half_body=0.3, shift=0.4)
"""Lite-HRNet (Yu et al., CVPR 2021), which trains in mmpose 0.x."""

MSPN = Augment(
    scale=(0.6, 1.0),  # 0.8 times 0.75 to 1.25
    scale_draw="uniform",
    rotation=45,
    rotation_draw="uniform",
    rotation_chance=0.5,
    flip=0.5,
    half_body=0.3,
    half_body_rule="mspn",
    padding=(1.05, 1.05),
    extend=(0.6, 0.8),
)
"""MSPN (Li et al., arXiv 1901.00148) and RSN, on COCO."""


CPN = Augment(
    scale=(0.7, 1.35),
    scale_limit=1.25,
    scale_draw="uniform",
    rotation=45,
    rotation_draw="uniform",
    rotation_chance=0.5,
    flip=0.25,
    flip_or_rotate=True,
    channel_gain=0.2,
)
"""CPN (Chen et al., CVPR 2018), whose epoch shows everybody plain, flipped, and rotated twice."""


class Views(NamedTuple):
    """How N crops are cut, as `geometry.matrix_of_region` takes it: region [N, 4], degrees [N], flip [N]."""

    region: np.ndarray
    degrees: np.ndarray
    flip: np.ndarray


class _Uniform(NamedTuple):
    """What is drawn evenly from 0..1 for each person, in this order."""

    half_body: np.ndarray
    half_width: np.ndarray
    half_height: np.ndarray
    width: np.ndarray
    height: np.ndarray
    scale: np.ndarray
    turns: np.ndarray
    rotation: np.ndarray
    flip: np.ndarray
    shifts: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray


class _Normal(NamedTuple):
    """What is drawn from the normal distribution for each person, in this order."""

    half: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray


class _HalfBody(NamedTuple):
    """A published rule for half-body crops."""

    labelled: int  # more labelled points than this are needed
    side: int  # a half needs more points than this to be chosen
    least: int  # and at least this many once chosen
    hips_up: bool  # hips count as upper
    middle: bool  # centred on the middle of the points' extent, else on their mean
    grow: float  # factor on the extent


_HALF_BODY = {
    "hrnet": _HalfBody(labelled=8, side=2, least=2, hips_up=False, middle=False, grow=1.5),
    "mspn": _HalfBody(labelled=3, side=3, least=3, hips_up=True, middle=True, grow=1.0),
}


def views(
    augment: Augment,
    box: np.ndarray,
    xy: np.ndarray,
    visibility: np.ndarray,
    rngs: Sequence[np.random.Generator],
    *,
    skeleton: Skeleton,
    size: tuple[int, int],
    padding: tuple[float, float] = (1.25, 1.25),
    rule: CropRule = "standard",
) -> Views:
    """Random views of N people; each takes its numbers from its own generator.

    Args:
        augment: the distributions.
        box: [N, 4] annotated boxes, cleaned, xywh in image pixels.
        xy: [N, K, 2] keypoints in image pixels.
        visibility: [N, K] visibility.
        rngs: N generators.
        skeleton: what the K points are.
        size: (height, width) of the network's input.
        padding: the spec's factors on width and height.
        rule: the spec's crop rule.
    """
    u = _Uniform(*np.array([rng.random(len(_Uniform._fields)) for rng in rngs]).T)
    z = _Normal(*np.array([rng.standard_normal(len(_Normal._fields)) for rng in rngs]).T)
    box = geometry.box_by_rule(box, rule, cleaned=True)
    centre = geometry.region_of_box(box, size, rule=rule)[:, :2]
    shift = np.stack([u.shift_x, u.shift_y], 1) - 0.5
    centre += np.where(u.shifts < augment.shift_chance, augment.shift, 0.0)[:, None] * shift * box[:, 2:]
    pad = augment.padding or padding
    grow = np.array(pad) * (1 + np.array(augment.extend) * np.stack([u.width, u.height], 1))
    sides = np.stack(geometry.fix_ratio(box[:, 2] * grow[:, 0], box[:, 3] * grow[:, 1], size), 1)
    region = np.concatenate([centre, sides], 1)
    if augment.half_body and skeleton.upper:
        more = 1.0 if rule == "dark" else 0.0  # a pixel that DARK counts in all extents
        half, found = _half_body(augment, xy, visibility, u, z, skeleton, size, more)
        region = np.where((found & (u.half_body < augment.half_body))[:, None], half, region)
    region[:, 2:] *= _scale(augment, u, z)[:, None]
    chance = u.turns - augment.rotation_chance if augment.flip_or_rotate else u.flip
    return Views(region, _degrees(augment, u, z), (chance >= 0) & (chance < augment.flip))


def _scale(augment: Augment, u: _Uniform, z: _Normal) -> np.ndarray:
    low, high = augment.scale
    if augment.scale_draw == "uniform":
        return np.minimum(low + (high - low) * u.scale, augment.scale_limit or high)
    return np.clip((low + high) / 2 + (high - low) / 2 * z.scale, low, min(high, augment.scale_limit or high))


def _degrees(augment: Augment, u: _Uniform, z: _Normal) -> np.ndarray:
    if augment.rotation_draw == "uniform":
        angle = augment.rotation * (2 * u.rotation - 1)
    else:
        angle = np.clip(augment.rotation * z.rotation, -2 * augment.rotation, 2 * augment.rotation)
    return np.where(u.turns < augment.rotation_chance, angle, 0.0)


def _half_body(
    augment: Augment,
    xy: np.ndarray,
    visibility: np.ndarray,
    u: _Uniform,
    z: _Normal,
    skeleton: Skeleton,
    size: tuple[int, int],
    more: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Regions [N, 4] around one half of the keypoints, and which of them can be used [N].

    As released, the upper half is tried first when a *normal* draw is below 0.5, which happens 69 % of the time.
    """
    rule = _HALF_BODY[augment.half_body_rule]
    up = skeleton.upper_mask | np.array([rule.hips_up and p.endswith("hip") for p in skeleton.points])
    labelled = visibility > 0
    upper, lower = labelled & up, labelled & ~up
    enough_up, enough_low = upper.sum(1) > rule.side, lower.sum(1) > rule.side
    take_upper = ((z.half < 0.5) & enough_up) | ~enough_low
    chosen = np.where(take_upper[:, None], upper, lower)
    low = np.where(chosen[..., None], xy, np.inf).min(1)
    high = np.where(chosen[..., None], xy, -np.inf).max(1)
    count = chosen.sum(1)
    usable = (labelled.sum(1) > rule.labelled) & (count >= rule.least) & (high > low).any(1)
    low, high = np.where(usable[:, None], low, 0.0), np.where(usable[:, None], high, 1.0)
    mean = (xy * chosen[..., None]).sum(1) / np.maximum(count, 1)[:, None]
    centre = (low + high) / 2 if rule.middle else mean
    extend = np.array(augment.extend) * np.stack([u.half_width, u.half_height], 1)
    w, h = ((high - low + more) * (1 + extend)).T
    sides = np.stack(geometry.fix_ratio(w, h, size), 1) * rule.grow
    return np.concatenate([centre, sides], 1), usable


_GREY = np.array([0.299, 0.587, 0.114])
_PAINT = (124, 116, 104)  # ImageNet's mean colour, about 0 once normalised
_CELLS = (16, 32, 44, 56)  # sides of a grid's cells for crops 256 high, as information dropping was published


def recolour(augment: Augment, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop [H, W, 3] uint8 RGB with other colours, blurred, or with parts painted over; a new array."""
    u = rng.random(8)
    crop = image.recolour(crop, _colour_matrix(augment, crop, u))
    if u[5] < augment.blur:
        crop = image.blur(crop, 0.3 + u[6] * crop.shape[0] / 100)
    if u[7] < augment.erase:
        _erase(crop, rng.random(4))
    if rng.random() < augment.cutout:
        _cutout(crop, rng)
    if augment.channel_gain:
        gain = 1 + augment.channel_gain * (2 * rng.random(3) - 1)
        crop = image.recolour(crop, np.column_stack([np.diag(gain), np.zeros(3)]))
    return crop


def _colour_matrix(augment: Augment, crop: np.ndarray, u: np.ndarray) -> np.ndarray:
    """[3, 4]: hue, saturation, brightness and contrast (around the mean grey level) in one affine map."""
    bright, contrast, saturation = 1 + (2 * u[:3] - 1) * (augment.brightness, augment.contrast, augment.saturation)
    saturation *= u[3] >= augment.grey
    angle = np.deg2rad(augment.hue * (2 * u[4] - 1))
    spin = np.full((3, 3), (1 - np.cos(angle)) / 3)
    spin += np.cos(angle) * np.eye(3) + np.sin(angle) / np.sqrt(3) * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    linear = (saturation * np.eye(3) + (1 - saturation) * _GREY) @ spin
    mean = bright * (crop.reshape(-1, 3).mean(0) @ _GREY)
    return np.column_stack([contrast * bright * linear, np.full(3, (1 - contrast) * mean)])


def _erase(crop: np.ndarray, u: np.ndarray) -> None:
    """Paint over a rectangle of 2 to 20 % of the crop, 0.3 to 3.3 times as high as wide."""
    height, width = crop.shape[:2]
    area, aspect = (0.02 + 0.18 * u[0]) * height * width, 0.3 * 11 ** u[1]
    h, w = min(int(np.sqrt(area * aspect)), height), min(int(np.sqrt(area / aspect)), width)
    top, left = int(u[2] * (height - h + 1)), int(u[3] * (width - w + 1))
    crop[top : top + h, left : left + w] = _PAINT


def _cutout(crop: np.ndarray, rng: np.random.Generator) -> None:
    """Paint over each cell of a grid with probability 0.5."""
    height, width = crop.shape[:2]
    cell = max(1, round(rng.choice(_CELLS) * height / 256))
    hidden = rng.random((-(-height // cell), -(-width // cell))) < 0.5
    crop[hidden.repeat(cell, 0).repeat(cell, 1)[:height, :width]] = _PAINT
