"""YOLOX's output (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430) as boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.predict.detector_outputs import Corners, Preprocessing

_STRIDES = ((8, 16, 32), (8, 16, 32, 64))


@dataclass(frozen=True, slots=True)
class YoloxOutput:
    """[1, cells, 5 + classes]: centre and sides, the score of there being an object, and those of the classes.

    Attributes:
        classes: how many there are.
        corner: each cell's corner [cells, 2], in cells.
        stride: [cells, 1] pixels; None where the graph has decoded the boxes.
    """

    classes: int
    corner: np.ndarray
    stride: np.ndarray | None
    preprocessing = Preprocessing("bgr")
    suppressed = False
    coco_ids = False

    @staticmethod
    def of(outputs: list[np.ndarray], size: tuple[int, int]) -> YoloxOutput | None:
        """What these outputs for a grey image are, None where they are not YOLOX's.

        Args:
            outputs: of the network.
            size: (height, width) of its input.
        """
        if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[2] < 6:
            return None
        rows = outputs[0][0]
        for strides in _STRIDES:
            corner, stride = grid(size, strides)
            if len(rows) == len(corner):
                decoded = np.abs(rows[:, :2] / stride - corner).mean() < np.abs(rows[:, :2]).mean()
                return YoloxOutput(rows.shape[1] - 5, corner, None if decoded else stride)
        return None

    def corners(self, outputs: list[np.ndarray], category: int, least: float) -> Corners:
        """The boxes of a category scored at least `least`; a score is the object's times the class's."""
        rows = outputs[0][0]
        score = rows[:, 4] * rows[:, 5 + category]
        likely = np.flatnonzero(score >= least)
        rows = rows[likely].astype(np.float64)
        centre, sides = rows[:, :2], rows[:, 2:4]
        if self.stride is not None:
            centre = (centre + self.corner[likely]) * self.stride[likely]
            sides = np.exp(sides) * self.stride[likely]
        return centre - sides / 2, centre + sides / 2, score[likely].astype(np.float64)


def cells(size: tuple[int, int]) -> list[int]:
    """How many cells a YOLO network may have for an input of (height, width)."""
    return list(dict.fromkeys(len(grid(size, strides)[0]) for strides in _STRIDES))


def grid(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Corner x, y [cells, 2], counted in cells, and stride [cells, 1] of every cell, stride by stride, row by row."""
    corners = [
        np.stack(np.meshgrid(np.arange(size[1] // s), np.arange(size[0] // s)), -1).reshape(-1, 2) for s in strides
    ]
    stride = np.repeat(strides, [len(c) for c in corners])
    return np.concatenate(corners).astype(np.float64), stride[:, None].astype(np.float64)
