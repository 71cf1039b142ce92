"""Posewright finds the keypoints of people and animals in images.

>>> import posewright as pw
>>> predictor = pw.load("lpn-50-256x192", weights="lpn_50_256x192.pth")
>>> poses = predictor("photo.jpg")

Everything is imported on first use, so `import posewright` itself is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright import draw, evaluate, weights
    from posewright.models import find, names
    from posewright.predict import boxes as detect
    from posewright.predict.predictor import Predictor, load
    from posewright.predict.video import video
    from posewright.spec import Spec
    from posewright.types import Boxes, Crop, Pose, Poses, Skeleton

__version__ = "0.1.0"
__all__ = [
    "Boxes",
    "Crop",
    "Pose",
    "Poses",
    "Predictor",
    "Skeleton",
    "Spec",
    "detect",
    "draw",
    "evaluate",
    "find",
    "load",
    "names",
    "video",
    "weights",
]

_HOMES = {
    "Boxes": "types", "Crop": "types", "Pose": "types", "Poses": "types", "Skeleton": "types",
    "Spec": "spec", "find": "models", "names": "models",
    "Predictor": "predict.predictor", "load": "predict.predictor", "video": "predict.video",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"posewright.{_HOMES[name]}"), name)
    if name == "detect":  # where boxes come from: files, and detectors
        return importlib.import_module("posewright.predict.boxes")
    if name in __all__:
        return importlib.import_module(f"posewright.{name}")
    raise AttributeError(f"module 'posewright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
