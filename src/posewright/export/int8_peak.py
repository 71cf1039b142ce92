"""How fast this machine multiplies in int8: what `predict.timing.peak` measures in floating point."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from posewright.export.network_file import SUFFIX, model_of
from posewright.export.quantisation import quantised
from posewright.predict import timing
from posewright.runtime.graph import CROPS, RAW
from posewright.runtime.onnx_runtime import OnnxModel, traced
from posewright.runtime.openvino_runtime import OpenVinoModel


def int8_peak(runtime: Literal["onnx", "openvino"]) -> float:
    """Multiply-adds per second that a runtime reaches in large convolutions in int8.

    Raises:
        ModuleNotFoundError: what quantises for that runtime is not installed.
    """
    net, crops, work = timing.large_convolutions()
    data = traced(_Plain(net).eval(), torch.from_numpy(crops[:2]), CROPS, RAW)
    noise = np.random.default_rng(0).integers(0, 256, (4, *crops.shape[1:]), np.uint8)
    model: Any = quantised(model_of(data, runtime), runtime, noise)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / f"peak{SUFFIX[runtime]}"
        if runtime == "onnx":
            path.write_bytes(model.SerializeToString())
            return timing.rate(partial(OnnxModel(path, "uint8"), crops), work)
        import openvino

        openvino.save_model(model, path, compress_to_fp16=False)
        return timing.rate(partial(OpenVinoModel(path), crops), work)


class _Plain(nn.Module):
    """A network of crops, named as in `graph.PoseGraph`, where quantisation finds it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.normalise, self.net = timing.PLAIN, net

    def forward(self, crops: Tensor) -> Tensor:
        """What the network yields."""
        return self.net(self.normalise(crops))
