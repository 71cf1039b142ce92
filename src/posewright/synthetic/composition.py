"""Layers laid over a background, what can be seen of them, and the photograph of it all."""

from __future__ import annotations

import numpy as np

from posewright import image as images
from posewright.synthetic._solids import View
from posewright.synthetic.renderer import Layer


def between(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    """A whole number from the least to the greatest, both included."""
    return int(rng.integers(ends[0], ends[1] + 1))


def compose(picture: np.ndarray, top: np.ndarray, layer: Layer, number: int) -> None:
    """Lay a layer over the picture and note where it is on top, in place."""
    height, width = layer.alpha.shape
    at = (slice(layer.top, layer.top + height), slice(layer.left, layer.left + width))
    picture[at] *= (1 - layer.alpha)[..., None]
    picture[at] += layer.colour
    np.copyto(top[at], np.where(layer.body > 0.5 * layer.alpha, 2 * number, 2 * number - 1), where=layer.alpha >= 0.5)


def cast(rng: np.random.Generator, picture: np.ndarray, layer: Layer) -> None:
    """Darken the picture where a layer that lies on the ground keeps light away from it, in place."""
    height, width = layer.alpha.shape
    shadow = np.zeros((*picture.shape[:2], 1), np.float32)
    shadow[layer.top : layer.top + height, layer.left : layer.left + width, 0] = layer.alpha
    shift = rng.normal(0, 0.04 * np.hypot(height, width), 2).round().astype(int)
    shadow = images.blur(np.roll(shadow, shift, (0, 1)), rng.uniform(1, 5)).reshape(shadow.shape)
    picture *= 1 - np.float32(rng.uniform(0, 0.6)) * shadow


def visibility_of(
    top: np.ndarray, number: int, view: View, joints: np.ndarray, slack: np.ndarray, layer: Layer
) -> tuple[np.ndarray, np.ndarray]:
    """Where joints [K, 3] lie in the image [K, 2], and whether they can be seen [K], as `people.draw_scene` says.

    Args:
        top: [H, W] numbers of the layers on top, as `compose` notes them.
        number: of the layer that the joints belong to.
        view: its camera.
        joints: in view units.
        slack: [K] how far behind the surface in front of it a joint may lie and still be visible, view units.
        layer: see above.
    """
    projected = view.project(joints)
    xy, limit = projected[:, :2], np.array(top.shape[::-1]) - 1
    inside = ((xy >= 0) & (xy <= limit)).all(1)
    column, row = np.rint(xy.clip(0, limit)).astype(int).T
    covered = (top[row, column] + 1) // 2 > number
    hidden = layer.depth_at(xy) < projected[:, 2] - slack * view.scale
    return xy, np.where(inside, np.where(covered | hidden, 1, 2), 0)


def photograph(
    rng: np.random.Generator, blur: tuple[float, float], noise: tuple[float, float], picture: np.ndarray
) -> np.ndarray:
    """Light, lens and sensor: [H, W, 3] uint8; the ranges are of a sigma in pixels and of a deviation in levels."""
    tint = np.float32(rng.uniform(0.8, 1.2)) * rng.normal(1, 0.05, 3).astype(np.float32)
    picture = images.blur(picture, rng.uniform(*blur)) * tint + np.float32(rng.uniform(-12, 18))
    flat = np.frombuffer(rng.bytes(picture.size), np.int8).reshape(picture.shape)  # uniform: 74 is its deviation
    return (picture + flat * np.float32(rng.uniform(*noise) / 74)).clip(0, 255).astype(np.uint8)
