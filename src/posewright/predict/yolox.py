"""YOLOX-style detectors (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430) from ONNX files."""

from __future__ import annotations

import os

import numpy as np

from posewright.image import resize
from posewright.runtime.onnx_runtime import OnnxModel
from posewright.types import Boxes

_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_GREY = 114  # what YOLOX fills the rest of its input with


class YoloxDetector:
    """Boxes of one class, by any YOLOX export: decoded in the graph or not, of any input size and number of classes.

    Safe to call from several threads.

    Args:
        path: the ONNX file. Its input is [1, 3, H, W], BGR, grey levels 0..255; its output, [1, cells, 5 + classes],
            holds boxes, then the score of there being an object, then those of the classes.
        score: lowest score kept; a score is the object's times the class's.
        nms: of two boxes that overlap by more than this IoU, the lower scored is dropped.
        category: number of the class wanted; 0 is COCO's person.
        size: (height, width) of the input where the file leaves it open.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed; the message says how to get it.
        FileNotFoundError: there is no such file.
        ValueError: it is not such a network.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        score: float = 0.3,
        nms: float = 0.45,
        category: int = 0,
        size: tuple[int, int] = (640, 640),
    ) -> None:
        self._model = OnnxModel(path)
        self.name = self._model.name
        self.score, self.nms, self.category = score, nms, category
        shape = self._model.shape
        if len(shape) != 4 or shape[0] > 1 or shape[1] not in (0, 3):
            raise ValueError(f"{path}: expected a detector with input [1, 3, height, width], got {list(shape)}")
        self.size = (shape[2] or size[0], shape[3] or size[1])
        self._corner, self._stride = self._cells(path, self._rows(np.full((*self.size, 3), _GREY, np.uint8)))

    def __call__(self, image: np.ndarray) -> Boxes:
        """The boxes in an image [H, W, 3] uint8 RGB, cut off at its edges, best first."""
        canvas, scale = letterbox(image, self.size)
        rows = self._rows(canvas)
        score = rows[:, 4] * rows[:, 5 + self.category]
        likely = np.flatnonzero(score >= self.score)
        rows, score = rows[likely], score[likely].astype(np.float64)
        centre, sides = rows[:, :2].astype(np.float64), rows[:, 2:4].astype(np.float64)
        if self._stride is not None:
            stride = self._stride[likely]
            centre, sides = (centre + self._corner[likely]) * stride, np.exp(sides) * stride
        edge = np.array([image.shape[1], image.shape[0]])
        near = np.clip((centre - sides / 2) / scale, 0, edge)
        far = np.clip((centre + sides / 2) / scale, 0, edge)
        keep = suppress(near, far, score, self.nms)
        return Boxes(np.concatenate([near, far - near], 1)[keep], score[keep], self.name)

    def _rows(self, canvas: np.ndarray) -> np.ndarray:
        """[cells, 5 + classes] for an input [H, W, 3] uint8 RGB."""
        blob = np.ascontiguousarray(canvas[None, ..., ::-1].transpose(0, 3, 1, 2), np.float32)
        return self._model(blob)[0][0]

    def _cells(self, path: str | os.PathLike[str], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Each cell's corner [cells, 2], in cells, and stride [cells, 1]; no stride where the graph has decoded."""
        grids = [grid(self.size, strides) for strides in _STRIDES]
        fitting = [g for g in grids if rows.ndim == 2 and len(rows) == len(g[0]) and rows.shape[1] > 5]
        if not fitting:
            cells = " or ".join(dict.fromkeys(str(len(corner)) for corner, _ in grids))
            raise ValueError(
                f"{path}: expected a YOLOX-style detector, whose output for an input of {self.size[0]}x{self.size[1]} "
                f"is [1, {cells}, 5 + classes]; got [1, {', '.join(map(str, rows.shape))}]"
            )
        if not 0 <= self.category < rows.shape[1] - 5:
            raise ValueError(f"{path}: knows classes 0 to {rows.shape[1] - 6}, asked for {self.category}")
        corner, stride = fitting[0]
        decoded = np.abs(rows[:, :2] / stride - corner).mean() < np.abs(rows[:, :2]).mean()
        return corner, None if decoded else stride


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The image at the top left of a grey canvas of (height, width), as large as fits, and its scale."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    canvas = np.full((*size, 3), _GREY, np.uint8)
    canvas[:height, :width] = resize(image, (height, width))
    return canvas, scale


def grid(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Corner x, y [cells, 2], counted in cells, and stride [cells, 1] of every cell, stride by stride, row by row."""
    corners = [
        np.stack(np.meshgrid(np.arange(size[1] // s), np.arange(size[0] // s)), -1).reshape(-1, 2) for s in strides
    ]
    stride = np.repeat(strides, [len(c) for c in corners])
    return np.concatenate(corners).astype(np.float64), stride[:, None].astype(np.float64)


def suppress(near: np.ndarray, far: np.ndarray, score: np.ndarray, most: float) -> np.ndarray:
    """Non-maximum suppression: the boxes kept, best first; those without area are dropped too.

    Args:
        near: [N, 2] top left corners.
        far: [N, 2] bottom right corners.
        score: [N].
        most: IoU with a better box above which a box is dropped.
    """
    area = (far - near).prod(1)
    left = np.argsort(-score, kind="stable")
    left = left[area[left] > 0]
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(far[best], far[left]) - np.maximum(near[best], near[left])
        shared = np.maximum(sides, 0).prod(1)
        left = left[shared <= most * (area[best] + area[left] - shared)]
    return np.array(kept, int)
