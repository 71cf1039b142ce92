"""Networks made ready for torch: folded and channels-last; and what a device can do."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_FOLDED = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
"""These very classes: a subclass may do anything."""


def device_of(name: str | torch.device = "auto") -> torch.device:
    """The device of a name such as "cpu" or "cuda:1"; "auto" is a GPU where there is one, else the CPU.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ValueError(
            f"device {str(name)!r} cannot be used ({reason}); expected auto, cpu, cuda or cuda:N"
        ) from None
    return device


def prepared(net: nn.Module, size: tuple[int, int], device: str | torch.device = "cpu") -> nn.Module:
    """A copy of a network for prediction: evaluation mode, batch norms folded, channels-last, without gradients.

    Outputs differ from the network's own by float32 rounding. The network given stays as it is.

    Args:
        net: takes images [N, 3, H, W].
        size: their (height, width).
        device: where the copy shall run.
    """
    ready = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    fold(ready, (1, 3, *size))
    ready.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return ready


def fold(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Take batch norms into the convolutions before them, in place, where that is provably right.

    The proof is a run on tensors that have a shape but no values: a network whose path depends on values fails it and
    stays as it is. A pair is folded where convolution and norm run once each, nothing but the norm reads the
    convolution's output, and nothing else reads the convolution's parameters.

    Args:
        net: in evaluation mode.
        shape: of its input.

    Returns:
        How many norms were folded.
    """
    pairs = [(conv, norm) for conv, norm in _sole_readers(net, shape) if _plain(conv, norm)]
    for conv, norm in pairs:
        _absorb(conv, norm)
    return len(pairs)


class _Reads(TorchDispatchMode):
    """Counts how many operations read each tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self._alive: list[Any] = []  # an id is a tensor's own only while the tensor lives

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        self.count.update(map(id, leaves))
        self._alive.append(leaves)
        return func(*args, **(kwargs or {}))


def _sole_readers(net: nn.Module, shape: tuple[int, ...]) -> list[tuple[_ConvNd, _BatchNorm]]:
    """The (convolution, norm) pairs of which the norm alone reads what the convolution makes; see `fold`."""
    calls: Counter[nn.Module] = Counter()
    made: dict[int, tuple[_ConvNd, torch.Tensor]] = {}
    normed: list[tuple[int, _BatchNorm]] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls[module] += 1
        if isinstance(module, _ConvNd):
            made[id(output)] = (module, output)
        elif isinstance(module, _BatchNorm) and id(inputs[0]) in made:
            normed.append((id(inputs[0]), module))

    tensors = chain(net.parameters(), net.buffers())
    shadow = copy.deepcopy(net, {id(t): t.to("meta") for t in tensors})  # its tensors have shapes, and no memory
    for module in shadow.modules():
        if type(module) in _FOLDED:
            module.register_forward_hook(note)
    try:
        with torch.no_grad(), torch.device("meta"), _Reads() as reads:
            returned = shadow(torch.empty(shape))
    except Exception:  # whatever the network does that cannot be done without values
        return []
    kept = {id(leaf) for leaf in tree_leaves(returned)}
    real: dict[nn.Module, Any] = dict(zip(shadow.modules(), net.modules()))
    return [
        (real[conv], real[norm])
        for key, norm in normed
        for conv, _ in [made[key]]
        if calls[conv] == calls[norm] == 1
        and key not in kept
        and all(reads.count[k] == 1 for k in (key, *map(id, conv.parameters())))
    ]


def _plain(conv: _ConvNd, norm: _BatchNorm) -> bool:
    """Whether nothing but their own arithmetic happens when the two run, with the norm's own statistics."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (conv, norm))
    absorbed = vars(norm).get("forward") is _same
    return norm.running_mean is not None and not (norm.training or hooked or absorbed)


def _absorb(conv: _ConvNd, norm: _BatchNorm) -> None:
    """(conv - mean) / sqrt(var + eps) * weight + bias, by the convolution alone."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    bias = (0 if conv.bias is None else conv.bias) - norm.running_mean
    bias = bias * scale + (0 if norm.bias is None else norm.bias)
    if isinstance(conv, _ConvTransposeNd):  # weight [in, out / groups, ...]: each group of rows has columns of its own
        columns = scale.view(conv.groups, -1).repeat_interleave(conv.in_channels // conv.groups, 0)[..., None, None]
    else:  # [out, in / groups, ...]
        columns = scale[:, None, None, None]
    conv.weight = nn.Parameter((conv.weight * columns).to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    norm.forward = _same  # not replaced in its parent: other references to the norm must see the change too


def _same(input: torch.Tensor) -> torch.Tensor:
    return input


def can_bf16(device: torch.device) -> bool:
    """Whether networks run in bf16 there at all, if only imitated: what one may ask for."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type != "cpu" or (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 itself: what one may choose unasked. Imitated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(ask is not None and ask() for ask in asks)
