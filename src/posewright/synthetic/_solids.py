"""Limbs and blobs, the solids that synthetic scenes are made of, and the camera that sees them.

Positions before projection are in *view units*: x to the right, y down, z away from the camera, 1 being a grown-up's
stature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Look:
    """How a surface is coloured.

    Attributes:
        base: [3] RGB 0..255.
        second: [3] RGB of the stripes, or of the checks where both kinds of stripes are set.
        rows: stripes across a limb, per view unit; 0 for none.
        columns: stripes along it, per view unit; 0 for none.
    """

    base: np.ndarray
    second: np.ndarray
    rows: float = 0.0
    columns: float = 0.0

    @staticmethod
    def plain(colour: np.ndarray) -> Look:
        """One colour."""
        return Look(colour, colour)


@dataclass(frozen=True, slots=True)
class Section:
    """An elliptical section.

    Attributes:
        depths: half thicknesses at even steps, view units; the limb's radii are the half widths.
        start, end: [3, 2] unit vectors of width and thickness at the limb's ends, as columns.
    """

    depths: tuple[float, ...]
    start: np.ndarray
    end: np.ndarray

    @staticmethod
    def same(depths: tuple[float, ...], axes: np.ndarray) -> Section:
        """A section that does not turn along the limb."""
        return Section(depths, axes, axes)


@dataclass(frozen=True, slots=True)
class Limb:
    """A cylinder from `start` to `end` whose radius follows `radii`.

    Attributes:
        start, end: [3] view units.
        radii: half widths at even steps from start to end, view units.
        look: of the surface up to the share `cut` of the way.
        tip: of the rest; None for the same.
        cut: see above; 1 is the end.
        caps: how round the two ends are: 1 hemispheres, 0 flat.
        section: None for round.
        body: whether it is part of a person (its mask), not a thing.
    """

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, ...]
    look: Look
    tip: Look | None = None
    cut: float = 1.0
    caps: tuple[float, float] = (1.0, 1.0)
    section: Section | None = None
    body: bool = True


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipsoid: `axes` [3, 3] holds its half axes as columns, in view units; see `Limb` for the rest."""

    centre: np.ndarray
    axes: np.ndarray
    look: Look
    body: bool = True


Solid = Limb | Blob


@dataclass(frozen=True, slots=True)
class View:
    """A camera on one group of solids: where their origin falls, how large they are, how strong perspective is.

    Attributes:
        origin: [2] image pixels.
        scale: pixels per view unit at depth 0.
        distance: from camera to depth 0, view units.
    """

    origin: np.ndarray
    scale: float
    distance: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] in view units to (x, y, depth) in image pixels."""
        xy = points[..., :2] * self.zoom(points)[..., None] + self.origin
        return np.concatenate([xy, points[..., 2:] * self.scale], -1)

    def zoom(self, points: np.ndarray) -> np.ndarray:
        """Pixels per view unit at points [..., 3]."""
        return self.scale * self.distance / np.maximum(self.distance + points[..., 2], 0.3 * self.distance)
