"""A predictor as an ONNX or OpenVINO file that says what it is, written if it finds the same keypoints."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from posewright.export import parity, quantisation
from posewright.export.parity import TOLERANCE, Parity
from posewright.export.quantisation import Calibration, Change
from posewright.files import ready_folder, short, unwritten
from posewright.predict.predictor import Predictor
from posewright.runtime import selection
from posewright.runtime.exported import Metadata, metadata_of, opened
from posewright.runtime.graph import CROPS, DECODED, RAW, PoseGraph
from posewright.runtime.onnx_runtime import traced
from posewright.runtime.upsampling import with_plain_convolutions
from posewright.synthetic.people import Scene, draw_scene

Target = Literal["onnx", "openvino"]
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What `write` did.

    Attributes:
        path: the file; an OpenVINO file has its weights beside it (.bin).
        parity: how its keypoints compare with the predictor's, at float32.
        change: what int8 changed, or None.
    """

    path: Path
    parity: Parity
    change: Change | None


def write(
    predictor: Predictor,
    path: str | os.PathLike[str],
    target: Target,
    *,
    flip: bool = False,
    raw: bool = False,
    int8: Calibration | None = None,
    images: Sequence[np.ndarray] = (),
    licence: str = "",
) -> Exported:
    """Write a predictor as a file; it appears only if it finds the predictor's keypoints in real crops.

    The file takes crops [N, H, W, 3] uint8 RGB of any number N and yields keypoints in pixels of the crop and scores;
    see `graph.PoseGraph`. What else a pose system is stands in its metadata, so that `predict --model FILE` needs
    nothing beside it.

    Args:
        predictor: by torch, at float32, on the CPU.
        path: the file, `.onnx` or `.xml`.
        target: what reads it.
        flip: average with the mirrored crop, inside of the file.
        raw: yield maps, to be decoded by the codec.
        int8: compute the network in int8, calibrated so; the file is compared at float32 before.
        images: [H, W, 3] uint8 RGB each, on which both are compared, each as a whole; by default drawn people.
        licence: of the weights, for the metadata.

    Raises:
        ModuleNotFoundError: what writes or reads such files is not installed; the message says how to get it.
        ValueError: the path's suffix is another; the predictor's network is not torch's; the file finds other
            keypoints, by more than 0.05 image pixels; or int8 loses more than it may.
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
    said = metadata_of(predictor.spec, decoded=not raw, flip=flip, licence=licence)
    net = predictor.net if int8 is None else with_plain_convolutions(predictor.net, wide=target == "onnx")
    graph = PoseGraph(net, predictor.spec, flip=flip, raw=raw).eval()
    example = torch.zeros(2, *predictor.spec.size, 3, dtype=torch.uint8)
    data = traced(graph, example, CROPS, RAW if raw else DECODED)
    ready_folder(path.parent)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            model = model_of(data, target)
            trial = _saved(model, Path(folder) / "float32" / path.name, said)
            alike = _checked(predictor, trial, pictures, path, flip=flip)
            change = None
            if int8 is not None:
                before = int8.run(predictor, flip=flip)
                model = quantisation.quantised(model, target, before.crops)
                trial = _saved(
                    model, Path(folder) / "int8" / path.name, msgspec.structs.replace(said, precision="int8")
                )
                change = int8.compare(before, opened(trial)[1], path)
            for part in sorted(trial.parent.iterdir()):  # the .bin before the .xml, which needs it
                part.replace(path.with_suffix(part.suffix))
    except OSError as error:
        if error.strerror is None:
            raise
        raise unwritten(path, error, "nothing was changed") from None
    return Exported(path, alike, change)


def model_of(data: bytes, target: Target) -> Any:
    """An ONNX file as what the target's own library makes of it."""
    if target == "onnx":
        import onnx

        return onnx.load_model_from_string(data)
    import openvino

    return openvino.Core().read_model(data)


def _saved(model: Any, path: Path, said: Metadata) -> Path:
    """The path of the file that holds a model and what it says of itself, on disk."""
    path.parent.mkdir()
    note = msgspec.json.encode(said).decode()
    if path.suffix == ".onnx":
        import onnx

        onnx.helper.set_model_props(model, {"posewright": note})
        path.write_bytes(model.SerializeToString())
    else:
        import openvino

        model.set_rt_info(note, ["posewright"])
        try:
            openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            reason = f"OpenVINO could not write it ({short(str(error), 100)}); is the disk full?"
            raise OSError(errno.EIO, reason) from None
    for part in path.parent.iterdir():
        with part.open("rb+") as file:
            os.fsync(file.fileno())
    return path


def _checked(predictor: Predictor, trial: Path, pictures: Sequence[np.ndarray], path: Path, *, flip: bool) -> Parity:
    """How a file compares with the predictor that it was made of.

    Raises:
        ValueError: it finds other keypoints.
    """
    alike = parity.compare(predictor, opened(trial)[1], pictures, flip=flip)
    if not alike.off <= TOLERANCE:
        raise ValueError(
            f"{path}: not written: its keypoints differ by up to {alike.off:.3g} pixels from the network's own, and at "
            f"most {TOLERANCE:g} is taken"
        )
    return alike
