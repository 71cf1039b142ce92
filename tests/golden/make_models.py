"""Makes `models.json.xz` of the official outputs in ../shared/reference: `python tests/golden/make_models.py`.

Of every official network it keeps the names, shapes and roles of its parameters, their number and the multiply-adds;
where outputs were recorded, also their values for the first image at `PLACES` places of each and each channel's mean.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np

PLACES = 256
STEP = 7919
"""A prime that divides no size of an output: the places differ, and lie in all channels, rows and columns."""
KEPT = ("source_repo", "source_commit", "variant", "input_shape", "num_params", "gmacs", "state_sha256", "state")


def network(path: Path) -> dict[str, Any]:
    """What is kept of one official network."""
    facts = json.loads(path.read_text())
    kept = {key: facts[key] for key in KEPT}
    if (recorded := path.with_suffix(".npz")).is_file():
        with np.load(recorded) as arrays:
            kept["outputs"] = [sampled(name, arrays, facts["output_std"][name]) for name in facts["outputs"]]
    return kept


def sampled(name: str, arrays: Any, std: float) -> dict[str, Any]:
    """One output: its spread, and what it holds at the places and on average over each channel, for the first image."""
    maps = arrays[name][0]
    places = np.sort(np.arange(PLACES) * STEP % maps.size)
    return {
        "name": name,
        "std": std,
        "places": places.tolist(),
        "values": [short(v) for v in maps.ravel()[places]],
        "means": [short(v) for v in arrays[f"{name}.mean"][0]],
    }


def short(value: float) -> float:
    """Six significant digits: a hundred times finer than the tolerance."""
    return float(f"{value:.6g}")


def networks(folder: Path) -> dict[str, Any]:
    """All that `models.json.xz` holds."""
    return {path.stem: network(path) for path in sorted(folder.glob("*.json"))}


if __name__ == "__main__":
    golden = Path(__file__).resolve().parent
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else golden.parents[2] / "shared/reference/models"
    packed = lzma.compress(json.dumps(networks(folder)).encode(), preset=9 | lzma.PRESET_EXTREME)
    (golden / "models.json.xz").write_bytes(packed)
    print(f"{len(packed)} bytes")
