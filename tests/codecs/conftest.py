"""Slow, obviously right blurs and awkward maps that all codecs' tests share."""

import math

import numpy as np
import pytest

TABLE = {
    1: [1],
    3: [1, 2, 1],
    5: [1, 4, 6, 4, 1],
    7: [2, 7, 14, 18, 14, 7, 2],
    9: [4, 13, 30, 51, 60, 51, 30, 13, 4],
}


def blur(heat, kernel, border=0):
    """One map under OpenCV's blur, mirrored at the border, or with that many zeros added and cut off again."""
    if kernel in TABLE:
        taps = np.array(TABLE[kernel]) / sum(TABLE[kernel])
    else:
        sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
        taps = np.array([math.exp(-((i - kernel // 2) ** 2) / (2 * sigma**2)) for i in range(kernel)])
        taps /= taps.sum()
    wide = np.pad(np.asarray(heat, np.float64), border)
    height, width = wide.shape
    padded = np.pad(wide, kernel // 2, mode="reflect")
    rows = sum(tap * padded[:, i : i + width] for i, tap in enumerate(taps))
    out = sum(tap * rows[i : i + height] for i, tap in enumerate(taps))
    return out[border : height - border, border : width - border]


def awkward(scale=1.0, height=64, width=48):
    """Blobs (single, double, across the border), noise, empty, negative, plateau and single-pixel maps."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    at = rng.uniform((-3, -3), (width + 3, height + 3), (70, 2))
    blob = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 8)
    narrow = np.exp(-((x - at[:20, 0, None, None]) ** 2 + (y - at[:20, 1, None, None]) ** 2) / 2.4)
    two = narrow[:10] + rng.uniform(0.5, 1.1, (10, 1, 1)) * narrow[10:]
    spots = rng.random((49, height, width)) * 0.1
    places = [(v, u) for v in (0, 1, 2, height // 2, -3, -2, -1) for u in (0, 1, 2, width // 2, -3, -2, -1)]
    for heat, (v, u) in zip(spots, places):
        heat[v, u] = 1
    kinds = [
        blob + rng.normal(size=blob.shape) * 0.005,
        blob[:5],
        narrow,
        two,
        rng.normal(size=(10, height, width)),
        np.round(rng.random((10, height, width)), 1),
        spots,
        -blob[:3] - 0.1,
        np.zeros((1, height, width)),
        np.full((1, height, width), -0.01),
        np.full((1, height, width), 0.5),
    ]
    return (np.concatenate(kinds) * scale).astype(np.float32)


@pytest.fixture(scope="session")
def slow_blur():
    """The function `blur`."""
    return blur


@pytest.fixture(scope="session")
def awkward_maps():
    """The function `awkward`."""
    return awkward
