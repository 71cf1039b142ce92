"""People per second of the systems in README's table, by `posewright bench`; writes benchmarks/systems.md.

    OMP_NUM_THREADS=1 taskset -c 1 chrt -r 10 .venv/bin/python benchmarks/systems.py --write

One thread on one core, at real-time priority, so that other work on the machine does not matter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from loader import provenance, publish

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
OPTIONS = ("--batch", "8", "--turns", "3")

INTRO = """# People per second of the systems in README

{provenance}

Started by `OMP_NUM_THREADS=1 taskset -c 1 chrt -r 10`, so on one core, with one thread, at real-time priority: the load
of the machine does not matter. Each system is `posewright bench NAME {options}` in a process of its own: people per
second from the image file to the drawn keypoints, 8 people at once, without the flip test, which halves the rate. The
weights' values cost no time and are random.

| system | torch | ONNX Runtime | OpenVINO | of it in the network |
|---|---:|---:|---:|---:|"""


def systems() -> list[str]:
    """The names in README's table."""
    table = README.read_text("utf-8").split("\n| for |")[1].split("\n\n")[0]
    return re.findall(r"^\|[^|]*\| `([^`]+)`", table, re.M)


def row(name: str) -> str:
    """Measure one system."""
    command = [sys.executable, "-m", "posewright", "bench", name, *OPTIONS, "--json", "--quiet"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent / "src")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    rows = {r["runtime"]: r for r in json.loads(done.stdout)["rows"]}
    rates = [f"{1000 / rows[r]['all']:.1f}" if r in rows else "–" for r in ("torch", "onnx", "openvino")]
    best = min(rows.values(), key=lambda r: r["all"])
    return f"| `{name}` | {' | '.join(rates)} | {best['network'] / best['all']:.0%} |"


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write benchmarks/systems.md")
    options = parser.parse_args()
    lines = [INTRO.format(provenance="\n".join(provenance()), options=" ".join(OPTIONS))]
    for name in systems():
        lines.append(row(name))
        print(lines[-1], flush=True)
    publish(lines, HERE / "systems.md" if options.write else None)


if __name__ == "__main__":
    main()
