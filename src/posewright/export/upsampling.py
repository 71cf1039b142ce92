"""Transposed convolutions as plain ones: nncf and ONNX Runtime leave the former at float32."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_TAPS = ((3, 1), (2, 0))
"""Of a kernel of 4 at stride 2 and padding 1: what even and odd output pixels read of their two input pixels."""


class PhaseConv(nn.Module):
    """A transposed 4x4 convolution of stride 2 as one 2x2 convolution for all four phases, which are then interleaved.

    Takes as many multiply-adds, but for one more row and column.
    """

    def __init__(self, deconv: nn.ConvTranspose2d) -> None:
        super().__init__()
        phases = [deconv.weight[:, :, rows][:, :, :, columns] for rows in _TAPS for columns in _TAPS]
        self.channels = deconv.out_channels
        self.conv = nn.Conv2d(deconv.in_channels, 4 * self.channels, 2, padding=1)
        self.conv.weight.data = torch.cat([phase.transpose(0, 1) for phase in phases]).detach().contiguous()
        bias = torch.zeros(self.channels) if deconv.bias is None else deconv.bias.detach()
        self.conv.bias = nn.Parameter(bias.repeat(4))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, h, w] to [N, out, 2 h, 2 w]."""
        # As in `graph.PoseGraph`: scales of channels must not be moved into what follows.
        y = torch.maximum(self.conv(x), torch.tensor(torch.finfo(torch.float32).min))
        parts = y.chunk(4, 1)
        first, second = slice(None, -1), slice(1, None)
        phases = [
            parts[0][:, :, first, first],
            parts[1][:, :, first, second],
            parts[2][:, :, second, first],
            parts[3][:, :, second, second],
        ]
        return nn.functional.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


def with_plain_convolutions(net: nn.Module) -> nn.Module:
    """A copy of a network whose transposed 4x4 convolutions of stride 2, without groups, are `PhaseConv`."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.ConvTranspose2d and _fits(child):
                setattr(parent, name, PhaseConv(child))
    return net


def _fits(deconv: nn.ConvTranspose2d) -> bool:
    found = (deconv.kernel_size, deconv.stride, deconv.padding, deconv.output_padding, deconv.dilation, deconv.groups)
    return found == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1), 1)
