"""Weights and images that are pure functions of a name, the same on every machine.

They were defined with the official outputs in `models.json.xz`, which hold for them alone: PCG64's raw 64-bit words,
seeded with the CRC-32 of the name, then whole-number work and one rounding to float32.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch

SPREAD = math.sqrt((2**32 - 1) / 3)
"""Standard deviation of the sum of four uniform 16-bit numbers."""
MEAN = 4 * (2**16 - 1) // 2

NEAR_ZERO = ("bias", "bn_bias", "ln_bias")
NEAR_ONE = ("bn_weight", "ln_weight")


def words(name: str, count: int) -> np.ndarray:
    """`[count]` 64-bit words of the name's stream."""
    return np.asarray(np.random.PCG64(zlib.crc32(name.encode())).random_raw(count), np.uint64)


def sums(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bell-shaped whole numbers around `MEAN`: each the sum of a word's four 16-bit parts."""
    parts = words(name, math.prod(shape)).astype("<u8").view("<u2")
    return sum((parts[i::4].astype(np.int64) for i in range(1, 4)), parts[::4].astype(np.int64)).reshape(shape)


def normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 of mean 0 and variance 1."""
    return (sums(name, shape) - MEAN) / SPREAD


def filters(name: str, shape: tuple[int, ...], kind: str, argument: str) -> np.ndarray:
    """He-scaled filters; each over at least 8 channels loses a quarter of its mean.

    The quarter keeps the common level that every ReLU leaves from drowning what varies over the image, and float32's
    rounding below 2e-5 of the output however deep the network is.
    """
    axes = {"linear": (1,), "conv": (1, 2, 3), "deconv": (0, 2, 3)}[kind]
    fan_in = math.prod(shape[i] for i in axes)
    if kind == "deconv":  # of stride 2: a quarter of the kernel reaches each output
        fan_in = max(1, shape[0] // int(argument or 1) * shape[2] * shape[3] // 4)
    if (kind == "conv" and shape[1] < 8) or (kind == "deconv" and argument):
        values = normal(name, shape)
    else:
        drawn, count = sums(name, shape), math.prod(shape[i] for i in axes)
        values = drawn * (4 * count) - drawn.sum(axes, keepdims=True) - 3 * count * MEAN
        values = values.astype(np.float64) / (4 * count * SPREAD)
    return values * math.sqrt(2 / fan_in)


def parameter(name: str, shape: tuple[int, ...], kind: str) -> torch.Tensor:
    """One entry of a state dict; `kind` is its role, where needed with `:` and the groups or the layer's scale."""
    kind, _, argument = kind.partition(":")
    scale = float(argument or 1)
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if kind in NEAR_ZERO:
        values = normal(name, shape) * 0.1
    elif kind in NEAR_ONE:
        values = normal(name, shape) * 0.1 + 1
    elif kind == "running_mean":
        values = normal(name, shape) * (0.1 * scale)
    elif kind == "running_var":
        uniform = (words(name, math.prod(shape)) >> np.uint64(11)) * 2.0**-53
        values = (uniform.reshape(shape) + 0.5) * (scale * scale)
    else:
        values = filters(name, shape, kind, argument)
    return torch.from_numpy(values.astype(np.float32))


def image(channels: int, height: int, width: int) -> torch.Tensor:
    """`[1, C, H, W]` float32: noise at three scales, so that deep features still vary over it."""
    total = np.zeros((channels, height, width))
    for block in (1, 8, 32):
        coarse = normal(
            f"input/0/{channels}x{height}x{width}/{block}", (channels, -(-height // block), -(-width // block))
        )
        total += coarse.repeat(block, 1).repeat(block, 2)[:, :height, :width]
    return torch.from_numpy((total / math.sqrt(3)).astype(np.float32))[None]
