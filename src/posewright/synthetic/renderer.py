"""Solids drawn into a depth buffer and shaded: hidden joints, overlaps and silhouettes follow from depth alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from posewright import image as images
from posewright.synthetic._solids import Blob, Limb, Solid, View

_FAR = np.float32(1e9)
_STEPS = 96  # samples of a limb's profile; finer than a pixel at the sizes drawn
_FINE = 2  # sub-pixels to a pixel, each way


@dataclass(frozen=True, slots=True)
class Layer:
    """Solids drawn: a patch of the image, of h x w whole pixels.

    Attributes:
        top, left: where the patch lies in the image.
        colour: [h, w, 3] float32, RGB 0..255 times alpha.
        alpha: [h, w] float32 cover, 0..1.
        body: [h, w] float32 cover by people alone.
        depth: [2h, 2w] float32 of the front surface in pixels, at sub-pixels.
    """

    top: int
    left: int
    colour: np.ndarray
    alpha: np.ndarray
    body: np.ndarray
    depth: np.ndarray

    def depth_at(self, xy: np.ndarray) -> np.ndarray:
        """Depth in front at image points [K, 2]; very far where nothing is drawn."""
        column, row = np.rint((xy - (self.left, self.top) + 0.5) * _FINE - 0.5).astype(int).T
        height, width = self.depth.shape
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        return np.where(inside, self.depth[row.clip(0, height - 1), column.clip(0, width - 1)], _FAR)


class _Buffers:
    """Depth, part, brightness and surface coordinates of a patch, at sub-pixels."""

    def __init__(self, box: tuple[int, int, int, int]) -> None:
        self.left, self.top, right, bottom = box
        height, width = (bottom - self.top) * _FINE, (right - self.left) * _FINE
        self.x = ((np.arange(width) + 0.5) / _FINE - 0.5 + self.left).astype(np.float32)
        self.y = ((np.arange(height) + 0.5) / _FINE - 0.5 + self.top).astype(np.float32)
        self.depth = np.full((height, width), _FAR)
        self.part = np.zeros((height, width), np.uint8)
        self.light = np.zeros((height, width), np.float32)
        self.along = np.zeros((height, width), np.float32)
        self.around = np.zeros((height, width), np.float32)

    def window(self, low: Iterable[float], high: Iterable[float]) -> tuple[slice, slice]:
        """Rows and columns of the sub-pixels between two corners (x, y)."""
        (x0, y0), (x1, y1) = low, high
        rows = slice(max(0, math.floor((y0 - self.top) * _FINE)), max(0, math.ceil((y1 - self.top) * _FINE) + 2))
        return rows, slice(
            max(0, math.floor((x0 - self.left) * _FINE)), max(0, math.ceil((x1 - self.left) * _FINE) + 2)
        )


def render(solids: Sequence[Solid], view: View, light: np.ndarray, size: tuple[int, int]) -> Layer | None:
    """Solids as the camera sees them, or None where all of them are outside the image.

    Args:
        solids: 255 at most.
        view: the camera.
        light: [3] unit vector towards the light, in view units.
        size: (height, width) of the image.
    """
    box = _bounds(solids, view, size)
    if box is None:
        return None
    buffers = _Buffers(box)
    for part, solid in enumerate(solids, 1):
        if isinstance(solid, Limb):
            _draw_limb(buffers, solid, view, light, part)
        else:
            _draw_blob(buffers, solid, view, light, part)
    return _shade(buffers, solids, view)


def _bounds(solids: Sequence[Solid], view: View, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    ends, reach = [], []
    for solid in solids:
        if isinstance(solid, Limb):
            ends += [solid.start, solid.end]
            reach += [max(solid.radii + (solid.section.depths if solid.section else ()))] * 2
        else:
            ends.append(solid.centre)
            reach.append(float(np.sqrt((solid.axes[:2] ** 2).sum(1).max())))
    points = np.stack(ends)
    margin = (np.array(reach) * view.zoom(points))[:, None]
    xy = view.project(points)[:, :2]
    left, top = np.floor((xy - margin).min(0)).astype(int).clip(0).tolist()
    right, bottom = np.minimum(np.ceil((xy + margin).max(0)).astype(int) + 1, size[::-1]).tolist()
    return (left, top, right, bottom) if right > left and bottom > top else None


class _Course(NamedTuple):
    """A limb in the image: where it starts, which way it runs, and [_STEPS] float32 tables along it, in pixels."""

    x: float
    y: float
    ux: float
    uy: float
    first: float  # place along the axis of the tables' first entry
    step: float  # from entry to entry
    width: np.ndarray
    depth: np.ndarray  # of the axis
    thick: np.ndarray  # from the axis to the front
    slant: np.ndarray  # depth gained from the middle to the edge
    along: np.ndarray  # 0 at the start, 1 at the end
    light: tuple[np.ndarray, np.ndarray, np.ndarray]  # brightness of the edge, of any place, and of the front


def _draw_limb(buffers: _Buffers, limb: Limb, view: View, light: np.ndarray, part: int) -> None:
    c = _course(limb, view, light)
    reach = float(c.width.max())
    ends = c.first, c.first + c.step * (_STEPS - 1)
    xs, ys = [c.x + c.ux * e for e in ends], [c.y + c.uy * e for e in ends]
    rows, columns = buffers.window((min(xs) - reach, min(ys) - reach), (max(xs) + reach, max(ys) + reach))
    dx, dy = buffers.x[columns] - np.float32(c.x), (buffers.y[rows] - np.float32(c.y))[:, None]
    if not dx.size or not dy.size:
        return
    entry = dx * np.float32(c.ux / c.step) + (dy * np.float32(c.uy / c.step) + np.float32(0.5 - c.first / c.step))
    entry = np.clip(entry, 0, _STEPS - 1, out=entry).astype(np.int32)
    across = (dy * np.float32(c.ux) - dx * np.float32(c.uy)) * (1 / c.width)[entry]
    front = 1 - across * across
    hit = np.flatnonzero(front > 0)
    entry, across, front = entry.ravel()[hit], across.ravel()[hit], np.sqrt(front.ravel()[hit])
    depth = c.depth[entry] + c.slant[entry] * across - c.thick[entry] * front
    nearer = depth < buffers.depth[rows, columns].ravel()[hit]
    hit, entry, across, front = hit[nearer], entry[nearer], across[nearer], front[nearer]
    row, column = np.divmod(hit, dx.size)
    at = (row + rows.start) * buffers.x.size + (column + columns.start)
    edge, anywhere, middle = c.light
    buffers.depth.ravel()[at] = depth[nearer]
    buffers.part.ravel()[at] = part
    buffers.light.ravel()[at] = edge[entry] * across + middle[entry] * front + anywhere[entry]
    buffers.along.ravel()[at] = c.along[entry]
    buffers.around.ravel()[at] = across * (c.width / np.float32(view.scale))[entry]


def _course(limb: Limb, view: View, light: np.ndarray) -> _Course:
    ends = np.stack([limb.start, limb.end])
    (x0, y0, z0), (x1, y1, z1) = view.project(ends).tolist()
    zoom0, zoom1 = view.zoom(ends).tolist()
    length = max(math.hypot(x1 - x0, y1 - y0), 1e-3)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    cap0, cap1 = limb.caps[0] * limb.radii[0] * zoom0 + 1e-3, limb.caps[1] * limb.radii[-1] * zoom1 + 1e-3
    place = np.linspace(-cap0, length + cap1, _STEPS)
    along = (place / length).clip(0, 1)
    beyond = place - along * length
    beyond /= np.where(beyond < 0, cap0, cap1)
    zoom = (zoom0 + (zoom1 - zoom0) * along) * np.sqrt(np.maximum(1 - beyond * beyond, 1e-8))
    width, thick, slant = _profile(limb, zoom, along, np.array([-uy, ux]))
    step = float(place[1] - place[0])
    tables = np.stack([width, z0 + (z1 - z0) * along, thick, slant, along]).astype(np.float32)
    shine = _limb_light(light, ux, uy, (z1 - z0) / length, width, step)
    return _Course(x0, y0, ux, uy, -cap0, step, *tables, shine)  # type: ignore[arg-type]


def _profile(
    limb: Limb, zoom: np.ndarray, along: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, half thickness and slant [_STEPS], in pixels, seen `across` [2], a unit vector in the image."""
    width = _smooth(along, limb.radii) * zoom
    if limb.section is None:
        return width, width, np.zeros(_STEPS)
    # The ellipse's points are width cos(a) wide + depth sin(a) deep: p is how far across the limb, q how far away.
    depth = _smooth(along, limb.section.depths) * zoom
    start, end = limb.section.start[..., None], limb.section.end[..., None]
    wide, deep = (start + (end - start) * along).swapaxes(0, 1)
    p0, p1 = width * (across @ wide[:2]), depth * (across @ deep[:2])
    q0, q1 = width * wide[2], depth * deep[2]
    visibility = np.hypot(p0, p1) + 1e-6
    return visibility, np.abs(p0 * q1 - p1 * q0) / visibility, (p0 * q0 + p1 * q1) / visibility


def _smooth(along: np.ndarray, knots: tuple[float, ...]) -> np.ndarray:
    """Knots at even steps over 0..1, read at places [n] without the kinks of straight pieces."""
    around = along[:, None] + np.array([-0.08, -0.04, 0, 0.04, 0.08])
    return np.interp(around, np.linspace(0, 1, len(knots)), knots).mean(1)


def _limb_light(
    light: np.ndarray, ux: float, uy: float, slope: float, width: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lx, ly, lz = light.tolist()
    slope = min(max(slope, -3.0), 3.0)
    norm = math.hypot(1, slope)
    taper = np.empty_like(width)
    taper[1:-1] = (width[2:] - width[:-2]) / (2 * step)
    taper[0], taper[-1] = taper[1], taper[-2]
    lean = (1 / np.sqrt(1 + taper * taper)).astype(np.float32)
    axis = (ux * lx + uy * ly + slope * lz) / norm
    face = (slope * (ux * lx + uy * ly) - lz) / norm
    return lean * (ux * ly - uy * lx), (-axis * taper).astype(np.float32) * lean, lean * face


def _draw_blob(buffers: _Buffers, blob: Blob, view: View, light: np.ndarray, part: int) -> None:
    centre = view.project(blob.centre)
    zoom = float(view.zoom(blob.centre))
    axes = blob.axes * zoom
    reach = np.sqrt((axes[:2] ** 2).sum(1))
    rows, columns = buffers.window(centre[:2] - reach, centre[:2] + reach)
    x, y = buffers.x[columns] - np.float32(centre[0]), (buffers.y[rows] - np.float32(centre[1]))[:, None]
    if not x.size or not y.size:
        return
    inverse = np.linalg.inv(axes)
    form = (inverse.T @ inverse).astype(np.float32)
    half = form[0, 2] * x + form[1, 2] * y
    rest = (form[0, 0] * x * x - 1) + y * (2 * form[0, 1] * x + form[1, 1] * y)
    root = half * half - form[2, 2] * rest
    z = (-half - np.sqrt(np.maximum(root, 0))) / form[2, 2]
    depth = z + np.float32(centre[2])
    hit = (root > 0) & (depth < buffers.depth[rows, columns])
    unit = axes / np.linalg.norm(axes, axis=0)
    toward = ((unit.T @ light) @ inverse).astype(np.float32)
    np.copyto(buffers.depth[rows, columns], depth, where=hit)
    np.copyto(buffers.part[rows, columns], np.uint8(part), where=hit)
    np.copyto(buffers.light[rows, columns], toward[0] * x + (toward[1] * y + toward[2] * z), where=hit)
    np.copyto(buffers.along[rows, columns], y / np.float32(view.scale), where=hit)
    np.copyto(buffers.around[rows, columns], x / np.float32(view.scale), where=hit)


def _shade(buffers: _Buffers, solids: Sequence[Solid], view: View) -> Layer:
    parts = buffers.part.ravel()
    at = np.flatnonzero(parts)
    part = parts[at] - 1
    colour = _colours(solids, part, buffers.along.ravel()[at], buffers.around.ravel()[at])
    bright = (0.60 + 0.48 * np.maximum(buffers.light.ravel()[at], -0.25)) * (
        1 - _shadow(buffers.depth, view).ravel()[at]
    )
    colour *= bright[:, None]
    fine, size = buffers.part.shape, (buffers.part.shape[0] // _FINE, buffers.part.shape[1] // _FINE)
    patch, cover = np.zeros((parts.size, 3), np.float32), np.zeros((parts.size, 2), np.float32)
    patch[at] = colour
    cover[at, 0] = 1
    cover[at, 1] = np.array([s.body for s in solids])[part]
    patch, cover = images.resize(patch.reshape(*fine, 3), size), images.resize(cover.reshape(*fine, 2), size)
    return Layer(buffers.top, buffers.left, patch, cover[..., 0], cover[..., 1], buffers.depth)


def _shadow(depth: np.ndarray, view: View) -> np.ndarray:
    """Share of light lost [h, w]: a surface just behind a nearer one is darker, so limbs stand out from the trunk."""
    depth = np.minimum(depth, np.float32(view.scale))
    height, width = depth.shape
    coarse = images.resize(depth, (-(-height // 4), -(-width // 4)))
    near = images.resize(images.blur(coarse, max(0.022 * _FINE / 4 * view.scale, 0.3)), (height, width))
    return ((depth - near) / np.float32(0.11 * view.scale)).clip(0, 0.45)


def _colours(solids: Sequence[Solid], part: np.ndarray, along: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Colours [n, 3] of n sub-pixels, by part and place on its surface."""
    looks, cuts, lengths = [], [], []
    for solid in solids:
        limb = isinstance(solid, Limb)
        looks += [solid.look, (solid.tip or solid.look) if limb else solid.look]
        cuts.append(solid.cut if limb else np.inf)
        lengths.append(float(np.linalg.norm(solid.end - solid.start)) if limb else 1.0)
    base = np.array([k.base for k in looks], np.float32)
    second = np.array([k.second for k in looks], np.float32)
    stripes = np.array([(k.rows, k.columns) for k in looks], np.float32)
    which = 2 * part.astype(np.int32) + (along > np.array(cuts, np.float32)[part])
    colour = base[which]
    striped = np.array([k.rows > 0 or k.columns > 0 for k in looks])
    if striped.any():
        pixels = np.flatnonzero(striped[which])
        look, length = which[pixels], np.array(lengths, np.float32)[part[pixels]]
        rows = np.floor(along[pixels] * length * stripes[look, 0] * 2).astype(np.int32) & 1
        columns = np.floor(around[pixels] * stripes[look, 1] * 2 + 0.5).astype(np.int32) & 1
        swap = pixels[np.flatnonzero(rows - columns)]
        colour[swap] = second[which[swap]]
    return colour
