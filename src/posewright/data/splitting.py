"""One annotation file split into two: to train on, and to choose the best weights by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import msgspec
import numpy as np

from posewright.data.formats import Annotated


def split(found: Annotated, share: float, *, seed: int = 0, by_folder: bool = False) -> tuple[Annotated, Annotated]:
    """Annotations split by image at random, so that no image is in both parts.

    Args:
        found: the annotations.
        share: of the images that go into the second part, between 0 and 1.
        seed: the same seed splits the same images in the same way.
        by_folder: keep the images of a folder together, such as the frames of a video, which look alike.

    Returns:
        The larger part's annotations and the other's, which has `share` of the images or, by folders, a little more.

    Raises:
        ValueError: the share is not between 0 and 1, or a part would have no image.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1, such as 0.2, got {share:g}")
    images = found.file.images
    names = [str(PurePosixPath(image.file_name).parent) if by_folder else str(image.id) for image in images]
    wanted, second = max(1, round(share * len(images))), set[int]()
    order = np.random.default_rng(seed).permutation(sorted(set(names)))
    for name in order.tolist():
        if len(second) < wanted:
            second |= {image.id for image, own in zip(images, names) if own == name}
    if not 0 < len(second) < len(images):
        what = f"{len(order)} folders with {len(images)} images" if by_folder else f"{len(images)} images"
        raise ValueError(f"{found.path}: {what} cannot be split: each part needs one or more")
    return _of(found, {image.id for image in images} - second), _of(found, second)


def _of(found: Annotated, ids: set[int]) -> Annotated:
    images = [image for image in found.file.images if image.id in ids]
    annotations = [a for a in found.file.annotations if a.image_id in ids]
    return replace(found, file=msgspec.structs.replace(found.file, images=images, annotations=annotations))
