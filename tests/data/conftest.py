"""Files of annotations, and damage done to them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

BUG = {"id": 1, "name": "bug", "keypoints": ["head", "left_wing", "right_wing"], "skeleton": [[1, 2], [1, 3]]}


def bug(number: int = 1, image_id: int = 1, **changes: Any) -> dict[str, Any]:
    """An annotation of two points of three; fields that are set to None are left out."""
    entry = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10, 20, 30, 40],
        "area": 700.0,
        "iscrowd": 0,
        "num_keypoints": 2,
        "keypoints": [15, 25, 2, 20.5, 30.25, 1, 0, 0, 0],
    }
    return {key: value for key, value in (entry | changes).items() if value is not None}


def listed(number: int = 1, name: str = "a.jpg") -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 100, "height": 80}


def written(
    folder: Path,
    annotations: list[dict[str, Any]],
    images: list[dict[str, Any]] | None = None,
    categories: Sequence[dict[str, Any]] = (BUG,),
    name: str = "annotations/train.json",
    places: Sequence[str] = ("images",),
) -> Path:
    """A data set in `folder`: the JSON, and an empty file for each image in each of `places`."""
    images = [listed()] if images is None else images
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": list(categories)}
    path.write_text(json.dumps(content))
    for place in places:
        for entry in images:
            file = folder / place / entry["file_name"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return path


@pytest.fixture(scope="session")
def category() -> dict[str, Any]:
    """A category of COCO's, `BUG`."""
    return BUG


@pytest.fixture(scope="session")
def person() -> Callable[..., dict[str, Any]]:
    """The function `bug`."""
    return bug


@pytest.fixture(scope="session")
def photo() -> Callable[..., dict[str, Any]]:
    """The function `listed`."""
    return listed


@pytest.fixture(scope="session")
def dataset() -> Callable[..., Path]:
    """The function `written`."""
    return written


@pytest.fixture(scope="session")
def mutated() -> Callable[[bytes, random.Random], bytes]:
    """Bytes damaged in one of a few ways."""

    def damaged(data: bytes, rng: random.Random) -> bytes:
        values = bytearray(data)
        at = rng.randrange(max(len(values), 1))
        kind = rng.randrange(6)
        if kind == 0:
            del values[at:]
        elif kind == 1:
            del values[at : at + rng.randrange(1, 30)]
        elif kind == 2:
            values[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            values[at:at] = values[at // 2 : at]
        elif kind == 4:
            values[at : at + rng.randrange(8)] = rng.choice(
                [b"NaN", b"-1", b"1e400", b'""', b",", b"\n", b"null", b"<a/>", b"{"]
            )
        else:
            values[at:at] = b"\xff\xfe\x00"
        return bytes(values)

    return damaged


@pytest.fixture
def animal_pose() -> dict[str, Any]:
    """Animal Pose's annotations of two images: none of a cat, and of a dog one point."""
    return {
        "images": {"7": "cat.jpg", "9": "dog.jpg"},
        "annotations": [
            {
                "image_id": 9,
                "bbox": [5, 6, 25, 46],
                "keypoints": [[7, 8, 1]] + [[0, 0, 0]] * 19,
                "num_keypoints": 1,
                "category_id": 1,
            }
        ],
        "categories": [{"id": 1, "name": "dog", "keypoints": [], "skeleton": []}],
    }
