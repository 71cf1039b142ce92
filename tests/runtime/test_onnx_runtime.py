"""ONNX files: one clear error for each that is no network, or would take gigabytes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from posewright.runtime.onnx_runtime import OnnxModel


def saved(path: Path, shape: list[int], output: list[int] | None = None) -> Path:
    """A file that adds its input to a constant of any shape, which takes 8 bytes a side."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["zeros"]), helper.make_node("Add", ["x", "zeros"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, [1, 3, 1, 1])],
        [helper.make_tensor_value_info("y", kind, output)],
        [onnx.numpy_helper.from_array(np.array(shape), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_file_is_a_function_of_arrays(tmp_path):
    model = OnnxModel(saved(tmp_path / "add.onnx", [1, 3, 2, 2]))
    assert (model.name, model.shape) == ("add.onnx", (1, 3, 1, 1))
    (output,) = model(np.full((1, 3, 1, 1), 5, np.float32))
    assert output.shape == (1, 3, 2, 2)
    assert (output == 5).all()


@pytest.mark.parametrize("output", [None, [1, 3, 30_000, 30_000]])
def test_small_files_that_ask_for_gigabytes_are_refused_unread(tmp_path, monkeypatch, output):
    path = saved(tmp_path / "bomb.onnx", [1, 3, 30_000, 30_000], output)
    assert path.stat().st_size < 200
    monkeypatch.setattr("onnxruntime.InferenceSession", None)  # which would allocate
    with pytest.raises(ValueError, match=r"bomb\.onnx: its tensor '.*' of \[1, 3, 30000, 30000\] would take 10.8 GB"):
        OnnxModel(path)


def test_onnx_models_say_what_is_wrong_with_their_file(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx: no such ONNX file"):
        OnnxModel(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.onnx: not an ONNX network that can be read"):
        OnnxModel(tmp_path / "text.onnx")


def test_onnx_models_name_the_extra_they_need(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install posewright\[onnx\]"):
        OnnxModel(tmp_path / "any.onnx")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are Unix's")
def test_pipes_are_not_waited_for(tmp_path):
    pytest.importorskip("onnxruntime")
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net\.onnx: expected an ONNX file, got a pipe or a device"):
        OnnxModel(tmp_path / "net.onnx")
