"""Whether an installed Posewright works outside of any checkout: `python tests/smoke.py`, by the Python that has it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TOOL = [sys.executable, "-m", "posewright"]


def run(folder: Path, *words: str) -> str:
    print("posewright", *words, flush=True)
    return subprocess.run([*TOOL, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    print(run(folder, "--version").strip())
    assert "mspn-2stg-256x192" in run(folder, "models")
    assert "hrnet" in run(folder, "weights", "list")
    run(folder, "data", "synth", "drawn", "--images", "2", "--split", "val")
    run(folder, "predict", "drawn/val", "--out", "found")
    found = json.loads((folder / "found/results.json").read_text())
    assert len(found) == 2
    assert all(len(pose["keypoints"]) == 3 * 14 for pose in found)
    assert list((folder / "found").rglob("*.jpg"))
print("good")
