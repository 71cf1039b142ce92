"""Networks of ONNX or OpenVINO files by OpenVINO, on the CPU."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posewright.files import regular, short
from posewright.runtime.parts import Parts, Run

_TYPES = {"float32": "f32", "bf16": "bf16", "fp16": "f16"}
_ONE_AT_A_TIME = threading.Lock()


class OpenVinoModel:
    """A file behind one call, on the CPU. Safe to call from several threads.

    Args:
        path: an ONNX file, or an OpenVINO one (.xml, with its .bin beside it).
        precision: "float32", "bf16" or "fp16"; what a file holds in int8 is computed in int8 whatever this is, and
            "int8" computes the rest in bf16 where the CPU has it, else at float32.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed; the message says how to get it.
        FileNotFoundError: there is no such file.
        ValueError: it is no network that OpenVINO reads, or this CPU does not compute in that precision.
    """

    def __init__(self, path: str | os.PathLike[str], precision: str = "float32") -> None:
        core = _core(path)
        path = regular(Path(path), "a network's file")
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "int8":
            precision = "bf16" if "BF16" in able else "float32"
        if precision != "float32" and precision.upper() not in able:
            raise ValueError(f"this CPU does not compute in {precision}: use float32, or another machine")
        threads = torch.get_num_threads()

        def compiled(streams: int) -> Run:
            settings = {
                "INFERENCE_PRECISION_HINT": _TYPES[precision],  # its own choice would be bf16 where the CPU has it
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
            }
            try:
                return _calls(core.compile_model(core.read_model(path), "CPU", settings))
            except RuntimeError as error:
                raise ValueError(f"{path}: not a network that OpenVINO reads ({short(str(error))})") from None

        self._parts = Parts(compiled(1), lambda: compiled(threads), threads)

    def __call__(self, array: np.ndarray) -> list[np.ndarray]:
        """The network's outputs for an array [N, ...], in the file's order."""
        return self._parts(array)


def _calls(compiled: Any) -> Run:
    """What calls a compiled model, with a request for each thread."""
    requests = threading.local()

    def run(array: np.ndarray) -> list[np.ndarray]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        outputs = requests.own.infer([array], share_inputs=True)
        return [outputs[place] for place in range(len(outputs))]

    return run


def _core(path: str | os.PathLike[str]) -> Any:
    try:
        import openvino
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path}: this needs OpenVINO; install it with `pip install posewright[openvino]`"
        ) from None
    with _ONE_AT_A_TIME:
        # OpenVINO 2026.4 builds its table of number types at the first need, and releases Python's lock meanwhile. A
        # second thread that needs the table then waits for it with that lock in hand, so both wait for ever.
        openvino.Type.f32.to_dtype()
    return openvino.Core()


def said_by(path: Path) -> str:
    """What an OpenVINO file says under "posewright" in its runtime information; empty where nothing."""
    core = _core(path)
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ValueError(f"{path}: not a network that OpenVINO reads ({short(str(error))})") from None
    return str(model.get_rt_info(["posewright"]).value) if model.has_rt_info(["posewright"]) else ""
