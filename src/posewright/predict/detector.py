"""Detectors from ONNX files: what kind one is, is told from its outputs, and its category is chosen by name."""

from __future__ import annotations

import ast
import os
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np

from posewright.files import short
from posewright.image import resize
from posewright.predict import coco_classes
from posewright.predict.detector_outputs import DetsOutput, LabelledOutput, YoloEndToEndOutput, YoloOutput
from posewright.predict.yolox import YoloxOutput, cells
from posewright.runtime.onnx_runtime import OnnxModel
from posewright.types import Boxes

Output: TypeAlias = "YoloxOutput | YoloOutput | YoloEndToEndOutput | DetsOutput | LabelledOutput"

_GREY = 114  # what detectors fill the rest of their input with


class OnnxDetector:
    """Boxes of one category, by an ONNX file of any of the common detectors.

    They are recognised by their outputs: YOLOX's; those of YOLOv8 and later, with and without suppression in the graph;
    dets and labels, as MMDeploy exports RTMDet; and boxes, labels and scores, as torchvision exports Faster R-CNN. Safe
    to call from several threads.

    Args:
        path: the ONNX file.
        score: lowest score kept.
        nms: of two boxes that overlap by more than this IoU the lower scored is dropped, unless the graph does so.
        category: the name of the category wanted, of those that the file names, as Ultralytics writes them, or else of
            COCO's; or its number, as the network counts. The only category of a file that names none is always taken.
        size: (height, width) of the input where the file leaves it open.

    Attributes:
        name: the file's name, with the category where that is not "person".
        category: the category wanted, as it was given.
        checksum: of the file.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed; the message says how to get it.
        FileNotFoundError: there is no such file.
        LookupError: it knows no such category; the message names those it knows.
        ValueError: it is not such a network.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        score: float = 0.3,
        nms: float = 0.45,
        category: str | int = "person",
        size: tuple[int, int] = (640, 640),
    ) -> None:
        self._model = OnnxModel(path)
        self.name = self._model.name if category == "person" else f"{self._model.name}, {category}"
        self.score, self.nms, self.category = score, nms, category
        self.checksum = zlib.crc32(Path(path).read_bytes())
        shape = self._model.shape
        if len(shape) not in (3, 4) or shape[-3] not in (0, 3) or (len(shape) == 4 and shape[0] > 1):
            raise ValueError(f"{path}: expected a detector with input [1, 3, height, width], got {list(shape)}")
        self._any_size = len(shape) == 3 and not (shape[1] and shape[2])  # torchvision's networks resize by themselves
        self.size = (shape[-2] or size[0], shape[-1] or size[1])
        self._output = self._recognised(path)
        self._number = category if isinstance(category, int) else self._numbered(path, category)
        if self._output.classes and not 0 <= self._number < self._output.classes:
            raise LookupError(f"{path}: knows classes 0 to {self._output.classes - 1}, asked for {self._number}")

    def __call__(self, image: np.ndarray) -> Boxes:
        """The boxes in an image [H, W, 3] uint8 RGB, cut off at its edges, best first."""
        if self._any_size:
            canvas, scale, offset = image, 1.0, np.zeros(2)
        else:
            canvas, scale, offset = letterbox(image, self.size, centred=self._output.preprocessing.centred)
        near, far, score = self._output.corners(self._outputs(canvas), self._number, self.score)
        edge = np.array([image.shape[1], image.shape[0]])
        near, far = (np.clip((corner - offset) / scale, 0, edge) for corner in (near, far))
        keep = suppress(near, far, score, 1.0 if self._output.suppressed else self.nms)
        return Boxes(np.concatenate([near, far - near], 1)[keep], score[keep], self.name)

    @property
    def coco_id(self) -> int:
        """The id of its category in COCO's annotations; 1 for one that COCO does not have."""
        name = self.category
        if isinstance(name, int):
            name = {number: name for name, number in self._named().items()}.get(name, "")
        return coco_classes.IDS.get(name, 1)

    def _outputs(self, canvas: np.ndarray) -> list[np.ndarray]:
        """What the network makes of an input [H, W, 3] uint8 RGB."""
        about = self._output.preprocessing
        pixels = canvas[..., ::-1] if about.colour == "bgr" else canvas
        array = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        if about.std != (1, 1, 1):
            mean, std = (np.array(values, np.float32)[:, None, None] for values in (about.mean, about.std))
            array = (array - mean) / std
        return self._model(array if len(self._model.shape) == 3 else array[None])

    def _recognised(self, path: str | os.PathLike[str]) -> Output:
        """What the outputs for a grey image are."""
        task = self._model.metadata.get("task", "detect")  # as Ultralytics writes it
        grey = np.full((3, *self.size), _GREY, np.float32)
        outputs = self._model(grey if len(self._model.shape) == 3 else grey[None])
        found = (
            YoloxOutput.of(outputs, self.size)
            or YoloOutput.of(outputs, cells(self.size))
            or YoloEndToEndOutput.of(outputs)
            or DetsOutput.of(outputs, sliced=_slices_its_input(path))
            or LabelledOutput.of(outputs)
        )
        if found is not None and task == "detect":
            return found
        shapes = ", ".join(
            f"{name} {list(output.shape)} {output.dtype}" for name, output in zip(self._model.outputs, outputs)
        )
        purpose = "" if task == "detect" else f", a network for the task {short(task, 40)!r}"
        number = " or ".join(map(str, cells(self.size)))
        raise ValueError(
            f"{path}: expected a detector, got {short(shapes) or 'no outputs'}{purpose}; for an input of "
            f"{self.size[0]}x{self.size[1]} understood are YOLOX's [1, {number}, 5 + classes], YOLOv8's "
            f"[1, 4 + classes, {number}] and [1, N, 6], RTMDet's dets [1, N, 5] with labels [1, N], and boxes [N, 4] "
            "with labels [N] and scores [N]"
        )

    def _named(self) -> dict[str, int]:
        """The numbers of its categories by name: the file's names, or COCO's where it has as many; else unknown."""
        named = _names_in(self._model.metadata.get("names", ""))
        if not named and self._output.classes in (0, len(coco_classes.NAMES)):
            numbers = {name: number for number, name in enumerate(coco_classes.NAMES)}
            return coco_classes.IDS if self._output.coco_ids else numbers
        return named

    def _numbered(self, path: str | os.PathLike[str], category: str) -> int:
        """The number of a category that is given by name."""
        named = self._named()
        if not named and self._output.classes == 1:
            return 0
        if not named:
            raise LookupError(
                f"{path}: does not name its {self._output.classes} classes: give the number of the one wanted "
                f"(--category 0 to {self._output.classes - 1}), not {category!r}"
            )
        if category not in named:
            raise LookupError(f"{path}: knows no category {category!r}; it knows: {short(', '.join(named), 1200)}")
        return named[category]


def letterbox(
    image: np.ndarray, size: tuple[int, int], *, centred: bool = False
) -> tuple[np.ndarray, float, np.ndarray]:
    """The image as large as fits on a grey canvas of (height, width), its scale, and the x, y of its top left there."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    canvas = np.full((*size, 3), _GREY, np.uint8)
    canvas[top : top + height, left : left + width] = resize(image, (height, width))
    return canvas, scale, np.array([left, top])


def suppress(near: np.ndarray, far: np.ndarray, score: np.ndarray, most: float) -> np.ndarray:
    """Non-maximum suppression: the boxes kept, best first; those without area are dropped too.

    Args:
        near: [N, 2] top left corners.
        far: [N, 2] bottom right corners.
        score: [N].
        most: IoU with a better box above which a box is dropped.
    """
    area = np.maximum(far - near, 0).prod(1)
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


def _names_in(text: str) -> dict[str, int]:
    """Numbers by names, of what Ultralytics writes: "{0: 'person', 1: 'bicycle'}"; none where it is anything else."""
    try:
        named = ast.literal_eval(text) if len(text) < 1 << 16 else {}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    pairs = named.items() if isinstance(named, dict) else enumerate(named) if isinstance(named, list) else ()
    return {str(name): number for number, name in pairs if isinstance(number, int)}


def _slices_its_input(path: str | os.PathLike[str]) -> bool:
    """Whether a graph begins with slices of its input, as YOLOX's networks do, and RTMDet's do not."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} - constants
    return any(node.op_type == "Slice" and inputs & set(node.input) for node in graph.node)
