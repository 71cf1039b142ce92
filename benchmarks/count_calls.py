"""Count the package's own functions between an image with boxes and its keypoints, and name them in order.

python benchmarks/count_calls.py [pose system]
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

import posewright
from posewright.models import find
from posewright.predict.predictor import Predictor

PACKAGE = str(Path(posewright.__file__).parent)
HIDDEN = ("<genexpr>", "<listcomp>", "<lambda>", "<dictcomp>", "<setcomp>")


def own_calls(predictor: Predictor, image: np.ndarray, boxes: list[list[float]]) -> Counter[str]:
    """How often each of the package's functions runs for one image; neither properties nor dunders count."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        name = code.co_name
        owner = type(frame.f_locals["self"]) if "self" in frame.f_locals else None
        is_property = isinstance(getattr(owner, name, None), property)
        if not (is_property or name in HIDDEN or (name.startswith("__") and name.endswith("__"))):
            calls[f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_firstlineno} {code.co_qualname if hasattr(code,'co_qualname') else name}"] += 1

    predictor(image, boxes)  # whatever happens only once is done
    sys.setprofile(note)
    try:
        predictor(image, boxes)
    finally:
        sys.setprofile(None)
    return calls


if __name__ == "__main__":
    torch.set_num_threads(1)
    spec = find(sys.argv[1] if len(sys.argv) > 1 else "simplebaseline-r50-256x192")
    calls = own_calls(Predictor(spec, spec.build()), np.zeros((480, 640, 3), np.uint8), [[100, 50, 150, 300]])
    for name, count in calls.items():
        print(f"{count:4}  {name}")
    print(f"{len(calls)} functions, {sum(calls.values())} calls")
