"""What in-graph decoders share: blurs, maxima, the quarter rule and Newton steps, by operations that all runtimes have.

Maps are float32 and [M, h, w], pixels [M, 2] int64, x before y. The rules are those of `codecs`, where blurs are in
float64; what float32 leaves open there is decided by `EQUAL` and `CURVED` here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posewright.codecs import _blur

EQUAL = 4e-7
"""Relative difference below which two blurred values are equal: what is left of float32 after a blur."""
CURVED = 2e-6
"""The least curvature of a logarithm along any direction; what is below it is rounding."""


class Blur(nn.Module):
    """OpenCV's Gaussian blur of whole maps as two products with matrices: [M, h, w] to [M, h + 2 b, w + 2 b].

    Args:
        map_size: (height, width) of the maps.
        kernel: the blur's size.
        mirrored: whether the maps, or their border, continue as a mirror image, or else with zeros.
        border: b, zeros added around the maps before the blur.
    """

    def __init__(self, map_size: tuple[int, int], kernel: int, *, mirrored: bool, border: int = 0) -> None:
        super().__init__()
        more = 0 if mirrored else kernel // 2
        rows, columns = (
            torch.from_numpy(_blur.matrix(side, kernel, border + more)[more : more + side + 2 * border].copy()).float()
            for side in map_size
        )
        self.nothing = kernel == 1 and not border
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns.T.contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        """The blurred maps."""
        return maps if self.nothing else self.rows @ (maps @ self.columns)  # pyright: ignore[reportOperatorIssue]


def first_maximum(rows: Tensor, equal: float = 0.0) -> tuple[Tensor, Tensor]:
    """Index [M, 1] of the first value of each row [M, n] that equals the maximum, and that value [M, 1].

    No runtime's own arg-max is asked: of equal values they take different ones.
    """
    peak = rows.amax(1, keepdim=True)
    last = int(rows.shape[1]) - 1
    is_peak = rows >= peak - equal * peak.abs()
    index = torch.where(is_peak, torch.arange(last + 1, device=rows.device), last).amin(1, keepdim=True)
    return index, rows.gather(1, index)


def peaks(maps: Tensor, empty: int = 0, equal: float = 0.0) -> tuple[Tensor, Tensor]:
    """The first maxima [M, 2] of maps, (empty, empty) where they are not above 0, and their values [M]."""
    width = int(maps.shape[2])
    index, value = first_maximum(maps.flatten(1), equal)
    pixel = torch.cat([index % width, torch.div(index, width, rounding_mode="floor")], 1)
    return torch.where(value > 0, pixel, empty), value[:, 0]


def corner(maps: Tensor, inside: int) -> Tensor:
    """The pixel [2] that lies so far inside of the right and the lower border: 1 is the last one."""
    sides = (int(maps.shape[2]) - inside, int(maps.shape[1]) - inside)
    return torch.cat([torch.full((1,), side, device=maps.device) for side in sides])  # none that a GPU had to be sent


def around(maps: Tensor, pixel: Tensor, reach: int) -> Tensor:
    """Values [M, n, n] of maps around pixels, n = 2 reach + 1; beyond the border those of the border."""
    height, width = (int(side) for side in maps.shape[1:])
    steps = torch.arange(-reach, reach + 1, device=pixel.device)
    x = (pixel[:, :1] + steps).clamp(0, width - 1)
    y = (pixel[:, 1:] + steps).clamp(0, height - 1)
    cells = (y[:, :, None] * width + x[:, None, :]).flatten(1)
    side = 2 * reach + 1
    return maps.flatten(1).gather(1, cells).reshape(-1, side, side)


def quarter_shift(
    maps: Tensor, pixel: Tensor, *, separately: bool = False, excluded: int = 1, equal: float = 0.0
) -> Tensor:
    """Moves [M, 2] of -0.25, 0 or 0.25; see `codecs._maps.quarter_shift`."""
    inner = (pixel > excluded) & (pixel < corner(maps, 1))
    near = around(maps, pixel, 1)
    after = torch.stack([near[:, 1, 2], near[:, 2, 1]], 1)
    before = torch.stack([near[:, 1, 0], near[:, 0, 1]], 1)
    slope = after - before
    if equal:
        level = slope.abs() <= equal * torch.maximum(after.abs(), before.abs())
        slope = torch.where(level, 0.0, slope)
    moved = inner & (pixel.flip(1) > 0) if separately else inner.all(1, keepdim=True)
    return torch.where(moved, 0.25 * torch.sign(slope), 0.0)


def newton(gradient: tuple[Tensor, Tensor], hessian: tuple[Tensor, Tensor, Tensor], damping: float = 0.0) -> Tensor:
    """Steps [M, 2] to the extrema of paraboloids, as by `codecs._taylor.newton`.

    Where the Hessian, xx, yy and xy, is singular there is none, but with damping, which has the limit of the damped
    steps: along the direction that is curved.
    """
    (dx, dy), (dxx, dyy, dxy) = gradient, hessian
    largest = torch.maximum(torch.maximum(dxx.abs(), dyy.abs()), dxy.abs())
    regular = (dxx * dyy - dxy * dxy).abs() > CURVED * largest
    damped_x, damped_y = dxx + damping, dyy + damping
    determinant = damped_x * damped_y - dxy * dxy
    over = torch.where(regular, -1 / torch.where(regular, determinant, 1.0), 0.0)
    steps = torch.stack([damped_y * dx - dxy * dy, damped_x * dy - dxy * dx], 1) * over[:, None]
    if not damping:
        return steps
    trace = dxx + dyy
    ridge = ~regular & (trace.abs() > CURVED)
    over = torch.where(ridge, -1 / torch.where(ridge, trace * trace, 1.0), 0.0)
    return steps + torch.stack([dxx * dx + dxy * dy, dxy * dx + dyy * dy], 1) * over[:, None]


def log_ratios(near: Tensor) -> Tensor:
    """Logarithms [M, n, n] of values above 0 over the middle one: float32 tells small differences apart near 0 only."""
    middle = near.shape[1] // 2
    return torch.log(near / near[:, middle, middle][:, None, None])
