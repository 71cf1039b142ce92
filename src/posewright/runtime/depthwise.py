"""Depthwise convolutions that train fast in bfloat16 on CPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_gradients = torch.ops.aten.convolution_backward


def train_fast_in_bf16(net: nn.Module) -> int:
    """Give a network's depthwise convolutions gradients that are fast in bfloat16 on a CPU, in place.

    For these torch 2.13 has no fast kernel at stride 2 (input) and at 5x5 (weights); they are put together from
    operations that have one. It is for 3x3 and 5x5 convolutions without bias, of stride 1 or 2, that keep the size at
    stride 1. Parameters, their names and the results in any other precision stay as they are.

    Returns:
        How many convolutions were converted.
    """
    found = [m for m in net.modules() if type(m) is nn.Conv2d and _fits(m)]
    for module in found:
        module.__class__ = DepthwiseBf16  # in place, so that everyone who holds the module has the new one
    return len(found)


def _fits(conv: nn.Conv2d) -> bool:
    kernel, stride = conv.kernel_size, conv.stride
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and (kernel, stride, conv.dilation) in [((k, k), (s, s), (1, 1)) for k in (3, 5) for s in (1, 2)]
        and conv.padding == (kernel[0] // 2, kernel[0] // 2)
        and conv.padding_mode == "zeros"
    )


class DepthwiseBf16(nn.Conv2d):
    """What `train_fast_in_bf16` makes of a convolution."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, channels, h, w] to [N, channels, h / stride, w / stride], rounded up."""
        if self.training and input.device.type == "cpu":
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
            if dtype == torch.bfloat16:
                return _Depthwise.apply(input.bfloat16(), self.weight.bfloat16(), self.stride[0])  # pyright: ignore[reportReturnType]
        return super().forward(input)


class _Depthwise(torch.autograd.Function):
    """The convolution of x [N, C, H, W] with w [C, 1, k, k]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, stride: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, w)
        ctx.stride = stride
        return F.conv2d(x, w, None, stride, w.shape[-1] // 2, 1, len(w))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, w = ctx.saved_tensors
        g = g.contiguous(memory_format=torch.channels_last)
        dx = _of_input(g, x, w, ctx.stride) if ctx.needs_input_grad[0] else None
        dw = _of_weight(g, x, w, ctx.stride) if ctx.needs_input_grad[1] else None
        return dx, dw, None


def _of_input(g: Tensor, x: Tensor, w: Tensor, stride: int) -> Tensor:
    """The gradient's convolution with the turned kernel, after zeros were put between its pixels where it strided."""
    if stride == 2:
        spread = torch.zeros_like(x, memory_format=torch.channels_last)
        spread[:, :, ::2, ::2] = g
        g = spread
    return F.conv2d(g, w.flip(2, 3), None, 1, w.shape[-1] // 2, 1, len(w))


def _of_weight(g: Tensor, x: Tensor, w: Tensor, stride: int) -> Tensor:
    """A 3x3 kernel's has a fast kernel; a 5x5 one's is put together from those of its four corners of 3x3."""
    if w.shape[-1] == 3:
        return _of_weight_3x3(g, x, w, stride, 1)
    reach = [stride * (side - 1) + 3 for side in g.shape[-2:]]
    padded, corner = F.pad(x, (2, 2, 2, 2)), w[:, :, :3, :3].contiguous()
    whole = torch.empty_like(w)
    for i in (0, 2):
        for j in (0, 2):
            part = padded[:, :, i : i + reach[0], j : j + reach[1]]
            whole[:, :, i : i + 3, j : j + 3] = _of_weight_3x3(g, part, corner, stride, 0)
    return whole


def _of_weight_3x3(g: Tensor, x: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
    rest = [1, 1], False, [0, 0]  # dilation, transposed, output padding
    return _gradients(g, x, w, None, [stride] * 2, [padding] * 2, *rest, len(w), [False, True, False])[1]
