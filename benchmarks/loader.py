"""The training loader beside a data set written one sample and one joint at a time, as the published code has it.

    .venv/bin/python benchmarks/loader.py --write

Both sides read the same 640x480 JPEGs with two workers and make the same batches: HRNet's augmentation, 256x192 crops,
64x48 heatmaps. They take turns; the median of the turns' ratios counts.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from posewright import geometry, image
from posewright.data import augment, coco
from posewright.data import loader as our_loader
from posewright.data.loader import Loader
from posewright.files import write_text
from posewright.models import find
from posewright.progress import bar
from posewright.skeletons import COCO17, to_category
from posewright.spec import IMAGENET_MEAN, IMAGENET_STD, Spec
from posewright.types import Crop

IMAGES, BATCH, WORKERS, EPOCHS = 256, 32, 2, 2
WIDTH, HEIGHT = 192, 256
PARTS = ("decode", "warp", "augment", "target", "normalise and collate", "the rest")

Arrays = tuple[np.ndarray, np.ndarray]
Seconds = np.ndarray
"""[2]: by the clock, and of the CPU in all threads."""


# -- the clocks -----------------------------------------------------------------------------------------------------


def now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


class Spent:
    """What the parts of some work took so far, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, Seconds] = {}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Count a block."""
        start = now()
        yield
        self.seconds[part] = self.seconds.get(part, np.zeros(2)) + now() - start

    def counting(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, but that its calls are counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.on(part):
                return work(*args, **kwargs)

        return counted


# -- the data -------------------------------------------------------------------------------------------------------


def make(folder: Path, count: int = IMAGES) -> Path:
    """Photograph-like JPEGs of about 120 kB (noise of every size), one person each; the annotation file."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for n in range(1, count + 1):
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
    """What HRNet's training sample goes through, step by step; `spent` counts them.

    Args:
        people: whose samples.
        encode: keypoints [17, 3] in the crop and their visibility [17, 3] to target and weight.
    """

    def __init__(self, people: coco.KeypointDataset, encode: Callable[[np.ndarray, np.ndarray], Arrays]) -> None:
        ratio = WIDTH / HEIGHT
        self.spent = Spent()
        self.encode = encode
        self.records = []
        for n in range(len(people)):
            person = people[n]
            x, y, w, h = person.box
            w, h = max(w, h * ratio) / 200 * 1.25, max(h, w / ratio) / 200 * 1.25
            joints = np.zeros((17, 3))
            joints[:, :2] = person.xy
            visible = np.repeat(np.minimum(person.visibility, 1)[:, None], 3, 1).astype(float)
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
        with self.spent.on("decode"):
            picture = cv2.imread(record["path"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            assert picture is not None
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        with self.spent.on("augment"):
            if visible[:, 0].sum() > 8 and np.random.rand() < 0.3:
                centre, scale = half_body(joints, visible, centre, scale)
            scale = scale * np.clip(np.random.randn() * 0.35 + 1, 0.65, 1.35)
            degrees = np.clip(np.random.randn() * 45, -90, 90) if np.random.rand() <= 0.6 else 0
            if np.random.rand() <= 0.5:
                picture = picture[:, ::-1, :]
                joints, visible = mirrored(joints, visible, picture.shape[1])
                centre[0] = picture.shape[1] - centre[0] - 1
        with self.spent.on("warp"):
            matrix = matrix_of(centre, scale, degrees)
            picture = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        with self.spent.on("normalise and collate"):
            pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255)
            mean, std = (torch.tensor(v).view(3, 1, 1) / 255 for v in (IMAGENET_MEAN, IMAGENET_STD))
            pixels = pixels.sub_(mean).div_(std)
        with self.spent.on("target"):
            for k in range(17):
                if visible[k, 0] > 0:
                    joints[k, :2] = matrix @ np.array([joints[k, 0], joints[k, 1], 1.0])
            target, weight = self.encode(joints, visible)
        return pixels, torch.from_numpy(target), torch.from_numpy(weight)


def half_body(joints: Any, visible: Any, centre: Any, scale: Any) -> Arrays:
    upper = [joints[k] for k in range(17) if visible[k, 0] > 0 and k <= 10]
    lower = [joints[k] for k in range(17) if visible[k, 0] > 0 and k > 10]
    chosen = upper if np.random.randn() < 0.5 and len(upper) > 2 else lower if len(lower) > 2 else upper
    if len(chosen) < 2:
        return centre, scale
    points = np.array(chosen)[:, :2]
    w, h = points.max(0) - points.min(0)
    w, h = max(w, h * WIDTH / HEIGHT), max(h, w * HEIGHT / WIDTH)
    return points.mean(0), np.array([w, h]) / 200 * 1.5


def mirrored(joints: np.ndarray, visible: np.ndarray, width: int) -> Arrays:
    joints[:, 0] = width - joints[:, 0] - 1
    for a, b in COCO17.mirror:
        i, j = COCO17.points.index(a), COCO17.points.index(b)
        joints[[i, j]], visible[[i, j]] = joints[[j, i]], visible[[j, i]]
    return joints * visible, visible


def matrix_of(centre: np.ndarray, scale: np.ndarray, degrees: float) -> np.ndarray:
    turn, reach = np.pi * degrees / 180, -100 * scale[0]
    before, after = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    before[0], after[0] = centre, (WIDTH / 2, HEIGHT / 2)
    before[1] = centre + np.array([-reach * np.sin(turn), reach * np.cos(turn)])
    after[1] = after[0] + np.array([0, -WIDTH / 2], np.float32)
    for points in (before, after):
        across = points[0] - points[1]
        points[2] = points[1] + np.array([-across[1], across[0]], np.float32)
    return cv2.getAffineTransform(before, after)


def heatmaps(joints: np.ndarray, visible: np.ndarray) -> Arrays:
    """SimpleBaseline's and HRNet's target [17, 64, 48] and weight [17, 1]."""
    weight = np.ones((17, 1), np.float32)
    weight[:, 0] = visible[:, 0]
    target = np.zeros((17, 64, 48), np.float32)
    for k in range(17):
        x, y = int(joints[k, 0] / 4 + 0.5), int(joints[k, 1] / 4 + 0.5)
        left, top, right, bottom = x - 6, y - 6, x + 7, y + 7
        if left >= 48 or top >= 64 or right < 0 or bottom < 0:
            weight[k] = 0
            continue
        axis = np.arange(13, dtype=np.float32)
        blob = np.exp(-((axis - 6) ** 2 + (axis[:, None] - 6) ** 2) / (2 * 2**2))
        if weight[k] > 0.5:
            gx, gy = (max(0, -left), min(right, 48) - left), (max(0, -top), min(bottom, 64) - top)
            ix, iy = (max(0, left), min(right, 48)), (max(0, top), min(bottom, 64))
            target[k, iy[0] : iy[1], ix[0] : ix[1]] = blob[gy[0] : gy[1], gx[0] : gx[1]]
    return target, weight


def ladder(joints: np.ndarray, visible: np.ndarray) -> Arrays:
    """MSPN's labels [5, 17, 64, 48] and visibility [17, 1]."""
    labels, visibility = np.zeros((5, 17, 64, 48), np.float32), visible[:, :1].astype(np.float32)
    for k in range(17):
        x, y = joints[k, :2]
        if x < 0 or y < 0 or x > WIDTH - 1 or y > HEIGHT - 1:
            visibility[k] = 0
    for label, kernel in zip(labels, (15, 11, 9, 7, 5)):
        for k in range(17):
            if visibility[k] > 0:
                label[k, int(joints[k, 1] / 4), int(joints[k, 0] / 4)] = 1
                label[k] = cv2.GaussianBlur(label[k], (kernel, kernel), 0)
                label[k] /= label[k].max() / 255
    return labels, visibility


# -- side by side ---------------------------------------------------------------------------------------------------


def timed(epoch: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds per sample."""
    start, visibility = clock(), 0
    for _ in range(EPOCHS):
        visibility += sum(len(batch) for batch in epoch())
    return (clock() - start) / visibility * 1e3


def race(people: coco.KeypointDataset, spec: Spec, workers: int, turns: int) -> str:
    """A row of the table: published way and ours, as milliseconds and as samples per second."""
    plain = OneAtATime(people, heatmaps)
    old = DataLoader(plain, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0)
    new = Loader(people, spec, augment.HRNET, BATCH, workers=workers)
    epochs = (lambda: (b[0] for b in old), lambda: (b.images for b in new.epoch(0)))
    [timed(epoch) for epoch in epochs]  # workers start, files get cached
    clock = time.perf_counter if workers else time.process_time  # other programs disturb the latter less
    times = np.array([[timed(epoch, clock) for epoch in epochs] for _ in range(turns)])
    name = f"{workers} workers, wall time" if workers else "one process, CPU time"
    cells = (f"{ms:.2f} ms per sample, {1e3 / ms:.0f} a second" for ms in np.median(times, 0))
    return f"| {name} | {' | '.join(cells)} | {np.median(times[:, 0] / times[:, 1]):.2f} |"


def parts(
    people: coco.KeypointDataset, spec: Spec, encode: Callable[[np.ndarray, np.ndarray], Arrays], batch: int, turns: int
) -> np.ndarray:
    """Milliseconds of the CPU a sample of the published way and of ours, [PARTS, 2]; workers have no part in it."""
    plain, spent = OneAtATime(people, encode), Spent()
    collate = plain.spent.counting("normalise and collate", default_collate)
    old = DataLoader(plain, batch, shuffle=True, drop_last=True, collate_fn=collate)
    new = Loader(people, spec, augment.HRNET, batch)
    sides = ((plain.spent, lambda: (b[0] for b in old)), (spent, lambda: (b.images for b in new.epoch(0))))
    with _counted(spec, spent):
        times = [[_parts(*side) for side in sides] for _ in range(turns + 1)]
    return np.median(times[1:], 0).T  # the first turn finds nothing cached


def _parts(spent: Spent, epoch: Callable[[], Iterable[torch.Tensor]]) -> list[float]:
    spent.seconds.clear()
    start = now()
    visibility = sum(len(images) for images in epoch())
    whole = now() - start
    spent.seconds["the rest"] = whole - sum(spent.seconds.values())
    return [float(spent.seconds[part][1]) / visibility * 1e3 for part in PARTS]


@contextmanager
def _counted(spec: Spec, spent: Spent) -> Iterator[None]:
    """Count what our loader calls while the block runs."""
    called: tuple[tuple[Any, str, str], ...] = (
        (image, "read", "decode"), (image, "warp_all", "warp"), (geometry, "matrix_of_region", "warp"),
        (our_loader, "views", "augment"), (our_loader, "recolour", "augment"),
        (Crop, "to_input", "target"), (type(spec.codec), "encode", "target"),
        (image, "to_tensor", "normalise and collate"),
    )  # fmt: skip
    with ExitStack() as stack:
        for owner, name, part in called:
            stack.enter_context(mock.patch.object(owner, name, spent.counting(part, getattr(owner, name))))
        yield


# -- the page -------------------------------------------------------------------------------------------------------


def provenance() -> list[str]:
    """When, on what, from which commit and by which command; for the other benchmarks as well."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    script = Path(sys.argv[0]).name
    cpu = f"{os.cpu_count()} cores of {named[1] if named else platform.machine()}"
    return [
        f"`{' '.join(['.venv/bin/python', f'benchmarks/{script}', *sys.argv[1:]])}`, commit {commit.stdout.strip()},",
        f"{datetime.now(timezone.utc):%d %B %Y}, {cpu}, {torch.get_num_threads()} of torch's threads. Load of the "
        "machine when it",
        f"began: {os.getloadavg()[0]:.1f}. Python {platform.python_version()}, torch {torch.__version__}, OpenCV "
        f"{cv2.__version__}.",
    ]


def publish(lines: list[str], path: Path | None) -> None:
    """Print a page, and write it where there is a path."""
    print("\n".join(lines))
    if path:
        write_text(path, "\n".join(lines) + "\n")


WHY = """
What makes the difference: the mirror is in the crop's matrix (a mirrored view of an image is copied whole before it is
warped), crops travel as bytes, and normalising and encoding happen once per batch. Decoding the JPEG is most of what is
left. MSPN's sample on the published side is HRNet's but for the labels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="in the data set (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=7, help="that both sides take (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write loader.md, besides printing it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = provenance()
    systems = (("simplebaseline-r50-256x192", "heatmaps", heatmaps), ("mspn-2stg-256x192", "MSPN's labels", ladder))
    with tempfile.TemporaryDirectory() as folder, bar("measuring", "tables") as report:
        report(0, 4, "")
        people = coco.read(make(Path(folder), options.images))
        size = statistics.mean(path.stat().st_size for path in people.paths.values())
        rows = []
        for workers in (0, WORKERS):
            rows.append(race(people, find("hrnet-w32-256x192"), workers, options.turns))
            report(len(rows), 4, rows[-1])
        tables = []
        for n, (system, title, encode) in enumerate(systems):
            times = parts(people, find(system), encode, BATCH, options.turns)
            tables += ["", f"| one sample with {title}, CPU time | published way | here |", "|---|---:|---:|"]
            for part, row in zip((*PARTS, "together"), [*times, times.sum(0)]):
                cells = (f"{ms:.3f} ms, {ms / whole:.0%}" for ms, whole in zip(row, times.sum(0)))
                tables.append(f"| {part} | {' | '.join(cells)} |")
            report(3 + n, 4, title)
    lines = [
        "# The training loader, side by side", "", *head, "",
        "Both sides read the same JPEGs, make the same batches of 32 (HRNet's augmentation, 256x192 crops, 64x48",
        f"heatmaps) and take turns, {options.turns} each; times are medians, the factor is the median of the turns' "
        "ratios.", "", f"{len(people)} JPEGs of 640x480, {size / 1000:.0f} kB each", "",
        "| batches of 32 | published way | here | factor |", "|---|---:|---:|---:|", *rows, *tables,
        *WHY.splitlines(),
    ]  # fmt: skip
    publish(lines, Path(__file__).with_suffix(".md") if options.write else None)


if __name__ == "__main__":
    main()
