"""What DARK and UDP share: squares of blurred maps are scaled, and a Newton step leads from pixel to peak."""

from __future__ import annotations

import numpy as np

from posewright.codecs import _blur


def scale_to_peak(near: np.ndarray, maps: np.ndarray, which: np.ndarray, chosen: np.ndarray, kernel: int) -> None:
    """Scale chosen blurred squares [M, n, n], in place, so that their whole map keeps its maximum under the blur.

    The map continues with zeros. This blurs the chosen maps as a whole, so choose only where the scale matters.
    """
    before = maps[which[chosen]]
    after = _blur.blurred(before, kernel, mirrored=False)
    near[chosen] *= (before.max((1, 2)) / after.max((1, 2)))[:, None, None]


_CURVED = 1e-12
"""The least curvature of a logarithm along any direction: what is below it is left of the blur's rounding errors."""


def newton(gradient: np.ndarray, hessian: np.ndarray, damping: float = 0.0) -> np.ndarray:
    """The steps [M, 2] to the extrema of paraboloids; none where the Hessian is singular.

    Nothing limits a step: close to a plateau it can lead out of the map, as in the published code.

    Args:
        gradient: [2, M], along x and y.
        hessian: [3, M], xx, yy and xy.
        damping: added to the Hessian's diagonal.
    """
    dx, dy = gradient
    dxx, dyy, dxy = hessian[0] + damping, hessian[1] + damping, hessian[2]
    determinant = dxx * dyy - dxy**2
    # The determinant over the larger eigenvalue is the smaller one. The published codes test for exactly 0.
    regular = np.abs(determinant) > _CURVED * np.maximum(np.maximum(np.abs(dxx), np.abs(dyy)), np.abs(dxy))
    over = np.where(regular, -1.0, 0.0) / np.where(regular, determinant, 1.0)
    return np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) * over[:, None]
