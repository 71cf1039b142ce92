"""Transposed convolutions as plain ones, which run in int8 and fast in bf16: nncf and ONNX Runtime leave the former at
float32, and OpenVINO has a slow one in bf16 where there are groups, as in LPN.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TAPS = ((3, 1), (2, 0))
"""Of a kernel of 4 at stride 2 and padding 1: what even and odd output pixels read of their two input pixels."""


class PhaseConv(nn.Module):
    """A transposed 4x4 convolution of stride 2 as a 2x2 one for each of four phases, with as many multiply-adds.

    The phases, which are the even and odd rows and columns of the result, are not yet interleaved, but below each
    other: what looks at single pixels takes them as it would the result.
    """

    def __init__(self, deconv: nn.ConvTranspose2d) -> None:
        super().__init__()
        kind = DepthwiseSum if deconv.in_channels > deconv.groups == deconv.out_channels else nn.Conv2d
        shape = deconv.in_channels, deconv.out_channels, 2
        self.convs = nn.ModuleList(kind(*shape, groups=deconv.groups) for _ in range(4))
        for conv, (weight, bias) in zip(self.convs, _phases(deconv)):
            conv.weight, conv.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, h, w] to [N, out, 4 h, w]."""
        pads = [(1 - column, column, 1 - row, row) for row in (0, 1) for column in (0, 1)]
        return torch.cat([conv(F.pad(x, pad)) for conv, pad in zip(self.convs, pads)], 2)


class DepthwiseSum(nn.Conv2d):
    """A convolution whose groups have one output each, by a depthwise one and sums, which OpenVINO has faster."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, in, h, w] to [N, groups, h - 1, w - 1]."""
        single = F.conv2d(input, self.weight.flatten(0, 1)[:, None], groups=self.in_channels)
        assert self.bias is not None  # `PhaseConv` gives it one
        return single.unflatten(1, (self.groups, -1)).sum(2) + self.bias[:, None, None]


class WidePhaseConv(nn.Module):
    """`PhaseConv` by one convolution for all phases, without groups; it takes one more row and column."""

    def __init__(self, deconv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(deconv.in_channels, 4 * deconv.out_channels, 2, padding=1)
        self.conv.weight, self.conv.bias = (nn.Parameter(torch.cat(parts)) for parts in zip(*_phases(deconv)))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, h, w] to [N, out, 4 h, w]."""
        first, second = slice(None, -1), slice(1, None)
        places = [(rows, columns) for rows in (first, second) for columns in (first, second)]
        return torch.cat([part[:, :, r, c] for part, (r, c) in zip(self.conv(x).chunk(4, 1), places)], 2)


def _phases(deconv: nn.ConvTranspose2d) -> list[tuple[Tensor, Tensor]]:
    """Weight [out, in / groups, 2, 2] and bias [out] of each phase's convolution."""
    weight = deconv.weight.detach().unflatten(0, (deconv.groups, -1)).transpose(1, 2).flatten(0, 1)
    bias = torch.zeros(deconv.out_channels) if deconv.bias is None else deconv.bias.detach()
    return [(weight[:, :, rows][..., columns], bias.clone()) for rows in _TAPS for columns in _TAPS]


class Interleave(nn.Module):
    """Phases [N, channels, 4 h, w] to what they are phases of, [N, channels, 2 h, 2 w]."""

    def forward(self, phases: Tensor) -> Tensor:
        """The phases, interleaved."""
        # As in `graph.PoseGraph`: scales of channels must not be moved into what follows.
        phases = torch.maximum(phases, torch.tensor(torch.finfo(torch.float32).min))
        return F.pixel_shuffle(phases.unflatten(2, (4, -1)).flatten(1, 2), 2)


def with_plain_convolutions(net: nn.Module, *, wide: bool = False) -> nn.Module:
    """A copy of a network whose transposed 4x4 convolutions of stride 2 are `PhaseConv` and `Interleave`.

    Args:
        net: stays as it is.
        wide: take `WidePhaseConv`, and leave convolutions with groups: ONNX Runtime is faster so, OpenVINO is not.
    """
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.ConvTranspose2d and _fits(child) and (child.groups == 1 or not wide):
                phases = WidePhaseConv(child) if wide else PhaseConv(child)
                setattr(parent, name, nn.Sequential(phases, Interleave()))
    layers, final = getattr(net, "deconv_layers", None), getattr(net, "final_layer", None)
    if isinstance(layers, nn.Sequential) and isinstance(final, nn.Module) and _looks_at_single_pixels(final):
        _interleave_after(final, layers, net)
    return net


def _interleave_after(final: nn.Module, layers: nn.Sequential, net: nn.Module) -> None:
    """Interleave a head's last phases after its last layer: that has few channels, and nothing before it waits."""
    upsampled = [(n, layer[0]) for n, layer in enumerate(layers) if isinstance(layer, nn.Sequential)]
    if upsampled and all(map(_looks_at_single_pixels, list(layers)[upsampled[-1][0] + 1 :])):
        layers[upsampled[-1][0]] = upsampled[-1][1]
        net.final_layer = nn.Sequential(final, Interleave())


def _fits(deconv: nn.ConvTranspose2d) -> bool:
    found = (deconv.kernel_size, deconv.stride, deconv.padding, deconv.output_padding, deconv.dilation)
    return found == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1))


def _looks_at_single_pixels(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return (layer.kernel_size, layer.stride, layer.padding) == ((1, 1), (1, 1), (0, 0))
    return type(layer) in (nn.BatchNorm2d, nn.ReLU)
