"""The training loader beside a data set written one sample and one joint at a time, as the published code has it.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/loader.py

Prints the tables of benchmarks/loader.md. Both sides read the same 640x480 JPEGs with two workers and make the same
batches: HRNet's augmentation, 256x192 crops, 64x48 heatmaps. They take turns; the median of the turns' ratios counts.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from posewright import image
from posewright.data import coco
from posewright.data.augment import HRNET
from posewright.data.loader import Loader
from posewright.skeletons import COCO17, to_category
from posewright.spec import IMAGENET_MEAN, IMAGENET_STD, find

IMAGES, BATCH, WORKERS, TURNS, EPOCHS = 256, 32, 2, 7, 2
WIDTH, HEIGHT = 192, 256


# -- the data -------------------------------------------------------------------------------------------------------


def make(folder: Path) -> Path:
    """Photograph-like JPEGs of about 120 kB (noise of every size), one person each; the annotation file."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for n in range(1, IMAGES + 1):
        picture = np.full((480, 640, 3), 128.0)
        for cells, strength in ((4, 60), (16, 40), (64, 20), (240, 14)):
            noise = rng.normal(0, strength, (cells, cells * 4 // 3, 3)).astype(np.float32)
            picture += cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
        image.write(folder / "images" / f"{n:06d}.jpg", picture.clip(0, 255).astype(np.uint8))
        x, y, w, h = rng.uniform(0, 250), rng.uniform(0, 120), rng.uniform(60, 300), rng.uniform(120, 340)
        joints = np.column_stack([x + rng.random(17) * w, y + rng.random(17) * h, rng.integers(0, 3, 17)])
        images.append({"id": n, "file_name": f"{n:06d}.jpg", "width": 640, "height": 480})
        annotations.append(
            {"id": n, "image_id": n, "bbox": [x, y, w, h], "area": w * h / 2, "keypoints": joints.ravel().tolist()}
        )
    content = {"images": images, "annotations": annotations, "categories": [to_category(COCO17)]}
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


# -- the published way: a list of dictionaries, one sample and one joint at a time ----------------------------------


class OneAtATime(Dataset[Any]):
    """What HRNet's training sample goes through, step by step. `spent` gathers the seconds of each step."""

    def __init__(self, people: coco.People) -> None:
        ratio = WIDTH / HEIGHT
        self.spent: dict[str, float] = {}
        self.records = []
        for n in range(len(people)):
            person = people[n]
            x, y, w, h = person.box
            w, h = max(w, h * ratio) / 200 * 1.25, max(h, w / ratio) / 200 * 1.25
            joints = np.zeros((17, 3))
            joints[:, :2] = person.xy
            visible = np.repeat(np.minimum(person.seen, 1)[:, None], 3, 1).astype(float)
            self.records.append(
                {
                    "path": str(person.path), "centre": np.array([x, y]) + person.box[2:] / 2,
                    "scale": np.array([w, h]), "joints": joints, "visible": visible,
                }
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        record = self.records[index]
        centre, scale = record["centre"].copy(), record["scale"].copy()
        joints, visible = record["joints"].copy(), record["visible"].copy()
        with self.step("read"):
            picture = cv2.imread(record["path"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        if visible[:, 0].sum() > 8 and np.random.rand() < 0.3:
            centre, scale = half_body(joints, visible, centre, scale)
        scale = scale * np.clip(np.random.randn() * 0.35 + 1, 0.65, 1.35)
        degrees = np.clip(np.random.randn() * 45, -90, 90) if np.random.rand() <= 0.6 else 0
        if np.random.rand() <= 0.5:
            picture = picture[:, ::-1, :]
            joints, visible = mirrored(joints, visible, picture.shape[1])
            centre[0] = picture.shape[1] - centre[0] - 1
        with self.step("warp"):
            matrix = matrix_of(centre, scale, degrees)
            picture = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        with self.step("normalise"):
            pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255)
            mean, std = (torch.tensor(v).view(3, 1, 1) / 255 for v in (IMAGENET_MEAN, IMAGENET_STD))
            pixels = pixels.sub_(mean).div_(std)
        with self.step("target"):
            for k in range(17):
                if visible[k, 0] > 0:
                    joints[k, :2] = matrix @ np.array([joints[k, 0], joints[k, 1], 1.0])
            target, weight = encoded(joints, visible)
        return pixels, torch.from_numpy(target), torch.from_numpy(weight)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the seconds of a block."""
        start = time.perf_counter()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - start


def half_body(joints: Any, visible: Any, centre: Any, scale: Any) -> tuple[np.ndarray, np.ndarray]:
    upper = [joints[k] for k in range(17) if visible[k, 0] > 0 and k <= 10]
    lower = [joints[k] for k in range(17) if visible[k, 0] > 0 and k > 10]
    chosen = upper if np.random.randn() < 0.5 and len(upper) > 2 else lower if len(lower) > 2 else upper
    if len(chosen) < 2:
        return centre, scale
    points = np.array(chosen)[:, :2]
    w, h = points.max(0) - points.min(0)
    w, h = max(w, h * WIDTH / HEIGHT), max(h, w * HEIGHT / WIDTH)
    return points.mean(0), np.array([w, h]) / 200 * 1.5


def mirrored(joints: np.ndarray, visible: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    joints[:, 0] = width - joints[:, 0] - 1
    for a, b in COCO17.mirror:
        i, j = COCO17.points.index(a), COCO17.points.index(b)
        joints[[i, j]], visible[[i, j]] = joints[[j, i]], visible[[j, i]]
    return joints * visible, visible


def matrix_of(centre: np.ndarray, scale: np.ndarray, degrees: float) -> np.ndarray:
    turn, reach = np.pi * degrees / 180, -100 * scale[0]
    here, there = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    here[0], there[0] = centre, (WIDTH / 2, HEIGHT / 2)
    here[1] = centre + np.array([-reach * np.sin(turn), reach * np.cos(turn)])
    there[1] = there[0] + np.array([0, -WIDTH / 2], np.float32)
    for points in (here, there):
        across = points[0] - points[1]
        points[2] = points[1] + np.array([-across[1], across[0]], np.float32)
    return cv2.getAffineTransform(here, there)


def encoded(joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weight = np.ones((17, 1), np.float32)
    weight[:, 0] = visible[:, 0]
    target = np.zeros((17, 64, 48), np.float32)
    for k in range(17):
        x, y = int(joints[k, 0] / 4 + 0.5), int(joints[k, 1] / 4 + 0.5)
        left, top, right, bottom = x - 6, y - 6, x + 7, y + 7
        if left >= 48 or top >= 64 or right < 0 or bottom < 0:
            weight[k] = 0
            continue
        axis = np.arange(0, 13, 1, np.float32)
        blob = np.exp(-((axis - 6) ** 2 + (axis[:, None] - 6) ** 2) / (2 * 2**2))
        if weight[k] > 0.5:
            gx, gy = (max(0, -left), min(right, 48) - left), (max(0, -top), min(bottom, 64) - top)
            ix, iy = (max(0, left), min(right, 48)), (max(0, top), min(bottom, 64))
            target[k, iy[0] : iy[1], ix[0] : ix[1]] = blob[gy[0] : gy[1], gx[0] : gx[1]]
    return target, weight


# -- side by side ---------------------------------------------------------------------------------------------------


def timed(epoch: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds a sample."""
    start, seen = clock(), 0
    for _ in range(EPOCHS):
        seen += sum(len(batch) for batch in epoch())
    return (clock() - start) / seen * 1e3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        people = coco.read(make(Path(folder)))
        spec = find("hrnet-w32-256x192")
        plain = OneAtATime(people)
        sizes = [path.stat().st_size for path in people.paths.values()]
        print(f"{len(people)} JPEGs of 640x480, {statistics.mean(sizes) / 1000:.0f} kB each\n")
        print("| batches of 32 | published way | here | factor |\n|---|---:|---:|---:|")
        for workers in (0, WORKERS):
            old = DataLoader(
                plain, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
            )
            new = Loader(people, spec, HRNET, BATCH, workers=workers)
            epochs = (lambda old=old: (b[0] for b in old), lambda new=new: (b.images for b in new.epoch(0)))
            [timed(epoch) for epoch in epochs]  # workers start, files get cached
            clock = time.perf_counter if workers else time.process_time  # other programs disturb the latter less
            turns = np.array([[timed(epoch, clock) for epoch in epochs] for _ in range(TURNS)])
            was, now = np.median(turns, 0)
            factor = np.median(turns[:, 0] / turns[:, 1])
            name = f"{workers} workers, wall time" if workers else "one process, CPU time"
            print(f"| {name} | {was:.2f} ms a sample | {now:.2f} ms a sample | {factor:.2f} |")
        print("\n| the published way's sample, one process | share |\n|---|---:|")
        plain.spent.clear()
        whole = timed(lambda: ([None] for n in range(len(plain)) if plain[n])) * len(plain) * EPOCHS / 1e3
        for name, seconds in [*plain.spent.items(), ("the rest", whole - sum(plain.spent.values()))]:
            print(f"| {name} | {seconds / whole:.0%} |")


if __name__ == "__main__":
    main()
