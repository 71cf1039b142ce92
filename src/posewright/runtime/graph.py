"""A pose system as one graph: uint8 crops in, keypoints in input pixels and scores out, or maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from posewright.codecs._base import MapCodec, TripleCodec
from posewright.runtime.crops import Normalise
from posewright.runtime.decoders import decoder
from posewright.spec import Spec

CROPS = "crops"
"""The name of a graph's input."""
DECODED = ("keypoints", "scores")
RAW = ("maps",)
"""Names of its outputs."""


class PoseGraph(nn.Module):
    """A network with all that is done to a crop: normalisation, flip test and decoding.

    Takes crops [N, H, W, 3] uint8 RGB, the layout that image readers give, for any N. Yields keypoints [N, K, 2] in
    input pixels and scores [N, K], float32; or, raw, the maps [N, C, h, w] that the codec reads.

    Args:
        net: images [N, 3, H, W] to maps; a module is in evaluation mode.
        spec: its pose system.
        flip: average with the mirrored crops, which run in one batch with the others.
        raw: yield maps.

    Raises:
        ValueError: the codec has no decoder for graphs.
    """

    def __init__(self, net: Callable[[Tensor], Tensor], spec: Spec, *, flip: bool = False, raw: bool = False) -> None:
        super().__init__()
        self.net, self.normalise = net, Normalise(spec.colour, spec.mean, spec.std)
        self.unflip = Unflip(spec) if flip else None
        self.decoder = None if raw else decoder(spec.codec, spec.skeleton.num_keypoints)
        self.register_buffer("least", torch.tensor(torch.finfo(torch.float32).min))

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The keypoints and scores, or the maps."""
        images = self.normalise(crops)
        if self.unflip is not None:
            images = torch.cat([images, images.flip(3)])
        # No number is smaller than that one. In int8, OpenVINO 2026.4 moves scales of channels from the network's end
        # into what follows, and fails where that reshapes; it does not move them beyond this.
        maps = torch.maximum(self.net(images), self.least)  # pyright: ignore[reportArgumentType]
        if self.unflip is not None:
            straight, mirrored = maps.reshape(2, -1, *maps.shape[1:]).unbind()
            maps = (straight + self.unflip(mirrored)) / 2
        return maps if self.decoder is None else self.decoder(maps)


class Unflip(nn.Module):
    """`Codec.unflip` by operations that runtimes have: maps [N, C, h, w] of mirrored crops, mirrored back."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        codec = spec.codec
        if not isinstance(codec, MapCodec):
            raise ValueError(f"{type(codec).__name__} has no flip test for graphs: export without --flip")
        self.shift = codec._published_shift if codec.flip_shift is None else codec.flip_shift
        channels = np.arange(codec.channels(spec.skeleton.num_keypoints)).reshape(-1, codec.channels(1))
        self.register_buffer("order", torch.from_numpy(channels[spec.skeleton.flip_index].ravel()))
        signs = torch.tensor([1.0, -1.0, 1.0]) if isinstance(codec, TripleCodec) else torch.ones(1)
        self.register_buffer("signs", signs.repeat(len(channels) * codec.channels(1) // len(signs)).view(-1, 1, 1))
        self.is_signed = isinstance(codec, TripleCodec)

    def forward(self, maps: Tensor) -> Tensor:
        """The maps, mirrored back."""
        flipped = maps.index_select(1, self.order).flip(3)  # pyright: ignore[reportArgumentType]
        if self.shift:  # column 0 keeps its own value
            flipped = torch.cat([flipped[..., :1], flipped[..., :-1]], 3)
        return flipped * self.signs if self.is_signed else flipped  # pyright: ignore[reportOperatorIssue]
