"""Whether an exported file finds the keypoints that the network finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posewright import geometry
from posewright.image import warp_all
from posewright.predict.predictor import Predictor
from posewright.runtime.exported import ExportedNetwork
from posewright.types import Boxes

TOLERANCE = 0.05
"""Image pixels by which a keypoint may differ, at float32."""
_ROUNDING = 4e-6
"""What float32 may change in a map, as a part of its largest value: several times of what it does."""
_SHAKES = 8


@dataclass(frozen=True, slots=True)
class Parity:
    """How the keypoints of a file compare with a predictor's.

    Attributes:
        off: the largest difference between them, in image pixels, along x or y.
        people: how many people they were compared on.
        undecided: keypoints left out, as rounding decides where they lie: of two equal maxima, say, either is right.
    """

    off: float
    people: int
    undecided: int


def compare(predictor: Predictor, other: ExportedNetwork, pictures: Sequence[np.ndarray], *, flip: bool) -> Parity:
    """Compare on pictures [H, W, 3] uint8 RGB, each as a whole.

    Raises:
        ValueError: rounding decides where all of the keypoints lie, so that nothing can be said.
    """
    spec, off, undecided = predictor.spec, 0.0, 0
    for pixels in pictures:
        boxes = Boxes.of([[0, 0, pixels.shape[1], pixels.shape[0]]])
        crop = geometry.crop(boxes, spec.size, padding=spec.padding, rule=spec.crop_rule, image_size=pixels.shape[:2])
        crops = warp_all(pixels, crop, spec.border)
        want, *shaken = (crop.to_image(xy) for xy in _readings(predictor, crops, flip=flip))
        # Of points far outside of the image, which untrained networks find, as few digits are known as everywhere.
        far = np.maximum(np.abs(want).max(-1) / (2 * max(pixels.shape)), 1)
        sure = np.all([np.abs(xy - want).max(-1) <= TOLERANCE * far for xy in shaken], axis=0)
        undecided += int((~sure).sum())
        differences = np.abs(crop.to_image(other.keypoints(crops, spec, flip=flip)[0]) - want).max(-1) / far
        off = max(off, float(differences[sure].max(initial=0)))
    if undecided == len(pictures) * spec.skeleton.num_keypoints:
        raise ValueError(
            f"cannot compare keypoints: rounding decides where all {undecided} of {len(pictures)} images lie; are "
            "these weights trained? Give images with people in them (--images)"
        )
    return Parity(off, len(pictures), undecided)


def _readings(predictor: Predictor, crops: np.ndarray, *, flip: bool) -> Iterator[np.ndarray]:
    """Keypoints in crops: as the predictor finds them, and then from maps that were changed by rounding."""
    spec, kept = predictor.spec, []

    def recorded(images: Tensor) -> Tensor:
        kept.append(predictor.net(images))  # pyright: ignore[reportArgumentType]
        return kept[-1]

    yield Predictor(spec, recorded, flip=flip, device="cpu").keypoints(crops)[0]
    for seed in range(_SHAKES):
        generator, maps = torch.Generator().manual_seed(seed), iter(kept)

        def replayed(images: Tensor, generator: torch.Generator = generator, maps: Iterator[Tensor] = maps) -> Tensor:
            own = next(maps)
            most = own.abs().amax((-2, -1), keepdim=True)
            return own + _ROUNDING * most * (2 * torch.rand(own.shape, generator=generator) - 1)

        yield Predictor(spec, replayed, flip=flip, device="cpu").keypoints(crops)[0]
