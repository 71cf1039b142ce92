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
from pathlib import Path

import cv2
import numpy as np
import torch

from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.multiscale import MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpOffsetHeatmap
from posewright.skeletons import COCO17

SIZE, MAP_SIZE = (256, 192), (64, 48)
HEIGHT, WIDTH = MAP_SIZE
POINTS = 17


def blob(x: float, y: float, sigma: float) -> np.ndarray:
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
        maps[n, k] += peak * blob(*anywhere(rng), sigma)
        if rng.random() < 0.2:
            maps[n, k] += peak * rng.uniform(0.3, 1) * blob(*anywhere(rng), sigma)
    return (maps * scale).astype(np.float32)


# The loops: one person, one keypoint at a time.


def loop_encode_heatmap(xy: np.ndarray, visibility: np.ndarray, sigma: int = 2) -> tuple[np.ndarray, np.ndarray]:
    maps, weight = np.zeros((POINTS, HEIGHT, WIDTH), np.float32), np.ones((POINTS, 1), np.float32)
    weight[:, 0] = np.minimum(visibility, 1)
    sizes, reach = (np.array([SIZE[1], SIZE[0]]), np.array([WIDTH, HEIGHT])), 3 * sigma
    for k in range(POINTS):
        stride = sizes[0] / sizes[1]
        centre = [int(xy[k][0] / stride[0] + 0.5), int(xy[k][1] / stride[1] + 0.5)]
        low, high = [int(c - reach) for c in centre], [int(c + reach + 1) for c in centre]
        if low[0] >= WIDTH or low[1] >= HEIGHT or high[0] < 0 or high[1] < 0:
            weight[k] = 0
            continue
        x = np.arange(0, 2 * reach + 1, 1, np.float32)
        stamp = np.exp(-((x - reach) ** 2 + (x[:, None] - reach) ** 2) / (2 * sigma**2))
        from_x = max(0, -low[0]), min(high[0], WIDTH) - low[0]
        from_y = max(0, -low[1]), min(high[1], HEIGHT) - low[1]
        to_x = max(0, low[0]), min(high[0], WIDTH)
        to_y = max(0, low[1]), min(high[1], HEIGHT)
        if weight[k] > 0.5:
            maps[k][to_y[0] : to_y[1], to_x[0] : to_x[1]] = stamp[from_y[0] : from_y[1], from_x[0] : from_x[1]]
    return maps, weight


def loop_encode_multiscale(xy: np.ndarray, kernels: tuple[int, ...] = (15, 11, 9, 7, 5)) -> np.ndarray:
    labels = np.zeros((len(kernels), POINTS, HEIGHT, WIDTH), np.float32)
    for level, kernel in enumerate(kernels):
        for k in range(POINTS):
            labels[level, k, int(xy[k, 1] / 4), int(xy[k, 0] / 4)] = 1
            label = cv2.GaussianBlur(labels[level, k], (kernel, kernel), 0)
            labels[level, k] = label / (np.amax(label) / 255)
    return labels


def maxima(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = maps.reshape(len(maps), POINTS, -1)
    index, score = flat.argmax(2), flat.max(2)
    xy = np.stack([index % WIDTH, index // WIDTH], -1).astype(np.float64)
    return xy * (score > 0)[..., None], score


def loop_decode_quarter(maps: np.ndarray) -> np.ndarray:
    xy, _ = maxima(maps)
    for n in range(len(maps)):
        for k in range(POINTS):
            heat = maps[n][k]
            x, y = math.floor(xy[n][k][0] + 0.5), math.floor(xy[n][k][1] + 0.5)
            if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
                slope = np.array([heat[y][x + 1] - heat[y][x - 1], heat[y + 1][x] - heat[y - 1][x]])
                xy[n][k] += np.sign(slope) * 0.25
    return xy * 4


def loop_decode_soft(maps: np.ndarray) -> np.ndarray:
    out = np.zeros((len(maps), POINTS, 2))
    for n in range(len(maps)):
        share = torch.softmax(160 * torch.from_numpy(maps[n]).double().reshape(POINTS, -1), 1)
        share = share.reshape(POINTS, HEIGHT, WIDTH).numpy()
        out[n, :, 0] = (share.sum(1) * np.arange(WIDTH)).sum(1)
        out[n, :, 1] = (share.sum(2) * np.arange(HEIGHT)).sum(1)
        for k in range(POINTS):
            heat = maps[n][k]
            x, y = math.floor(out[n][k][0] + 0.5), math.floor(out[n][k][1] + 0.5)
            if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
                slope = np.array([heat[y][x + 1] - heat[y][x - 1], heat[y + 1][x] - heat[y - 1][x]])
                out[n][k] += np.sign(slope) * 0.25
    return out * 4


def loop_decode_dark(maps: np.ndarray, kernel: int = 11) -> np.ndarray:
    xy, _ = maxima(maps)
    border = kernel // 2
    smooth = maps.copy()
    for n in range(len(maps)):
        for k in range(POINTS):
            peak = np.max(smooth[n, k])
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border))
            padded[border:-border, border:-border] = smooth[n, k]
            padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
            smooth[n, k] = padded[border:-border, border:-border]
            smooth[n, k] *= peak / np.max(smooth[n, k])
    log = np.log(np.maximum(smooth, 1e-10))
    for n in range(len(maps)):
        for k in range(POINTS):
            heat, (x, y) = log[n, k], xy[n, k].astype(int)
            if not (1 < x < WIDTH - 2 and 1 < y < HEIGHT - 2):
                continue
            dx, dy = 0.5 * (heat[y, x + 1] - heat[y, x - 1]), 0.5 * (heat[y + 1, x] - heat[y - 1, x])
            dxx = 0.25 * (heat[y, x + 2] - 2 * heat[y, x] + heat[y, x - 2])
            dyy = 0.25 * (heat[y + 2, x] - 2 * heat[y, x] + heat[y - 2, x])
            dxy = 0.25 * (heat[y + 1, x + 1] - heat[y - 1, x + 1] - heat[y + 1, x - 1] + heat[y - 1, x - 1])
            if dxx * dyy - dxy**2 != 0:
                hessian = np.array([[dxx, dxy], [dxy, dyy]], np.float64)
                xy[n, k] -= np.linalg.inv(hessian) @ np.array([dx, dy], np.float64)
    return xy


def loop_decode_udp(maps: np.ndarray, mmpose: bool = False) -> np.ndarray:
    """As released; or as in mmpose 1.x: zeros around the map, its maximum kept, a damped Hessian."""
    xy, _ = maxima(maps)
    kernel, border, damping = (11, 5, np.finfo(np.float32).eps) if mmpose else (7, 0, 0)
    smooth = maps.copy()
    for n in range(len(maps)):
        for k in range(POINTS):
            peak = np.max(smooth[n, k])
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border), np.float32)
            padded[border : HEIGHT + border, border : WIDTH + border] = smooth[n, k]
            after = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border : HEIGHT + border, border : WIDTH + border]
            low = 0 if mmpose else np.min(after)
            smooth[n, k] = (after - low) / (np.max(after) - low) * peak
    log = np.pad(np.log(np.clip(smooth, 0.001, 50)), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float64)
    for n in range(len(maps)):
        for k in range(POINTS):
            heat, (x, y) = log[n, k], xy[n, k].astype(int) + 1
            centre, right, left, below, above = (
                heat[y, x],
                heat[y, x + 1],
                heat[y, x - 1],
                heat[y + 1, x],
                heat[y - 1, x],
            )
            dxx, dyy = right - 2 * centre + left, below - 2 * centre + above
            dxy = 0.5 * (heat[y + 1, x + 1] - right - below + 2 * centre - left - above + heat[y - 1, x - 1])
            try:
                inverse = np.linalg.inv(np.array([[dxx + damping, dxy], [dxy, dyy + damping]]))
            except np.linalg.LinAlgError:
                continue
            xy[n, k] -= inverse @ np.array([0.5 * (right - left), 0.5 * (below - above)])
    return xy


def loop_decode_udp_offset(maps: np.ndarray) -> np.ndarray:
    heats, ways_x, ways_y = maps[:, ::3].copy(), maps[:, 1::3] * 4, maps[:, 2::3] * 4
    for n in range(len(maps)):
        for k in range(POINTS):
            heats[n, k] = cv2.GaussianBlur(heats[n, k], (15, 15), 0)
            ways_x[n, k] = cv2.GaussianBlur(ways_x[n, k], (7, 7), 0)
            ways_y[n, k] = cv2.GaussianBlur(ways_y[n, k], (7, 7), 0)
    xy, _ = maxima(heats)
    for n in range(len(maps)):
        for k in range(POINTS):
            x, y = xy[n, k].astype(int)
            xy[n, k] += (ways_x[n, k, y, x], ways_y[n, k, y, x])
    return xy


def loop_decode_multiscale(maps: np.ndarray, kernel: int = 5, normalised: bool = False) -> np.ndarray:
    border, out = 10, np.zeros((len(maps), POINTS, 2))
    for n in range(len(maps)):
        for k in range(POINTS):
            heat = maps[n, k] / np.amax(maps[n, k]) if normalised else maps[n, k]
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border))
            padded[border:-border, border:-border] = heat
            padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
            y, x = np.unravel_index(padded.argmax(), padded.shape)
            padded[y, x] = 0
            v, u = np.unravel_index(padded.argmax(), padded.shape)
            x, y, u, v = x - border, y - border, u - border, v - border
            length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
            if length > 1e-3:
                x, y = x + 0.25 * (u - x) / length, y + 0.25 * (v - y) / length
            out[n, k] = max(0, min(x, WIDTH - 1)), max(0, min(y, HEIGHT - 1))
    return 4 * out + 2


def loop_flip(maps: np.ndarray) -> np.ndarray:
    back = maps[:, :, :, ::-1].copy()
    for a, b in ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)):
        kept = back[:, a].copy()
        back[:, a] = back[:, b]
        back[:, b] = kept
    back[:, :, :, 1:] = back.copy()[:, :, :, :-1]
    return back


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
               lambda n=n: np.array([loop_encode_heatmap(*p)[0] for p in zip(xy[:n], visibility)]),
               lambda n=n: quarter.encode(xy[:n], visibility[:n])[0], 2e-7, goal) for n, goal in ((1, None), (32, 20))),
        *(Race(f"encode: MSPN labels, {n} people", n, lambda n=n: np.array([loop_encode_multiscale(p) for p in xy[:n]]),
               lambda n=n: levels.encode(xy[:n], visibility[:n])[0], 1e-4, goal) for n, goal in ((1, None), (32, 20))),
        Race("decode: quarter shift", people, lambda: loop_decode_quarter(maps),
             lambda: quarter.decode(maps)[0], 0, 10),
        Race("decode: soft-arg-max (LPN)", few, lambda: loop_decode_soft(maps[:few]),
             lambda: soft.decode(maps[:few])[0], 1e-9),
        Race("decode: DARK", people, lambda: to_dark(loop_decode_dark(maps)), lambda: dark.decode(maps)[0], 5e-3, 20),
        Race("decode: UDP as in mmpose 1.x", people, lambda: loop_decode_udp(maps, True) * to_udp,
             lambda: damped.decode(maps)[0], 5e-3, 20),
        Race("decode: UDP", people, lambda: loop_decode_udp(maps) * to_udp, lambda: udp.decode(maps)[0], 5e-3, 12),
        Race("decode: UDP offset", few, lambda: loop_decode_udp_offset(discs) * to_udp,
             lambda: offset.decode(discs)[0], 1e-4, 10),
        Race("decode: MSPN", people, lambda: loop_decode_multiscale(wide_maps),
             lambda: levels.decode(wide_maps)[0], 1e-6, 8),
        Race("decode: CPN", few, lambda: loop_decode_multiscale(wide_maps[:few], 21, True),
             lambda: cpn.decode(wide_maps[:few])[0], 1e-6, 5),
        Race("unflip with shift", few, lambda: loop_flip(maps[:few]), lambda: quarter.unflip(maps[:few], COCO17), 0),
    ]  # fmt: skip


def microseconds(work: Callable[[], np.ndarray], people: int) -> float:
    """The best of three repetitions, per person."""
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / people * 1e6


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
        "variants do not, and only the window that is read is. MSPN, CPN and UDP's offsets blur a square around",
        "the maximum, and the whole map where the square is not certain to hold all that counts.",
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
