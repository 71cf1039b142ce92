"""A service over a tiny network that finds dots of pure colour, and a picture of such people."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.predict.predictor import Predictor
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

for package in ("fastapi", "multipart", "httpx", "uvicorn"):
    pytest.importorskip(package)

DOTS = Skeleton("dots", ("left_red", "right_green", "blue"), (("left_red", "blue"), ("right_green", "blue")))
SIZE = (64, 48)
SPEC = Spec(
    "dots-64x48", lambda channels: torch.nn.Identity(), GaussianHeatmap(SIZE, (16, 12)), DOTS, SIZE, mean=(0, 0, 0),
    std=(255, 255, 255),
)  # fmt: skip
BOXES = [[10, 8, 24, 32], [60, 40, 24, 32]]


def brightness(images: torch.Tensor) -> torch.Tensor:
    """A network that finds dots of pure colour: the middle of each map pixel's surroundings, blurred."""
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2)), 5, 4, count_include_pad=False)[..., :16, :12]


def two_people() -> np.ndarray:
    """An image of two people of three dots, in `BOXES`."""
    pixels = np.zeros((90, 120, 3), np.uint8)
    for x, y, _, _ in BOXES:
        for point, colour in zip([(x + 6, y + 6), (x + 17, y + 14), (x + 8, y + 25)], np.eye(3) * 255):
            image.draw_disc(pixels, point, 2, tuple(int(c) for c in colour))
    return pixels


@pytest.fixture
def finder():
    """A detector of the two people."""
    return lambda pixels: Boxes.of(BOXES, [0.8, 0.9], "dots.onnx")


@pytest.fixture
def predictor():
    return Predictor(SPEC, brightness, flip=False)


@pytest.fixture
def pixels():
    return two_people()


@pytest.fixture
def png(pixels):
    return image.encode(pixels, ".png")


@pytest.fixture
def boxes():
    return json.dumps(BOXES)
