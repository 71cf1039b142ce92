"""The example of the documents: an exported file needs ONNX Runtime and NumPy, and nothing of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from posewright.export import network_file
from posewright.predict.predictor import load
from posewright.synthetic.people import Scene, draw_scene

EXAMPLE = re.compile(r"^```python\n(import json\n.*?onnxruntime.*?)^```", re.M | re.S)
ALONE = "assert not {name.partition('.')[0] for name in sys.modules} & {'posewright', 'torch', 'cv2', 'onnx'}\n"


def test_the_example_finds_what_the_predictor_finds(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found = EXAMPLE.search((Path(__file__).parents[2] / "docs" / "export.md").read_text())
    assert found is not None
    assert len([line for line in found[1].splitlines() if line.strip()]) <= 35
    (tmp_path / "alone.py").write_text(found[1] + "    " + ALONE)
    predictor = load(device="cpu", runtime="torch", flip=False)
    network_file.write(predictor, tmp_path / "net.onnx", "onnx")
    picture = draw_scene(np.random.default_rng(1), Scene())[0]
    np.save(tmp_path / "photo.npy", picture)
    box = [150.5, 20.25, 170.0, 219.0]  # beyond the picture's edges
    words = [sys.executable, "alone.py", "net.onnx", "photo.npy", *map(str, box)]
    done = subprocess.run(
        words, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    xy, score = np.split(np.array(json.loads(done.stdout)), [2], axis=1)
    want = predictor(picture, [box])
    exact = cv2.__version__ >= "5"  # OpenCV 4 warps in steps of 1/32 of a pixel
    np.testing.assert_allclose(xy, want.xy[0], atol=0.05 if exact else 1)
    np.testing.assert_allclose(score[:, 0], want.score[0], atol=1e-3 if exact else 0.05)
