"""Codecs beside straightforward loops in the manner of the papers' code: equal results, and how much faster.

    OMP_NUM_THREADS=1 python benchmarks/codecs.py --out benchmarks/codecs.md

Both sides run interleaved, in one process, on one thread; the result is CPU time, which other programs on the machine
disturb less than the clock: in each round the best of three, over the rounds the median.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

import loops
from loops import HEIGHT, MAP_SIZE, POINTS, SIZE, WIDTH
from posewright.codecs import _blur
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.multiscale import MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpOffsetHeatmap
from posewright.skeletons import COCO17


def blob(xy: np.ndarray, sigma: float) -> np.ndarray:
    x, y = xy
    across = np.exp(-((np.arange(WIDTH) - x) ** 2) / (2 * sigma**2))
    return np.exp(-((np.arange(HEIGHT) - y) ** 2) / (2 * sigma**2))[:, None] * across


def anywhere(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Places in the middle 80 % of a map, where a box padded by 1.25 has its keypoints."""
    return rng.uniform(0.1, 0.9, (*shape, 2)) * (WIDTH - 1, HEIGHT - 1)


def network_maps(people: int, sigma: float, scale: float) -> np.ndarray:
    """Maps as networks yield them: a blob of any confidence, every fifth with a rival elsewhere, and noise."""
    rng = np.random.default_rng(0)
    maps = rng.normal(scale=0.01, size=(people, POINTS, HEIGHT, WIDTH))
    for n, k in np.ndindex(people, POINTS):
        peak = rng.uniform(0.2, 1)
        maps[n, k] += peak * blob(anywhere(rng), sigma)
        if rng.random() < 0.2:
            maps[n, k] += peak * rng.uniform(0.3, 1) * blob(anywhere(rng), sigma)
    return (maps * scale).astype(np.float32)


@dataclass
class Race:
    """Two ways to the same numbers.

    Attributes:
        name: the row's name.
        people: how many at a time.
        loop, ours: yield the numbers of all people.
        tolerance: by how much they may differ; float32 blurs and logarithms on the loop's side.
        goal: factor to reach, if one was set.
    """

    name: str
    people: int
    loop: Callable[[], np.ndarray]
    ours: Callable[[], np.ndarray]
    tolerance: float
    goal: float | None = None


def races(people: int) -> list[Race]:
    rng = np.random.default_rng(1)
    xy, visibility = 4 * anywhere(rng, 32, POINTS), np.full((32, POINTS), 2)
    quarter, soft, levels = (
        GaussianHeatmap(SIZE, MAP_SIZE),
        GaussianHeatmap(SIZE, MAP_SIZE, decoding="soft-argmax"),
        MultiScaleHeatmap(SIZE, MAP_SIZE),
    )
    dark, udp, offset, cpn = (
        codec(SIZE, MAP_SIZE) for codec in (DarkHeatmap, UdpHeatmap, UdpOffsetHeatmap, CpnMultiScaleHeatmap)
    )
    maps, wide_maps = network_maps(people, 2.0, 1.0), network_maps(people, 1.2, 255.0)
    damped = UdpHeatmap(SIZE, MAP_SIZE, blur=11, toolkit="mmpose1")
    few = max(people // 5, 1)
    discs = offset.encode(4 * anywhere(rng, few, POINTS), np.full((few, POINTS), 2))[0]
    discs += rng.normal(scale=0.01, size=discs.shape).astype(np.float32)
    to_dark = lambda cells: (cells - (23.5, 31.5)) * (191 / 47) + (95.5, 127.5)  # noqa: E731
    to_udp = np.array([191 / 47, 255 / 63])
    return [
        *(Race(f"encode: heatmaps, {n} people", n,
               lambda n=n: np.array([loops.encode_heatmap(*p)[0] for p in zip(xy[:n], visibility)]),
               lambda n=n: quarter.encode(xy[:n], visibility[:n])[0], 2e-7, goal) for n, goal in ((1, None), (32, 20))),
        *(Race(f"encode: MSPN labels, {n} people", n,
               lambda n=n: np.array([loops.encode_multiscale(p) for p in xy[:n]]),
               lambda n=n: levels.encode(xy[:n], visibility[:n])[0], 1e-4, goal) for n, goal in ((1, None), (32, 20))),
        Race("decode: quarter shift", people, lambda: loops.decode_quarter(maps),
             lambda: quarter.decode(maps)[0], 0, 10),
        Race("decode: soft-arg-max (LPN)", few, lambda: loops.decode_soft(maps[:few]),
             lambda: soft.decode(maps[:few])[0], 1e-9),
        Race("decode: DARK", people, lambda: to_dark(loops.decode_dark(maps)), lambda: dark.decode(maps)[0], 5e-3, 20),
        Race("decode: UDP as in mmpose 1.x", people, lambda: loops.decode_udp(maps, True) * to_udp,
             lambda: damped.decode(maps)[0], 5e-3, 20),
        Race("decode: UDP", people, lambda: loops.decode_udp(maps) * to_udp, lambda: udp.decode(maps)[0], 5e-3, 12),
        Race("decode: UDP offset", few, lambda: loops.decode_udp_offset(discs) * to_udp,
             lambda: offset.decode(discs)[0], 1e-4, 10),
        Race("decode: MSPN", people, lambda: loops.decode_multiscale(wide_maps),
             lambda: levels.decode(wide_maps)[0], 1e-6, 8),
        Race("decode: CPN", few, lambda: loops.decode_multiscale(wide_maps[:few], 21, True),
             lambda: cpn.decode(wide_maps[:few])[0], 1e-6, 5),
        Race("unflip with shift", few, lambda: loops.flip(maps[:few]), lambda: quarter.unflip(maps[:few], COCO17), 0),
    ]  # fmt: skip


def microseconds(work: Callable[[], np.ndarray], people: int) -> float:
    """The best of three repetitions, per person."""
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / people * 1e6


def limits(people: int) -> list[str]:
    """What passes over the maps cost at least: no decoder that needs one is faster."""
    maps = network_maps(people, 2.0, 1.0).reshape(-1, *MAP_SIZE)
    side_by_side = np.ascontiguousarray(maps[:32].swapaxes(0, 1)).reshape(HEIGHT, -1)
    blurred = np.empty_like(side_by_side)

    def by_opencv(kernel: int) -> np.ndarray:  # wide, so that its vectors are full, and in a cache; the edges are wrong
        for _ in range(len(maps) // 32):
            cv2.GaussianBlur(side_by_side, (kernel, kernel), 0, dst=blurred)
        return blurred

    def by_products(kernel: int) -> np.ndarray:
        pieces = _blur.pieces(maps, kernel, mirrored=True, dtype=np.float32)
        return np.array([after[0, 0, 0] for _, after in pieces])

    once = microseconds(lambda: maps.max((1, 2)), people)
    lines = [f"Reading the maps once, for their maxima, takes {once:.0f} microseconds per person."]
    for kernel in (7, 15):
        least = min(microseconds(partial(blur, kernel), people) for blur in (by_opencv, by_products))
        lines.append(
            f"Blurring them all (kernel {kernel}), by OpenCV or by matrix products, takes {least:.0f} at least."
        )
    return lines


def row(race: Race, rounds: int) -> str:
    difference = float(np.abs(race.loop() - race.ours()).max())
    if difference > race.tolerance:
        raise ValueError(f"{race.name}: results differ by {difference}, more than {race.tolerance}")
    pairs = [tuple(microseconds(work, race.people) for work in (race.loop, race.ours)) for _ in range(rounds)]
    slow, fast = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    factor = statistics.median(a / b for a, b in pairs)
    goal = f"{race.goal:.0f}" if race.goal else ""
    return f"| {race.name} | {slow:.0f} | {fast:.1f} | {factor:.1f} | {goal} | {difference:.1g} |"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000, help="people to decode at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="markdown file to write; default: print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = [
        "# Codecs: loops in the manner of the papers' code, and Posewright's",
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {processor()}, one thread, commit {commit.stdout.strip()}, Python "
        f"{platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}.",
        f"Command: `OMP_NUM_THREADS=1 python benchmarks/codecs.py {' '.join(sys.argv[1:])}`. CPU time in "
        f"microseconds per person (17 maps of 64x48): best of 3, median of {options.rounds} interleaved rounds. "
        f"Decoding {options.people} people at a time.",
        "",
        "UDP as released stretches each blurred map by its own extremes, so that all of it has to be blurred; mmpose's",
        "variants do not, and only the window that is read is. MSPN, CPN and UDP's offsets blur a square where the",
        "largest value may be, and the whole map where that is not certain to hold all that counts.",
        "",
        *limits(options.people),
        "",
        "| step | loops | ours | times faster | goal | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for race in races(options.people):
        lines.append(row(race, options.rounds))
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
