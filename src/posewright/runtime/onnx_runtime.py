"""Networks as ONNX files, and such files behind one call; measured before anything is allocated for them."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from posewright.files import regular, short
from posewright.runtime.parts import Parts, Run

_MAX_BYTES = 1 << 30
"""Of one tensor: at batch 1 the largest of a large detector has a tenth of it."""
_ITEM_BYTES = {1: 4, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""By ONNX's numbers of element types; 1 for all others."""


class OnnxModel:
    """An ONNX file behind one call, on the CPU. Safe to call from several threads.

    Args:
        path: the file.
        takes: the number type of its input.

    Attributes:
        name: the file's name.
        shape: of its one input; sizes that the file leaves open are 0.
        outputs: their names.
        metadata: what the file says about itself, by name.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed; the message says how to get it.
        FileNotFoundError: there is no such file.
        ValueError: it is not an ONNX network with one such input, or would need gigabytes for one tensor.
    """

    def __init__(self, path: str | os.PathLike[str], takes: Literal["float32", "uint8"] = "float32") -> None:
        try:
            import onnx  # noqa: F401
            import onnxruntime
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{path}: ONNX files need ONNX Runtime; install it with `pip install posewright[onnx]`"
            ) from None
        path = regular(Path(path), "an ONNX file")
        _check_sizes(path)

        def session(threads: int) -> Any:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # what goes wrong is raised; its own lines on stderr are not ours
            options.intra_op_num_threads = threads
            # Its idle threads would otherwise spin, on the very cores that torch computes on.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            try:
                return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # ONNX Runtime's errors share no class of their own
                raise ValueError(f"{path}: not an ONNX network that can be read ({short(str(error))})") from None

        threads = torch.get_num_threads()
        together = session(threads)
        inputs = together.get_inputs()
        if len(inputs) != 1 or inputs[0].type != f"tensor({takes.removesuffix('32')})":
            found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
            raise ValueError(f"{path}: expected a network with one {takes} input, got {short(found) or 'none'}")
        self.name = path.name
        self.shape = tuple(side if isinstance(side, int) else 0 for side in inputs[0].shape)
        self.outputs = tuple(output.name for output in together.get_outputs())
        self.metadata = dict(together.get_modelmeta().custom_metadata_map)

        def calls(session: Any) -> Run:
            return lambda array: [np.asarray(o) for o in session.run(None, {inputs[0].name: array})]

        # An image of three axes is not a batch of three, as torchvision's detectors take it.
        is_batch = len(self.shape) > 3
        self._run: Run = Parts(calls(together), lambda: calls(session(1)), threads) if is_batch else calls(together)

    def __call__(self, array: np.ndarray) -> list[np.ndarray]:
        """The network's outputs for an array [N, ...], or one image, in the file's order."""
        return self._run(array)


def traced(net: nn.Module, example: Tensor, takes: str, yields: tuple[str, ...]) -> bytes:
    """A module as an ONNX file, for any number N of what its first axis counts.

    Args:
        net: in evaluation mode, on the CPU.
        example: of its input.
        takes: the input's name in the file.
        yields: the outputs' names.
    """
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's newer exporter takes minutes for HRNet, with the same graph
        torch.onnx.export(
            net,
            (example,),
            file,  # pyright: ignore[reportArgumentType]
            dynamo=False,
            opset_version=17,
            input_names=[takes],
            output_names=list(yields),
            dynamic_axes={name: {0: "N"} for name in (takes, *yields)},
        )
    return file.getvalue()


def int8_model(model: Any, items: Iterable[dict[str, np.ndarray]], outside: list[str]) -> Any:
    """An ONNX model with int8 weights and activations (static QDQ), calibrated by running it.

    Args:
        model: an `onnx.ModelProto`.
        items: inputs by name.
        outside: names of the nodes that stay at float32.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        left = iter(items)

        def get_next(self) -> dict[str, np.ndarray]:
            return next(self.left, {})

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            file,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=outside,
        )
        return onnx.load(file)


def _check_sizes(path: Path) -> None:
    """Refuse a network with a tensor of more than `_MAX_BYTES`: a few bytes can ask for any size.

    Sizes are inferred from those of its input and constants, without computing anything; those that depend on values,
    or on sides that the file leaves open, are not bounded here.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (DecodeError, onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not an ONNX network that can be read ({short(str(error))})") from None
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sides = [int(side.dim_value) or 1 for side in tensor.shape.dim]  # 1 where the file leaves it open
        size = _ITEM_BYTES.get(tensor.elem_type, 1)
        for side in sides:
            size *= side
        if size > _MAX_BYTES:
            raise ValueError(
                f"{path}: its tensor {short(value.name, 60)!r} of {short(str(sides), 60)} would take {size / 1e9:.1f} "
                f"GB, more than the limit of {_MAX_BYTES / 1e9:.1f} GB; expected a network for images"
            )
