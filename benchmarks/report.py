"""100,000 detections diagnosed and reported: seconds, memory and the size of the page.

    python benchmarks/report.py

5,000 images with 10,000 people and 20 detections each, which is more than COCO val2017 with a detector's boxes; their
pictures are 40 drawn ones under 5,000 names. It runs `posewright eval --results` on them in a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from posewright.skeletons import COCO17, to_category
from posewright.synthetic import people

IMAGES, EACH, DRAWN = 5000, 20, 40


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        command = [sys.executable, "-m", "posewright", "eval", "--data", "people.json", "--images", "images"]
        start = time.monotonic()
        subprocess.run([*command, "--results", "results.json", "--out", "eval"], cwd=folder, check=True)
        took, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "eval" / "index.html").stat().st_size
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {IMAGES * EACH:,} detections")
        print(
            f"{took:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of one core), {used.ru_maxrss / 1024:.0f} MB at most"
        )
        print(f"page: {size / 1e6:.1f} MB")


def make(folder: Path) -> None:
    """Write annotations, results that are right, near, inverted, double or of nobody, and pictures."""
    rng = np.random.default_rng(0)
    listing = json.loads(people.make(folder / "drawn", DRAWN, split="val", workers=1).read_text())
    pictures = sorted((folder / "drawn").rglob("*.jpg"))
    bodies = [np.reshape(a["keypoints"], (17, 3)).astype(float) for a in listing["annotations"]]
    (folder / "images").mkdir()
    annotations, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for image in range(IMAGES):
        (folder / "images" / f"{image}.jpg").symlink_to(pictures[image % len(pictures)])
        for _ in range(2):
            body = bodies[int(rng.integers(len(bodies)))].copy()
            low, high = body[:, :2].min(0), body[:, :2].max(0)
            size = float(max(*(high - low), 20.0))
            about = {"image_id": image, "category_id": 1}
            entry = {"id": len(annotations) + 1, "bbox": [*low.tolist(), *(high - low + 1).tolist()], "iscrowd": 0}
            entry |= {
                "area": size**2 / 3,
                "num_keypoints": int((body[:, 2] > 0).sum()),
                "keypoints": body.ravel().tolist(),
            }
            annotations.append(about | entry)
            for n in range(EACH // 2):
                xy = body[COCO17.flip_index, :2] if rng.random() < 0.05 else body[:, :2]
                xy = xy + rng.normal(0, size * rng.choice([0.005, 0.03, 0.1]), (17, 2)) + (300 if n > 5 else 0)
                keypoints = np.column_stack([xy, np.ones(17)]).round(2).ravel().tolist()
                results.append(about | {"keypoints": keypoints, "score": float(rng.random())})
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(IMAGES)]
    content = {"images": images, "annotations": annotations, "categories": [to_category(COCO17)]}
    (folder / "people.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
