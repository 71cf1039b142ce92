"""Damage done to files of annotations, and what such files hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest


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
