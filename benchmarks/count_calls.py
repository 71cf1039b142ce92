"""Count the package's own functions between an image with boxes and its keypoints, and name them in order.

Neither properties nor dunders count, and what a network or a codec calls inside itself is listed apart.

python benchmarks/count_calls.py [pose system]
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

import posewright
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

PACKAGE = Path(posewright.__file__).parent
INSIDE = ("models", "runtime", "codecs")


def own_calls(predictor: Predictor, image: np.ndarray, boxes: Boxes) -> tuple[list[str], list[str]]:
    """The functions called on the way, in order, and those called only inside the network or the codec."""
    steps: dict[str, None] = {}
    inside: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if event != "call" or not file.is_relative_to(PACKAGE) or name.startswith(("<", "__")):
            return
        owner = type(frame.f_locals["self"]) if "self" in frame.f_locals else None
        if isinstance(getattr(owner, name, None), property):
            return
        called_from = Path(frame.f_back.f_code.co_filename) if frame.f_back else Path()
        hidden = file.relative_to(PACKAGE).parts[0] in INSIDE and not called_from.is_relative_to(PACKAGE / "predict")
        title = f"{file.relative_to(PACKAGE)}: {f'{owner.__name__}.' if owner else ''}{name}"
        (inside if hidden else steps).setdefault(title)

    predictor(image, boxes)  # what happens only once is done
    sys.setprofile(note)
    try:
        predictor(image, boxes)
    finally:
        sys.setprofile(None)
    return list(steps), list(inside)


if __name__ == "__main__":
    torch.set_num_threads(1)
    spec = find(sys.argv[1] if len(sys.argv) > 1 else "simplebaseline-r50-256x192")
    pixels, box = np.zeros((480, 640, 3), np.uint8), Boxes.of([[100, 50, 150, 300]])
    steps, inside = own_calls(Predictor(spec, spec.build(), device="cpu"), pixels, box)
    print(f"{len(steps)} functions from image to keypoints with {spec.name}:", *steps, sep="\n  ")
    print(f"{len(inside)} more inside the network and the codec:", *inside, sep="\n  ")
