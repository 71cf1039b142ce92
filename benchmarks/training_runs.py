"""A folder of training runs and their results, for benchmarks that train: both resume, and neither is made twice."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from posewright.files import write_text
from posewright.predict import timing
from posewright.train.config import TrainConfig
from posewright.train.loop import fit, rounds


class Runs:
    """A work folder: its runs, and the lines of its `results.jsonl`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.results = work / "results.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """The results so far."""
        return [json.loads(line) for line in self.results.read_text().splitlines()] if self.results.exists() else []

    def has(self, row: dict[str, Any]) -> bool:
        """Whether there is a result of that part, name and seed."""
        return any(all(old[key] == row[key] for key in row) for old in self.rows())

    def train(self, config: TrainConfig, *name: str) -> Path:
        """The last weights of a run, or of the last of its rounds, resumed, or started, where it is not done."""
        out = self.work.joinpath(*name)
        out.mkdir(parents=True, exist_ok=True)
        config = replace(config, out=str(out))
        with _counted(out / "seconds.json"):
            if config.target:
                done = rounds(config, resume=(out / "config.json").exists())
                finished = len(done) == config.pseudo.rounds and done[-1].finished
            else:
                done = [fit(config, resume=(out / "last.pt").exists())]
                finished = done[-1].finished
        if not finished:
            raise SystemExit("stopped; the same command goes on")
        return done[-1].out / "last.pt"

    def add(self, row: dict[str, Any], weights: Path, values: dict[str, Any]) -> None:
        """Write down a result, with the minutes and the steps of its weights' own run."""
        run = weights.parent.parent if weights.parent.name.startswith("round") else weights.parent
        steps = msgspec.json.decode((weights.parent / "config.json").read_bytes())["steps"]
        row = row | values | {"minutes": json.loads((run / "seconds.json").read_text()) / 60, "weights": str(weights)}
        row |= {"commit": _commit(), "steps": steps}
        with self.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def write_part(path: Path, content: dict[str, Any], images: Container[int], categories: Container[int]) -> None:
    """Write the annotations of COCO's content that are of these images and categories, and the images."""
    part = {
        "images": [image for image in content["images"] if image["id"] in images],
        "annotations": [
            a for a in content["annotations"] if a["image_id"] in images and a["category_id"] in categories
        ],
    }
    write_text(path, json.dumps(content | part))


def row_of(part: str, name: str, seed: int) -> dict[str, Any]:
    """What a result is known by."""
    return {"part": part, "name": name, "seed": seed}


def spread(values: list[float], digits: int) -> str:
    """Mean and sample deviation, in words."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def processor() -> str:
    """What this machine computes with, in words."""
    return f"a {os.cpu_count()}-core {timing.surroundings()['cpu']}"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


@contextmanager
def _counted(path: Path) -> Iterator[None]:
    """Add a block's processor seconds to those in a file; a run that is done already adds none."""
    spent, start = (json.loads(path.read_text()) if path.exists() else 0.0), time.process_time()
    try:
        yield
    finally:
        write_text(path, json.dumps(spent + time.process_time() - start))
