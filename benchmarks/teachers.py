"""Networks of others, each of which looks twice at a person: the teachers of `label_people.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class BlazePose:
    """MediaPipe's landmark network on crops that it chooses as MediaPipe does: upright, around the middle of the hips.

    Bazarevsky et al., "BlazePose", arXiv 2006.10204; Apache-2.0. It runs in an environment that Posewright is not
    installed in. The second look is at the mirror image of where the first found the person.
    """

    POINTS = (28, 26, 24, 23, 25, 27, 16, 14, 12, 11, 13, 15)
    """LSP's points but neck and top of the head, which it does not have, by their numbers among its landmarks."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

        self.network = Interpreter(str(model), num_threads=1)
        self.network.allocate_tensors()
        self.input = self.network.get_input_details()[0]["index"]
        self.output = {tuple(d["shape"]): d["index"] for d in self.network.get_output_details()}
        pairs = [(1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((k, k + 1) for k in range(11, 33, 2))]
        self.mirrored = np.arange(39)
        for a, b in pairs:
            self.mirrored[[a, b]] = b, a

    def look(self, pixels: np.ndarray, place: tuple[float, float, float, float], *, mirror: bool) -> np.ndarray:
        """Landmarks [39, 4] in a square (x, y of its middle, side, turn in radians): x, y, visibility, presence."""
        import cv2

        x, y, side, turn = place
        along, across = np.cos(turn), np.sin(turn)
        turned = np.array([[along, across], [-across, along]]) * 256 / side
        if mirror:
            turned[0] *= -1
        matrix = np.column_stack([turned, 128 - turned @ (x, y)])
        crop = cv2.warpAffine(pixels, matrix, (256, 256), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        self.network.set_tensor(self.input, (crop[None, :, :, ::-1] / np.float32(255)).astype(np.float32))
        self.network.invoke()
        points = self.network.get_tensor(self.output[1, 195]).reshape(39, 5)
        back = cv2.invertAffineTransform(matrix)
        xy = points[:, :2] @ back[:, :2].T + back[:, 2]
        present = float(self.network.get_tensor(self.output[1, 1])[0, 0])
        found = np.column_stack([xy, 1 / (1 + np.exp(-points[:, 3])), np.full(39, present)])
        return found[self.mirrored] if mirror else found

    def __call__(self, path: str, box: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Two looks [2, 39, 4]: around the hips of LSP's 14 points `xy`; mirrored, around those that it found."""
        import cv2

        pixels = cv2.imread(path)
        assert pixels is not None, f"{path}: no image"
        hips, shoulders = [2, 3], [8, 9]
        middle, up, reach = box[:2] + box[2:] / 2, np.array([0.0, -1.0]), 1.05 * max(box[2:]) / 2
        if confidence[hips + shoulders].min() > 0.25:
            middle = xy[hips].mean(0)
            up = xy[shoulders].mean(0) - middle
            known = xy[confidence > 0.25] - middle
            reach = max(1.12 * np.hypot(*known.T).max(), 0.5 * max(box[2:]))
        place = (*middle, 2 * reach * 1.25, np.arctan2(up[0], -up[1]))
        first = self.look(pixels, place, mirror=False)
        middle, up = first[33, :2], first[34, :2] - first[33, :2]  # two more landmarks: the hips' middle, the circle
        side = 2.5 * np.hypot(*up)
        if first[0, 3] > 0.5 and place[2] / 2 < side < place[2] * 2:
            place = (*middle, side, np.arctan2(up[0], -up[1]))
        return np.array([first, self.look(pixels, place, mirror=True)])


class EfficientPose:
    """EfficientPose II, which learned from MPII, on squares around a person's box.

    Groos, Ramampiaro & Ihlen, "EfficientPose", arXiv 2004.12186; Apache-2.0. It runs by OpenVINO. The second look is at
    the mirror image, from a little farther.
    """

    POINTS = (12, 11, 10, 13, 14, 15, 4, 3, 2, 6, 7, 8, 1, 0)
    """LSP's points by their numbers among its own."""
    SIDES = (1.4, 1.65)
    """Of the square of each look, in larger sides of the box."""
    MEAN, STD = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)

    def __init__(self, model: Path) -> None:
        import openvino

        core = openvino.Core()
        one_core = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        self.network = core.compile_model(core.read_model(model), "CPU", one_core)
        self.side = self.network.inputs[0].partial_shape[1].get_length()

    def look(self, pixels: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
        """LSP's points [14, 3] in a square (its middle and side): x, y and the height of the map there."""
        import cv2

        scale = self.side / side
        corner = np.array([x, y]) - self.side / 2 / scale
        matrix = np.column_stack([np.eye(2) * scale, -scale * corner])
        crop = cv2.warpAffine(pixels, matrix, (self.side, self.side), borderMode=cv2.BORDER_CONSTANT)
        maps = self.network(((crop[None, :, :, ::-1] / np.float32(255)) - self.MEAN) / self.STD)[-1][0]
        found = np.empty((len(self.POINTS), 3))
        for number, point in enumerate(self.POINTS):
            blurred = cv2.GaussianBlur(maps[..., point], (0, 0), 1)
            at = np.unravel_index(blurred.argmax(), blurred.shape)
            found[number] = *(np.array(at[::-1]) / scale + corner), maps[..., point].max()
        return found

    def __call__(self, path: str, box: np.ndarray, _xy: np.ndarray, _confidence: np.ndarray) -> np.ndarray:
        """Two looks [2, 14, 3]; see `look`."""
        import cv2

        from posewright.skeletons import LSP14

        pixels = cv2.imread(path)
        assert pixels is not None, f"{path}: no image"
        (x, y), largest, last = box[:2] + box[2:] / 2, max(box[2:]), pixels.shape[1] - 1
        first = self.look(pixels, x, y, largest * self.SIDES[0])
        second = self.look(np.ascontiguousarray(pixels[:, ::-1]), last - x, y, largest * self.SIDES[1])
        second[:, 0] = last - second[:, 0]
        return np.array([first, second[LSP14.flip_index]])
