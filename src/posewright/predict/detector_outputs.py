"""What the outputs of exported detectors are, but for YOLOX's, and the input that each was trained with.

Each kind says how many `classes` it has (0 where its outputs do not tell), which `preprocessing` it expects, whether
its graph has `suppressed` the lesser of boxes that overlap, and whether its classes have COCO's ids from 1, not numbers
from 0 (`coco_ids`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from posewright.types import Colour

Corners: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Top left and bottom right [N, 2] in pixels of the network's input, and scores [N]; float64."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes a detector's input.

    Attributes:
        colour: channel order.
        mean: taken off the grey levels, in channel order.
        std: they are then divided by it.
        centred: whether the image lies in the middle of the grey canvas, not at its top left.
    """

    colour: Colour
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    centred: bool = False


_UNIT = (255.0, 255.0, 255.0)
_MMDET = Preprocessing("bgr", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395))


@dataclass(frozen=True, slots=True)
class YoloOutput:
    """[1, 4 + classes, cells], of YOLOv8 and those after it: centre, sides, and the scores of the classes."""

    classes: int
    preprocessing = Preprocessing("rgb", std=_UNIT, centred=True)
    suppressed = False
    coco_ids = False

    @staticmethod
    def of(outputs: list[np.ndarray], cells: list[int]) -> YoloOutput | None:
        """What these outputs are, None where they are not of this form; `cells` as of `yolox.cells`."""
        if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[1] < 5 or outputs[0].shape[2] not in cells:
            return None
        return YoloOutput(outputs[0].shape[1] - 4)

    def corners(self, outputs: list[np.ndarray], category: int, least: float) -> Corners:
        """The boxes of a category scored at least `least`."""
        columns = outputs[0][0]
        likely = columns[:, columns[4 + category] >= least].astype(np.float64)
        centre, sides = likely[:2].T, likely[2:4].T
        return centre - sides / 2, centre + sides / 2, likely[4 + category]


@dataclass(frozen=True, slots=True)
class YoloEndToEndOutput:
    """[1, N, 6], of YOLO networks that need no suppression: corners, score, class."""

    classes: int = 0
    preprocessing = Preprocessing("rgb", std=_UNIT, centred=True)
    suppressed = True
    coco_ids = False

    @staticmethod
    def of(outputs: list[np.ndarray]) -> YoloEndToEndOutput | None:
        """What these outputs are, None where they are not of this form."""
        fits = len(outputs) == 1 and outputs[0].ndim == 3 and outputs[0].shape[2] == 6
        return YoloEndToEndOutput() if fits else None

    def corners(self, outputs: list[np.ndarray], category: int, least: float) -> Corners:
        """The boxes of a category scored at least `least`."""
        rows = outputs[0][0].astype(np.float64)
        rows = rows[(rows[:, 4] >= least) & (np.rint(rows[:, 5]) == category)]
        return rows[:, :2], rows[:, 2:4], rows[:, 4]


@dataclass(frozen=True, slots=True)
class DetsOutput:
    """dets [1, N, 5], corners and score, and labels [1, N], as MMDeploy exports RTMDet and YOLOX end to end.

    Attributes:
        preprocessing: RTMDet's, or YOLOX's where the graph begins as YOLOX's networks do.
    """

    preprocessing: Preprocessing = _MMDET
    classes = 0
    suppressed = True
    coco_ids = False

    @staticmethod
    def of(outputs: list[np.ndarray], *, sliced: bool) -> DetsOutput | None:
        """What these outputs are, None where they are not of this form; `sliced`: whether the input is first sliced."""
        if len(outputs) != 2:
            return None
        labels, dets = sorted(_of_one_image(outputs), key=lambda output: output.ndim)
        if labels.ndim != 1 or not _whole(labels) or dets.ndim != 2 or dets.shape[1] != 5:
            return None
        return DetsOutput(Preprocessing("bgr") if sliced else _MMDET)

    def corners(self, outputs: list[np.ndarray], category: int, least: float) -> Corners:
        """The boxes of a category scored at least `least`."""
        labels, dets = sorted(_of_one_image(outputs), key=lambda output: output.ndim)
        rows = dets[(dets[:, 4] >= least) & (labels == category)].astype(np.float64)
        return rows[:, :2], rows[:, 2:4], rows[:, 4]


@dataclass(frozen=True, slots=True)
class LabelledOutput:
    """boxes [N, 4], corners, with labels [N] and scores [N] in any order, as torchvision exports Faster R-CNN.

    Attributes:
        places: of boxes, labels and scores among the outputs.
    """

    places: tuple[int, int, int]
    classes = 0
    preprocessing = Preprocessing("rgb", std=_UNIT)
    suppressed = True
    coco_ids = True

    @staticmethod
    def of(outputs: list[np.ndarray]) -> LabelledOutput | None:
        """What these outputs are, None where they are not of this form; further ones, such as masks, are not read."""
        found = list(enumerate(_of_one_image(outputs)))
        boxes = [n for n, output in found if output.ndim == 2 and output.shape[1] == 4]
        labels = [n for n, output in found if output.ndim == 1 and _whole(output)]
        scores = [n for n, output in found if output.ndim == 1 and not _whole(output)]
        if (len(boxes), len(labels), len(scores)) != (1, 1, 1):
            return None
        return LabelledOutput((boxes[0], labels[0], scores[0]))

    def corners(self, outputs: list[np.ndarray], category: int, least: float) -> Corners:
        """The boxes of a category scored at least `least`."""
        single = _of_one_image(outputs)
        boxes, labels, scores = (single[place] for place in self.places)
        kept = (scores >= least) & (labels == category)
        return boxes[kept, :2].astype(np.float64), boxes[kept, 2:].astype(np.float64), scores[kept].astype(np.float64)


def _of_one_image(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs without the axis of their batch of one, which they have where the labels have two."""
    batched = any(_whole(output) and output.ndim == 2 and len(output) == 1 for output in outputs)
    return [output[0] for output in outputs] if batched else outputs


def _whole(output: np.ndarray) -> bool:
    return output.dtype.kind in "iu"
