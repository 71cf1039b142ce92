"""Each of the eleven pose systems learns synthetic people from scratch, by its own recipe, at a size for CPUs.

    python benchmarks/check_systems.py [--people 24000] [--images 2000] [--systems HRNet CPN ...] [--out FOLDER]

Prints a table: system, recipe, network, steps, AP on unseen people, minutes. Ends with status 1 if an AP is below the
bar. A network that has not learned has an AP of 0.00; the mean pose of the training people, put into every box, has
0.03.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from posewright.demo import SCENE
from posewright.runtime.torch_runtime import fast_bf16
from posewright.synthetic import people as synthetic
from posewright.train import recipes
from posewright.train.loop import TrainConfig, rounds

SYSTEMS = {
    "SimpleBaseline": "simplebaseline_r50_coco",
    "HRNet": "hrnet_w32_coco",
    "DARK": "hrnet_w32_dark_coco",
    "UDP": "hrnet_w32_udp_coco",
    "UDP offset": "hrnet_w32_udp_offset_coco",
    "G-RMI": "grmi_r101_coco",
    "CPN": "cpn_50_coco",
    "MSPN": "mspn_2stg_coco",
    "RSN": "rsn_18_coco",
    "LPN": "lpn_50_coco",
    "Lite-HRNet": "litehrnet_18_coco",
    "Hourglass": "hourglass_8_coco",
}
BAR = 0.08
ROW = "{:<15} {:<28} {:<28} {:>6} {:>6} {:>6}"


def trained(system: str, data: dict[str, str], people: int, out: Path) -> tuple[TrainConfig, float]:
    """Train a system's small variant; what was trained, and its AP on unseen people."""
    small = recipes.small(recipes.find(SYSTEMS[system]), people=people)
    folder = out / f"{system.lower().replace(' ', '-')}-{people}"
    config = replace(small, train=data["train"], val=data["val"], out=str(folder), eval_every=1_000_000, workers=1)
    if fast_bf16(torch.device("cpu")):
        config = replace(config, device="cpu", precision="bf16")
    started = (folder / "last.pt").exists() or (folder / "round1").exists()
    return config, rounds(config, resume=started)[-1].metrics["AP"]


def main() -> int:
    """Train all that is asked for, one after the other; 1 if any stays below the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=24_000, help="shown to each system (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2000, help="that they are in (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--out", type=Path, default=Path("runs/check-systems"), help="(default: %(default)s)")
    parser.add_argument("--bar", type=float, default=BAR, help="least AP (default: %(default)s)")
    options = parser.parse_args()
    data = {
        split: str(synthetic.make(options.out / "data", count, split=split, scene=SCENE))
        for split, count in (("train", options.images), ("val", 100))
    }
    failed = []
    print(ROW.format("system", "recipe", "network", "steps", "AP", "min"), flush=True)
    for system in options.systems:
        start = time.monotonic()
        config, ap = trained(system, data, options.people, options.out)
        minutes = f"{(time.monotonic() - start) / 60:.1f}"
        steps = config.steps * config.rounds
        print(ROW.format(system, SYSTEMS[system], config.model, steps, f"{ap:.3f}", minutes), flush=True)
        failed += [system] if ap < options.bar else []
    if failed:
        print(f"below an AP of {options.bar}: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
