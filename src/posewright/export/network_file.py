"""A predictor's network as an ONNX or OpenVINO file that says what it is, written if it finds the same keypoints."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from torch import nn

from posewright.files import ready_folder, write_bytes
from posewright.predict.predictor import Predictor
from posewright.runtime import selection
from posewright.runtime.exported import Metadata, metadata_of, opened
from posewright.runtime.onnx_runtime import to_onnx
from posewright.synthetic.people import Scene, draw_scene

Target = Literal["onnx", "openvino"]
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
TOLERANCE = 0.05
"""Image pixels by which a keypoint of the file may differ, at float32."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What `write` did.

    Attributes:
        path: the file; an OpenVINO file has its weights beside it (.bin).
        off: the largest difference between its keypoints and the predictor's, in image pixels.
        people: how many people they were compared on.
    """

    path: Path
    off: float
    people: int


def write(
    predictor: Predictor,
    path: str | os.PathLike[str],
    target: Target,
    *,
    images: Sequence[np.ndarray] = (),
    licence: str = "",
) -> Exported:
    """Write a predictor's network as a file; it appears only if it finds the predictor's keypoints in real crops.

    The file takes normalised images [N, 3, H, W] of any number N and yields the network's maps; what else a pose system
    is stands in its metadata, so that `predict --model FILE` needs nothing beside it.

    Args:
        predictor: by torch, at float32.
        path: the file, `.onnx` or `.xml`.
        target: what reads it.
        images: [H, W, 3] uint8 RGB each, on which both are compared, each as a whole; by default drawn people.
        licence: of the weights, for the metadata.

    Raises:
        ModuleNotFoundError: what writes or reads such files is not installed; the message says how to get it.
        ValueError: the path's suffix is another; the predictor's network is not torch's; or the file finds other
            keypoints, by more than 0.05 image pixels.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX[target]:
        raise ValueError(f"{path}: files for {target} end in {SUFFIX[target]}")
    if target not in selection.installed():
        raise ModuleNotFoundError(f"exporting to {target} needs `pip install posewright[{target}]`")
    if not isinstance(predictor.net, nn.Module):
        raise ValueError(f"cannot export a network that {predictor.runtime} runs: load it with runtime='torch'")
    pictures = list(images) or [draw_scene(np.random.default_rng(seed), Scene())[0] for seed in range(4)]
    ready_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        trial = Path(folder) / path.name
        _fill(trial, target, to_onnx(predictor.net, predictor.spec.size), metadata_of(predictor.spec, licence=licence))
        off = _difference(predictor, trial, pictures)
        if not off <= TOLERANCE:
            raise ValueError(
                f"{path}: not written: its keypoints differ by up to {off:.3g} pixels from the network's own, and at "
                f"most {TOLERANCE:g} is taken"
            )
        for part in sorted(trial.parent.iterdir()):  # the .bin before the .xml, which needs it
            write_bytes(path.with_suffix(part.suffix), part.read_bytes())
    return Exported(path, off, len(pictures))


def _fill(path: Path, target: Target, data: bytes, metadata: Metadata) -> None:
    note = msgspec.json.encode(metadata).decode()
    if target == "onnx":
        import onnx

        model = onnx.load_model_from_string(data)
        onnx.helper.set_model_props(model, {"posewright": note})
        path.write_bytes(model.SerializeToString())
    else:
        import openvino

        model = openvino.Core().read_model(data)
        model.set_rt_info(note, ["posewright"])
        openvino.save_model(model, path, compress_to_fp16=False)


def _difference(predictor: Predictor, path: Path, pictures: Sequence[np.ndarray]) -> float:
    spec, net = opened(path)
    other = Predictor(spec, net, flip=predictor.flip, batch=predictor.batch, device="cpu")
    off = 0.0
    for pixels in pictures:
        whole = [[0, 0, pixels.shape[1], pixels.shape[0]]]
        off = max(off, float(np.abs(other(pixels, whole).xy - predictor(pixels, whole).xy).max()))
    return off
