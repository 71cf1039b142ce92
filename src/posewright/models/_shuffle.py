"""Shuffle blocks: half of the channels are processed, then both halves are swapped for the next block.

ShuffleNet V2's (Ma et al., ECCV 2018, arXiv 1807.11164), and Lite-HRNet's conditional channel weighting (Yu et al.,
CVPR 2021, arXiv 2104.06403, section 3.2), which puts weights computed across branches in the 1x1 convolutions' place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posewright.models._blocks import ConvBN


def shuffle(first: Tensor, second: Tensor) -> Tensor:
    """Two [N, C, h, w] to [N, 2C, h, w]: channel 2k is the first's k-th, channel 2k + 1 the second's.

    Equal to concatenation and ShuffleNet's channel shuffle in one copy instead of two, in the layout that it was given.
    """
    if second.is_contiguous(memory_format=torch.channels_last) and not second.is_contiguous():
        pair = torch.stack((first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1)), -1)
        return pair.flatten(3).permute(0, 3, 1, 2)
    return torch.stack((first, second), 2).flatten(1, 2)


class CrossResolutionWeighting(nn.Module):
    """Weights for every channel and place of every branch, from all branches pooled to the smallest."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels
        hidden = sum(channels) // 8
        self.conv1 = ConvBN(sum(channels), hidden)
        self.conv2 = ConvBN(hidden, sum(channels), relu=False)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Branches [N, C_i, h / 2^i, w / 2^i], weighted."""
        steps = [2 ** (len(x) - 1 - i) for i in range(len(x))]
        pooled = [F.avg_pool2d(branch, step) for branch, step in zip(x[:-1], steps)]
        weights = torch.sigmoid(self.conv2(self.conv1(torch.cat([*pooled, x[-1]], 1)))).split(self.channels, 1)
        return [
            branch * (weights[i] if step == 1 else F.interpolate(weights[i], scale_factor=step, mode="nearest"))
            for i, (branch, step) in enumerate(zip(x, steps))
        ]


class Matrix(nn.Module):
    """A 1x1 convolution `conv` of 1x1 maps, as a matrix product: as a convolution it took up to 8 times as long."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        return F.linear(x, self.conv.weight.flatten(1), self.conv.bias)


class SpatialWeighting(nn.Module):
    """Weights for every channel, from its mean over the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Matrix(channels, channels // 4)
        self.conv2 = Matrix(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w], weighted."""
        weights = torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3))))))
        return x * weights[..., None, None]


class ChannelWeighting(nn.Module):
    """Conditional channel weighting, on all branches together.

    The second half of each branch's channels is weighted across resolutions, convolved depthwise and weighted by its
    means; then it is shuffled with the untouched first half.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        halves = [c // 2 for c in channels]
        self.cross_resolution_weighting = CrossResolutionWeighting(halves)
        self.depthwise_convs = nn.ModuleList(ConvBN(h, h, 3, groups=h, relu=False) for h in halves)
        self.spatial_weighting = nn.ModuleList(SpatialWeighting(h) for h in halves)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Branches [N, C_i, h / 2^i, w / 2^i], each of the same shape as before."""
        halves = [branch.chunk(2, 1) for branch in x]
        second = self.cross_resolution_weighting([half[1] for half in halves])
        paths = zip(self.depthwise_convs, self.spatial_weighting)
        return [shuffle(halves[i][0], weigh(convolve(second[i]))) for i, (convolve, weigh) in enumerate(paths)]


class ShuffleBlock(nn.Module):
    """ShuffleNet V2's block: the second half of the channels through 1x1, depthwise 3x3 and 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        middle = ConvBN(half, half, 3, groups=half, relu=False)
        self.branch2 = nn.Sequential(ConvBN(half, half), middle, ConvBN(half, half))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] to the same shape."""
        first, second = x.chunk(2, 1)
        return shuffle(first, self.branch2(second))
