"""What stands around synthetic people: rooms, streets, fields, and things, some of them shaped like limbs."""

from __future__ import annotations

import numpy as np

from posewright import image as images
from posewright.synthetic._body import pick
from posewright.synthetic._figure import SKINS, cloth, paint
from posewright.synthetic._solids import Blob, Limb, Look, Section, Solid


def backdrop(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A cluttered, textured background, [H, W, 3] float32 0..255."""
    height, width = size
    horizon = int(height * rng.uniform(0.35, 0.8))
    above = pick(rng, (_leaves, _bricks, _windows, _wash, _wash, _wash))
    below = pick(rng, (_leaves, _bricks, _floor, _floor, _wash))
    picture = np.concatenate([above(rng, horizon, width), below(rng, height - horizon, width)])
    for _ in range(int(rng.integers(0, 7))):
        _panel(rng, picture)
    flat = picture.clip(0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        centre, reach = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0.04, 0.22) * height
        corners = centre + rng.uniform(-reach, reach, (int(rng.integers(3, 7)), 2)) * (1, rng.uniform(0.3, 2))
        red, green, blue = paint(rng, 0.5).clip(0, 255).astype(int).tolist()
        images.draw_polygon(flat, corners, (red, green, blue))
    return images.blur(flat, rng.uniform(0.4, 1.6)).astype(np.float32)


def thing(rng: np.random.Generator) -> list[Solid]:
    """A thing about 1 view unit tall, its middle at the origin."""
    return pick(rng, (_post, _crate, _table, _bush, _balls, _false_limbs, _false_limbs))(rng)


def _grain(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Noise [height, width] float32 in -1..1 with grains of `cell` pixels."""
    grid = rng.random((int(height / cell) + 2, int(width / cell) + 2), np.float32) * 2 - 1
    return images.resize(grid, (height, width))


def _wash(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A smooth run of colours, slightly grainy."""
    base = paint(rng, 0.5)
    grid = (base + rng.normal(0, rng.uniform(4, 22), (int(rng.integers(2, 5)), int(rng.integers(2, 5)), 3))).astype(
        np.float32
    )
    grain = _grain(rng, height, width, rng.uniform(1, 5))[..., None] * np.float32(rng.uniform(0, 14))
    return images.resize(grid, (height, width)) + grain


def _leaves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two colours in ragged patches, such as foliage, gravel or clouds."""
    cell = rng.uniform(3, 22)
    field = _grain(rng, height, width, cell) + 0.6 * _grain(rng, height, width, cell / 2.4)
    share = ((field * rng.uniform(1, 3)).clip(-1, 1) * 0.5 + 0.5)[..., None]
    first = paint(rng, 0.5).astype(np.float32)
    second = (0.5 * first + 0.5 * paint(rng, 0.4)).astype(np.float32)
    return first + (second - first) * share


def _bricks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Bricks, tiles or boards."""
    tall, wide = rng.uniform(6, 40), rng.uniform(10, 120)
    row, column = np.arange(height)[:, None] / tall, np.arange(width) / wide
    shifted = column + (np.floor(row) % 2) * rng.choice([0.0, 0.5])
    shades = rng.normal(0, rng.uniform(2, 20), (64, 64)).astype(np.float32)
    shade = shades[np.floor(row).astype(int) % 64, np.floor(shifted).astype(int) % 64]
    joint = (row % 1 < 1.3 / tall) | (shifted % 1 < 1.3 / wide)
    shade = np.where(joint, np.float32(rng.uniform(-50, 40)), shade)
    return _wash(rng, height, width) + shade[..., None]


def _windows(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The front of a building."""
    tall, wide = rng.uniform(18, 60), rng.uniform(16, 60)
    row, column = np.arange(height)[:, None] / tall % 1, np.arange(width) / wide % 1
    frame = rng.uniform(0.15, 0.35)
    pane = (np.abs(row - 0.5) < 0.5 - frame) & (np.abs(column - 0.5) < 0.5 - frame)
    return np.where(pane[..., None], _wash(rng, height, width), _wash(rng, height, width))


def _floor(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Tiles that run away to the horizon."""
    away = np.float32(rng.uniform(3, 12)) * height / (np.arange(height, dtype=np.float32)[:, None] + 0.15 * height)
    across = (np.arange(width, dtype=np.float32) - width * np.float32(rng.uniform(0, 1))) * away / 60
    tiles = (np.floor(across) + np.floor(away * 2) * float(rng.random() < 0.5)) % 2
    return _wash(rng, height, width) + (tiles * np.float32(rng.uniform(-40, 40)))[..., None]


def _panel(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A picture, door, shelf or window into the background, in place."""
    height, width = picture.shape[:2]
    tall, wide = (int(rng.uniform(0.06, 0.45) * n) for n in (height, width))
    top, left = int(rng.uniform(0, height - tall)), int(rng.uniform(0, width - wide))
    inside = picture[top : top + tall, left : left + wide]
    inside[:] = paint(rng) * rng.uniform(0.4, 1)
    if min(tall, wide) > 12:
        fill = pick(rng, (_wash, _leaves, _bricks))
        inside[3:-3, 3:-3] = fill(rng, tall - 6, wide - 6)


def _post(rng: np.random.Generator) -> list[Solid]:
    lean, radius = rng.normal(0, 0.12), rng.uniform(0.025, 0.09)
    ends = np.array([(-lean, -0.7, 0), (lean, 0.7, 0)])
    return [Limb(ends[0], ends[1], (radius, radius), cloth(rng), caps=(0, 0.2), body=False)]


def _crate(rng: np.random.Generator) -> list[Solid]:
    """A box, basket or barrel with a lid."""
    wide, tall, look = rng.uniform(0.12, 0.45), rng.uniform(0.15, 0.45), cloth(rng)
    ends = np.array([(0, -tall, 0), (rng.normal(0, 0.03), tall, 0)])
    section = Section.same((0.08, 0.08), np.eye(3)[:, [0, 2]])
    lid = Blob(ends[0], np.diag([wide, 0.06, 0.1]), Look.plain(look.base * 0.8), body=False)
    widths = (wide, wide * rng.uniform(0.8, 1.1))
    return [Limb(ends[0], ends[1], widths, look, caps=(0, 0.1), section=section, body=False), lid]


def _table(rng: np.random.Generator) -> list[Solid]:
    half, deep, look = rng.uniform(0.3, 0.7), rng.uniform(0.03, 0.12), cloth(rng)
    leg, height, dark = rng.uniform(0.012, 0.03), rng.uniform(0.4, 0.55), Look.plain(look.base * 0.7)
    ends = np.array([(-half, 0, 0), (half, 0, 0)])
    legs: list[Solid] = [Limb(end * 0.9, end * 0.9 + (0, height, 0), (leg, leg), dark, body=False) for end in ends]
    return [Limb(ends[0], ends[1], (deep, deep), look, caps=(0.2, 0.2), body=False), *legs]


def _bush(rng: np.random.Generator) -> list[Solid]:
    base = paint(rng) * (0.6, 1.0, 0.5)
    middles, radii = rng.normal(0, (0.18, 0.16, 0.05), (9, 3)), rng.uniform(0.06, 0.17, 9)
    shades = (base * rng.uniform(0.7, 1.2, (9, 1))).clip(8, 250)
    return [Blob(m, np.eye(3) * r, Look.plain(s), body=False) for m, r, s in zip(middles, radii, shades)]


def _balls(rng: np.random.Generator) -> list[Solid]:
    """Balls, bottles and boulders; some of the size and the colour of a head."""
    look = Look.plain(pick(rng, SKINS)) if rng.random() < 0.4 else cloth(rng)
    return [Blob(np.zeros(3), np.diag(rng.uniform(0.06, 0.22, 3)), look, body=False)]


def _false_limbs(rng: np.random.Generator) -> list[Solid]:
    """Chains of cylinders in the colours of skin and cloth: distracting arms and legs without a person."""
    solids: list[Solid] = []
    for _ in range(int(rng.integers(1, 4))):
        joint = rng.normal(0, (0.25, 0.25, 0.05))
        radius = rng.uniform(0.02, 0.07)
        for _ in range(int(rng.integers(1, 4))):
            angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.14, 0.32)
            end = joint + np.array([np.cos(angle), np.sin(angle), rng.normal(0, 0.2)]) * length
            look = Look.plain(pick(rng, SKINS)) if rng.random() < 0.5 else cloth(rng)
            solids.append(Limb(joint, end, (radius, radius * 0.9, radius * 0.7), look, body=False))
            joint, radius = end, radius * 0.8
    return solids
