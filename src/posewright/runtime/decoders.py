"""Codecs' decoders as torch modules, for graphs of other runtimes: they find what `Codec.decode` finds.

All is computed in float32. Keypoints are those of the codecs to 0.05 input pixels wherever a network's own float32
rounding leaves them defined; Newton steps far out of a map's maximum, on plateaus, are as unreliable here as there.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from posewright.codecs import Codec, _maps
from posewright.codecs._multiscale import SecondMaximumHeatmap
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap
from posewright.runtime import _maxima
from posewright.runtime._maxima import EQUAL, Blur

_BORDER = 10
"""Zeros around a map before MSPN, RSN and CPN blur it and look for its maxima."""
_VOTES_EQUAL = 1e-5
"""Relative difference below which two sums of G-RMI's votes, of thousands of terms each, are equal."""


class Decoder(nn.Module):
    """Maps [N, C, h, w] float32 to keypoints [N, K, 2] in input pixels and scores [N, K], float32, for any N.

    Args:
        codec: says how.
        num_keypoints: K.
        scale: input pixels per map pixel along x and y.
        shift: input pixels added along x and y.
    """

    def __init__(
        self,
        codec: Codec,
        num_keypoints: int,
        scale: np.ndarray,
        shift: tuple[float, float] | np.ndarray = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.num_keypoints, self.per_point = num_keypoints, codec.channels(1)
        self.height, self.width = codec.map_size
        self.register_buffer("scale", torch.tensor(np.asarray(scale), dtype=torch.float32))
        self.register_buffer("shift", torch.tensor(np.asarray(shift), dtype=torch.float32))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The keypoints and scores."""
        shape = (self.per_point, self.height, self.width) if self.per_point > 1 else (self.height, self.width)
        xy, score = self.read(maps.reshape(-1, *shape))
        # Scaled last: in int8, OpenVINO 2026.4 takes factors for scales of its own, and fails where a reshape follows.
        xy = xy.reshape(-1, self.num_keypoints, 2) * self.scale + self.shift  # pyright: ignore[reportOperatorIssue]
        return xy, score.reshape(-1, self.num_keypoints)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [M, h, w], or [M, per point, h, w], to points [M, 2] in map pixels and scores [M]."""
        raise NotImplementedError


class Gaussian(Decoder):
    """`GaussianHeatmap`: arg-max or soft-arg-max, and the quarter rule."""

    def __init__(self, codec: GaussianHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, _maps.stride(codec.size, codec.map_size), (-codec.compensation, 0.0))
        self.codec = codec

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        if self.codec.decoding == "soft-argmax":
            xy, pixel, score = self._soft(maps)
        else:
            pixel, score = _maxima.peaks(maps, self.codec.empty)
            xy = pixel.float()
        if self.codec.quarter:
            xy = xy + _maxima.quarter_shift(maps, pixel, separately=self.codec.separately)
        return xy, score

    def _soft(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean positions, the pixels that the quarter rule asks, and the values nearest to those positions."""
        rows, places = maps.flatten(1), torch.arange(self.height * self.width, device=maps.device)
        index, peak = _maxima.first_maximum(rows)
        first = torch.cat([index % self.width, torch.div(index, self.width, rounding_mode="floor")], 1)
        share = torch.exp(self.codec.beta * (rows - peak))
        # Relative to the maximum, so that float32 keeps the fraction.
        ways = (places % self.width, torch.div(places, self.width, rounding_mode="floor"))
        sums = [(share * (way - first[:, axis : axis + 1])).sum(1) for axis, way in enumerate(ways)]
        way = torch.stack(sums, 1) / share.sum(1, keepdim=True)
        place = first + torch.round(way * 1e6) / 1e6  # halves are exact, as in the codec
        nearest = torch.minimum(torch.round(place).long().clamp(min=0), _maxima.corner(maps, 1))
        pixel = torch.floor(place + 0.5).long()
        score = rows.gather(1, nearest[:, 1:] * self.width + nearest[:, :1])[:, 0]
        return first + way, pixel, score


class Hourglass(Decoder):
    """`HourglassHeatmap`: arg-max, the quarter rule, half a pixel."""

    def __init__(self, codec: HourglassHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, _maps.stride(codec.size, codec.map_size))

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        pixel, score = _maxima.peaks(maps, -1)
        return pixel + _maxima.quarter_shift(maps, pixel, excluded=0) + 0.5, score


class Dark(Decoder):
    """`DarkHeatmap`: a Newton step on the logarithm of the blurred map."""

    def __init__(self, codec: DarkHeatmap, num_keypoints: int) -> None:
        scale, shift = codec._bridge()
        super().__init__(codec, num_keypoints, 1 / scale, -shift / scale)
        self.codec = codec
        self.blur = Blur(codec.map_size, codec.blur, mirrored=False)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        pixel, score = _maxima.peaks(maps, self.codec.empty)
        if self.codec.refine == "newton":
            return pixel + self._steps(maps, pixel), score
        if self.codec.refine == "quarter":
            return pixel + _maxima.quarter_shift(maps, pixel), score
        return pixel.float(), score

    def _steps(self, maps: Tensor, pixel: Tensor) -> Tensor:
        blurred = self.blur(maps)
        near = _maxima.around(blurred, pixel, 2) * _kept_peak(maps, blurred)
        log = _maxima.log_ratios(near.clamp(min=1e-10))
        left, right, above, below = log[:, 2, 1], log[:, 2, 3], log[:, 1, 2], log[:, 3, 2]
        dxx, dyy = (log[:, 2, 4] + log[:, 2, 0]) / 4, (log[:, 4, 2] + log[:, 0, 2]) / 4  # less the middle, which is 0
        dxy = (log[:, 3, 3] - log[:, 1, 3] - log[:, 3, 1] + log[:, 1, 1]) / 4
        steps = _maxima.newton(((right - left) / 2, (below - above) / 2), (dxx, dyy, dxy))
        inner = ((pixel > 1) & (pixel < _maxima.corner(maps, 2))).all(1, keepdim=True)
        return torch.where(inner, steps, 0.0)


class Udp(Decoder):
    """`UdpHeatmap` and `UdpMultiScaleHeatmap`: a Newton step on the logarithm of the blurred map, stretched."""

    def __init__(self, codec: UdpHeatmap | UdpMultiScaleHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, codec._stride)
        self.toolkit, self.refine = codec.toolkit, codec.refine if isinstance(codec, UdpHeatmap) else "newton"
        self.least = 1.0 if isinstance(codec, UdpHeatmap) else 255.0
        self.blur = Blur(codec.map_size, codec.blur, mirrored=codec.toolkit != "mmpose1")

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        maps = maps / self.least
        pixel, score = _maxima.peaks(maps, 0 if self.toolkit == "udp" else -1)
        if self.refine == "newton":
            steps = torch.where(score[:, None] > 0, self._steps(maps, pixel, score), 0.0)
            return pixel + steps, score
        if self.refine == "quarter":
            return pixel + _maxima.quarter_shift(maps, pixel), score
        return pixel.float(), score

    def _steps(self, maps: Tensor, pixel: Tensor, peak: Tensor) -> Tensor:
        blurred = self.blur(maps)
        near = _maxima.around(blurred, pixel, 1)
        if self.toolkit == "udp":
            low, high = blurred.amin((1, 2)), blurred.amax((1, 2))
            level = high - low <= 1e-5 * peak
            stretch = torch.where(level, 0.0, peak / torch.where(level, 1.0, high - low))
            near = (near - low[:, None, None]) * stretch[:, None, None]
        elif self.toolkit == "mmpose1":
            near = near * _kept_peak(maps, blurred)
        log = _maxima.log_ratios(near.clamp(0.001, 50.0))
        corner, above, left, right = log[:, 0, 0], log[:, 0, 1], log[:, 1, 0], log[:, 1, 2]
        below, other = log[:, 2, 1], log[:, 2, 2]
        dxy = (other - right - below - left - above + corner) / 2
        damping = 0.0 if self.toolkit == "udp" else float(np.finfo(np.float32).eps)
        return _maxima.newton(((right - left) / 2, (below - above) / 2), (right + left, below + above, dxy), damping)


class UdpOffset(Decoder):
    """`UdpOffsetHeatmap`: the blurred class map's maximum, and the blurred offsets there."""

    def __init__(self, codec: UdpOffsetHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, codec._stride)
        self.radius = codec.radius
        self.near, self.way = (Blur(codec.map_size, kernel, mirrored=True) for kernel in codec.blurs)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        pixel, score = _maxima.peaks(self.near(maps[:, 0]), equal=EQUAL)
        offsets = self.way(maps[:, 1:].flatten(0, 1)).reshape(-1, 2, self.height * self.width)
        cell = (pixel[:, 1:] * self.width + pixel[:, :1])[:, :, None].expand(-1, 2, 1)
        return pixel + self.radius * offsets.gather(2, cell)[:, :, 0], score


class OffsetVotes(Decoder):
    """`OffsetHeatmap`: all pixels vote for where their offsets point to."""

    def __init__(self, codec: OffsetHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, codec._stride)
        self.stride = tuple(float(length) for length in codec._stride)
        self.share = self.stride[0] * self.stride[1] / (math.pi * codec.radius**2)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        pixel, votes = _maxima.peaks(self._votes(maps), equal=_VOTES_EQUAL)
        return pixel.float(), votes * self.share

    def _votes(self, maps: Tensor) -> Tensor:
        probability = torch.sigmoid(maps[:, 0])
        x, y = (torch.arange(side, device=maps.device).float() for side in (self.width, self.height))
        column, right = self._target(x, maps[:, 1] / self.stride[0], self.width)
        row, below = self._target(y[:, None], maps[:, 2] / self.stride[1], self.height)
        wide = self.width + 3
        first = (row * wide + column).flatten(1)
        total = maps.new_zeros(()).expand(maps.shape[0], (self.height + 3) * wide)
        for down, share_y in ((0, 1 - below), (1, below)):
            for along, share_x in ((0, 1 - right), (1, right)):
                shares = (probability * share_y * share_x).flatten(1)
                total = total.scatter_add(1, first + (down * wide + along), shares)
        return total.reshape(-1, self.height + 3, wide)[:, 1 : self.height + 1, 1 : self.width + 1]

    @staticmethod
    def _target(pixel: Tensor, way: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Whole pixels of a frame that is one pixel wider on either side, and the fractions beyond them."""
        whole = torch.floor(way)
        place, fraction = pixel + whole, way - whole
        outside = (place < -1) | (place >= side)
        return place.clamp(-1, side).long() + 1, torch.where(outside, 0.0, fraction)


class MultiScale(Decoder):
    """`SecondMaximumHeatmap` (MSPN, RSN, CPN): from the blurred map's maximum toward the next one."""

    def __init__(self, codec: SecondMaximumHeatmap, num_keypoints: int) -> None:
        stride = _maps.stride(codec.size, codec.map_size)
        super().__init__(codec, num_keypoints, stride, stride / 2)
        self.shifts, self.is_cpn = codec.shifts, isinstance(codec, CpnMultiScaleHeatmap)
        self.blur = Blur(codec.map_size, codec.blur, mirrored=True, border=_BORDER)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        # CPN divides maps by their maxima. A positive factor moves nothing, so the sign is enough.
        signed = maps * torch.sign(maps.amax((1, 2), keepdim=True)) if self.is_cpn else maps
        cells = self.blur(signed).flatten(1)
        best, xy = self._largest(cells)
        for shift in self.shifts:
            cells = torch.where(torch.arange(int(cells.shape[1]), device=cells.device) == best, 0.0, cells)
            best, place = self._largest(cells)
            way = place - xy
            length = (way * way).sum(1, keepdim=True).sqrt()
            xy = xy + torch.where(length > 1e-3, shift * way / length.clamp(min=1e-3), 0.0)
        xy = torch.minimum(xy.clamp(min=0), _maxima.corner(maps, 1).float())
        nearest = torch.round(xy).long()
        value = maps.flatten(1).gather(1, nearest[:, 1:] * self.width + nearest[:, :1])
        return xy, value[:, 0] / 255 + 0.5

    def _largest(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """The largest of each row of cells [M, n], and where it lies in map pixels [M, 2]."""
        best, _ = _maxima.first_maximum(cells, EQUAL)
        wide = self.width + 2 * _BORDER
        place = torch.cat([best % wide, torch.div(best, wide, rounding_mode="floor")], 1) - _BORDER
        return best, place.float()


class MmposeMultiScale(Decoder):
    """`MmposeMultiScaleHeatmap`: maximum and quarter rule on the blurred map."""

    def __init__(self, codec: MmposeMultiScaleHeatmap, num_keypoints: int) -> None:
        super().__init__(codec, num_keypoints, _maps.stride(codec.size, codec.map_size))
        self.blur = Blur(codec.map_size, codec.blur, mirrored=False)

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.read`."""
        blurred = self.blur(maps)
        blurred = blurred * _kept_peak(maps, blurred)
        pixel, value = _maxima.peaks(blurred, -1, EQUAL)
        half = 0.5 * ((pixel > 1) & (pixel < _maxima.corner(maps, 1))).all(1, keepdim=True)
        return pixel + _maxima.quarter_shift(blurred, pixel, equal=EQUAL) + half, value / 255 + 0.5


def _kept_peak(maps: Tensor, blurred: Tensor) -> Tensor:
    """Factors [M, 1, 1] that give blurred maps the maxima that they had before."""
    before, after = maps.amax((1, 2), keepdim=True), blurred.amax((1, 2), keepdim=True)
    return before / torch.where(after == 0, 1.0, after)


_DECODERS = {
    GaussianHeatmap: Gaussian,
    HourglassHeatmap: Hourglass,
    DarkHeatmap: Dark,
    UdpHeatmap: Udp,
    UdpMultiScaleHeatmap: Udp,
    UdpOffsetHeatmap: UdpOffset,
    OffsetHeatmap: OffsetVotes,
    SecondMaximumHeatmap: MultiScale,
    MmposeMultiScaleHeatmap: MmposeMultiScale,
}


def has_decoder(codec: Codec) -> bool:
    """Whether there is a decoder of such a codec: of all published ones."""
    return isinstance(codec, tuple(_DECODERS))


def decoder(codec: Codec, num_keypoints: int) -> Decoder:
    """The decoder of a codec.

    Raises:
        ValueError: there is none for such a codec.
    """
    for kind, made in _DECODERS.items():
        if isinstance(codec, kind):
            return made(codec, num_keypoints)
    raise ValueError(f"{type(codec).__name__} has no decoder for graphs: export raw maps (--raw)")
