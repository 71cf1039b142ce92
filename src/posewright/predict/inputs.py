"""What a predictor takes: images in every common form, and boxes given, found or left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike

from posewright.image import read
from posewright.types import Boxes

Image: TypeAlias = "str | os.PathLike[str] | np.ndarray | torch.Tensor | Any"
"""A file, an [H, W, 3] uint8 RGB array, a PIL image, or a tensor; see `as_image`."""

Detector: TypeAlias = "Callable[[np.ndarray], Boxes | np.ndarray]"
"""Finds boxes in an image [H, W, 3] uint8 RGB: `Boxes`, or [N, 4] x, y, width, height in pixels."""

Where: TypeAlias = "Boxes | ArrayLike | Detector | None"
"""Boxes, anything shaped [N, 4] (x, y, width, height in image pixels), a `Detector`, or None: two-pass inference."""


def as_image(image: Image, *, upright: bool = True) -> np.ndarray:
    """An image in any common form as a contiguous [H, W, 3] uint8 RGB array.

    Args:
        image: a file; an array as above; a PIL image of any mode; or a tensor [3, H, W] or [H, W, 3], uint8, or
            floating point from 0 to 1.
        upright: turn files and PIL images as their EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image; the message says what to do.
    """
    if isinstance(image, (str, os.PathLike)):
        return read(image, upright=upright)
    if isinstance(image, torch.Tensor):
        image = _from_tensor(image)
    elif type(image).__module__.partition(".")[0] == "PIL":
        image = _from_pil(image, upright=upright)
    if not isinstance(image, np.ndarray):
        kind = "None" if image is None else f"{type(image).__module__}.{type(image).__name__}"
        raise ValueError(
            f"image: expected a file, an [H, W, 3] uint8 RGB array, a PIL image or a tensor, got {kind}{_hint(image)}"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image: expected an [H, W, 3] uint8 RGB array, got {list(image.shape)} {image.dtype}; {_array_hint(image)}"
        )
    return np.ascontiguousarray(image)


def _from_tensor(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().cpu()
    if array.is_floating_point():
        if not (array.numel() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                "image: expected a tensor of grey levels, uint8 from 0 to 255 or floating point from 0 to 1; got "
                f"{array.dtype} beyond that: undo its normalisation first"
            )
        array = (array.float() * 255).round().to(torch.uint8)
    return (array.permute(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array).numpy()


def _from_pil(image: Any, *, upright: bool) -> np.ndarray:
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image) if upright else image
    if turned.mode.startswith("I;16"):  # Pillow would cut them off at 255
        return np.stack([(np.asarray(turned) >> 8).astype(np.uint8)] * 3, -1)
    return np.asarray(turned.convert("RGB"))


def _hint(image: Any) -> str:
    """What to do about an object that is not an image."""
    if isinstance(image, (list, tuple)):
        return "; give one image, or several to predictor.many(images)"
    if isinstance(image, (bytes, bytearray, memoryview)):
        return '; decode an encoded file with posewright.image.decode(data, "its name")'
    return "; did reading it fail?" if image is None else ""


def _array_hint(image: np.ndarray) -> str:
    """What to do about an array that is no [H, W, 3] uint8 image."""
    if not image.size:
        return "it is empty"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return "make a grey image RGB with np.stack([grey] * 3, -1)"
    if image.ndim == 3 and image.shape[2] == 4:
        return "drop the alpha channel: rgba[..., :3]"
    if image.ndim == 3 and image.shape[2] == 3:
        return "scale it to grey levels 0..255 and use .astype(np.uint8)"
    if image.ndim == 3 and image.shape[0] == 3:
        return "put the channels last: np.moveaxis(image, 0, -1)"
    return "give images one by one, channels last, or several to predictor.many(images)"


def boxes_in(pixels: np.ndarray, boxes: Where, image: Image) -> Boxes:
    """The boxes in an image [H, W, 3], whatever they were given as; each of them touches it.

    Args:
        pixels: the image.
        boxes: given boxes, or a detector that finds them.
        image: what the pixels came from, which messages name where it is a file.

    Raises:
        ValueError: a box is malformed or lies outside the image.
    """
    name = str(image) if isinstance(image, (str, os.PathLike)) else "image"
    height, width = pixels.shape[:2]
    if callable(boxes):
        boxes = boxes(pixels)
    try:
        boxes = boxes if isinstance(boxes, Boxes) else Boxes.of(boxes)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None
    outside = (boxes.xywh[:, :2] >= (width, height)).any(1) | (boxes.xywh[:, :2] + boxes.xywh[:, 2:] <= 0).any(1)
    if outside.any():
        n = int(np.argmax(outside))
        raise ValueError(
            f"{name}: box {n} from {boxes.source}, {boxes.xywh[n].tolist()}, lies outside the image of {width} x "
            f"{height} pixels; expected x, y, width, height in its pixels"
        )
    return boxes
