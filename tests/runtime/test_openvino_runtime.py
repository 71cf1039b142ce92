"""OpenVINO behind one call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

THREADS = """
import sys, threading
import numpy as np
from posewright.runtime.openvino_runtime import OpenVinoModel

sys.setswitchinterval(1e-6)
model, together, found = OpenVinoModel(sys.argv[1]), threading.Barrier(8), []

def call(n):
    together.wait()
    found.append(float(model(np.full((1, 4), n, np.float32))[0].sum()))

threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(found) == [4.0 * n for n in range(8)], found
"""


def test_the_first_calls_may_come_from_several_threads(tmp_path: Path) -> None:
    """In a process of its own, as the first calls of a process are meant: they waited for each other for ever."""
    openvino = pytest.importorskip("openvino")
    images = openvino.opset13.parameter([-1, 4], openvino.Type.f32)
    file = tmp_path / "relu.xml"
    openvino.save_model(openvino.Model([openvino.opset13.relu(images)], [images]), file)
    done = subprocess.run([sys.executable, "-c", THREADS, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
