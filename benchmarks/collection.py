"""Memory and speed of `posewright predict --shards` over a large collection of small generated images.

    PYTHONPATH=src nice -n 5 .venv/bin/python benchmarks/collection.py --images 100000 [--work FOLDER]

Images are 64x64 JPEG in folders of 1,000; the network is one convolution, so that all else weighs as much as it can.
The process's memory is noted with every finished shard.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from posewright import find, image
from posewright.predict import collection
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

SPEC = replace(find("simplebaseline-r18-slim-128x96"), name="one-convolution-128x96")


def generate(folder: Path, count: int) -> None:
    """`count` images; those that are there stay."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(100)]
    coded = [image.encode(picture, ".jpg") for picture in pictures]
    for start in range(0, count, 1000):
        part = folder / f"{start // 1000:06d}"
        part.mkdir(parents=True, exist_ok=True)
        for n in range(start, min(start + 1000, count)):
            (part / f"{n:09d}.jpg").write_bytes(coded[n % 100])


def resident() -> float:
    """MB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def tools() -> tuple[Predictor, collection.BoxSource]:
    network = torch.nn.Conv2d(3, SPEC.skeleton.num_keypoints, 7, stride=4, padding=3)
    predictor = Predictor(SPEC, network, flip=False, batch=32, device="cpu")
    return predictor, lambda pixels: Boxes.of([[0, 0, pixels.shape[1], pixels.shape[0]]], source="whole image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("runs/collection"))
    options = parser.parse_args()
    torch.manual_seed(0)
    source, out = options.work / "in", options.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    generate(source, options.images)
    memory: list[tuple[float, float]] = []
    write = collection.make_shard

    def noted(*arguments: object) -> str:
        name = write(*arguments)  # pyright: ignore[reportArgumentType]
        memory.append((time.monotonic(), resident()))
        if len(memory) % 5 == 0:
            print(f"{len(memory)} shards, {memory[-1][1]:.1f} MB", flush=True)
        return name

    collection.make_shard = noted
    start = time.monotonic()
    summary = collection.predict_collection(tools, [str(source)], str(out), recursive=True)
    times, sizes = np.array(memory).T
    later = sizes[len(sizes) // 10 :]
    written = sum(path.stat().st_size for path in out.glob("part-*")) / options.images
    planned = (out / "plan.jsonl").stat().st_size / options.images
    rate = 1000 * (len(times) - 1) / (times[-1] - times[0])
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    print(summary)
    print(f"{rate:.0f} images/s; bytes per image: {written:.0f} of results, {planned:.0f} of the plan")
    print(f"listing and the first shard took {times[0] - start:.1f} s, all {times[-1] - start:.0f} s")
    growth = 100 * (later.max() / later[0] - 1)
    print(
        f"memory: {sizes[0]:.1f} MB after the first shard, {later[0]:.1f} MB after a tenth of them, "
        f"{later[-1]:.1f} MB at the end; from the tenth on at most {later.max():.1f} MB ({growth:+.1f} %)"
    )


if __name__ == "__main__":
    main()
