"""Networks that take crops as images are read, uint8: their first step is the normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posewright.image import to_tensor
from posewright.spec import Spec
from posewright.types import Colour


class Normalise(nn.Module):
    """Crops [N, H, W, 3] uint8 RGB to images [N, 3, H, W] float32; see `image.to_tensor`, which it equals.

    Args:
        colour: order of the channels.
        mean: taken from the grey levels.
        std: which they are divided by.
    """

    def __init__(self, colour: Colour, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.swaps_colours = colour == "bgr"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """The images."""
        images = crops.permute(0, 3, 1, 2).float()
        if self.swaps_colours:
            images = images.flip(1)
        return (images - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]


class CropNetwork:
    """Crops [N, H, W, 3] uint8 RGB to maps [N, C, h, w] float32, by a runtime. Safe to call from several threads.

    Args:
        model: a file behind one call.
        fingerprint: a number that is another for other weights, or in another precision.
    """

    def __init__(self, model: Callable[[np.ndarray], list[np.ndarray]], fingerprint: int) -> None:
        self._model, self.fingerprint = model, fingerprint

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """The maps of crops."""
        return self._model(np.ascontiguousarray(crops))[0]


def maps_of(
    net: CropNetwork | Callable[[Tensor], Tensor], crops: np.ndarray, spec: Spec, device: torch.device, *, flip: bool
) -> np.ndarray | Tensor:
    """Crops [N, H, W, 3] uint8 RGB to the maps [N, C, h, w] that a spec's codec decodes.

    With `flip` they are the average of `flip_tested`.
    """

    def run(crops: np.ndarray) -> np.ndarray | Tensor:
        if isinstance(net, CropNetwork):
            return net(crops)  # never a tensor: torch's threads would wait, spinning, on the runtime's cores
        return net(to_tensor(crops, spec.colour, spec.mean, spec.std).to(device))

    with torch.inference_mode():
        return flip_tested(run, crops, spec) if flip else run(crops)


def flip_tested(run: Callable[[np.ndarray], Any], crops: np.ndarray, spec: Spec) -> Any:
    """The maps that a network yields for crops, averaged with those of their mirror images; both in one batch."""
    maps = run(np.concatenate([crops, crops[:, :, ::-1]]))
    return (maps[: len(crops)] + spec.codec.unflip(maps[len(crops) :], spec.skeleton)) / 2
