"""MediaPipe's pose model on the people that the default model is measured on, in an environment of its own.

    .venv/bin/python benchmarks/mediapipe_pose.py cut --lspet val.json --coco person_keypoints.json --out crops
    python -m venv mp; mp/bin/pip install mediapipe==0.10.14
    mp/bin/python benchmarks/mediapipe_pose.py run --out crops
    .venv/bin/python benchmarks/default_model.py ... --mediapipe crops/found.json

Each person is cut out as a square around the annotated box, 1.25 times its longer side, since MediaPipe finds one
person in an image and looks for them itself. Somebody whom it does not find counts as missed in all points.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

PADDING = 1.25
POINTS = {
    "right_ankle": 28, "right_knee": 26, "right_hip": 24, "left_hip": 23, "left_knee": 25, "left_ankle": 27,
    "right_wrist": 16, "right_elbow": 14, "right_shoulder": 12, "left_shoulder": 11, "left_elbow": 13, "left_wrist": 15,
}  # fmt: skip
"""LSP's points that MediaPipe has, and their numbers among its 33."""


def cut(sets: dict[str, Path], out: Path) -> None:
    """Write each person's square, and crops.json: where it lies in the image, by set and number of the person."""
    from posewright import image
    from posewright.data import sources
    from posewright.skeletons import LSP14

    out.mkdir(parents=True, exist_ok=True)
    squares: dict[str, list[list[float]]] = {}
    for name, listing in sets.items():
        people = sources.read_all([listing], [""], LSP14)
        squares[name] = []
        for n in range(len(people)):
            x, y, width, height = people[n].box
            side = max(round(PADDING * max(width, height)), 1)
            left, top = round(x + (width - side) / 2), round(y + (height - side) / 2)
            pixels = image.read(people[n].path, upright=False)
            square = np.zeros((side, side, 3), np.uint8)
            part = pixels[max(top, 0) : top + side, max(left, 0) : left + side]
            square[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]] = part
            image.write(out / f"{name}-{n}.png", square)
            squares[name].append([left, top, side])
    (out / "crops.json").write_text(json.dumps(squares))


def run(out: Path, complexity: int) -> None:
    """Find each square's person; found.json has x, y (of the image) and visibility of the points [N, 12, 3] by set."""
    import cv2
    import mediapipe  # pyright: ignore[reportMissingImports]  # of the other environment

    found: dict[str, list[list[list[float]]]] = {}
    took = []
    with mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=complexity) as model:
        for name, squares in json.loads((out / "crops.json").read_text()).items():
            found[name] = []
            for n, (left, top, side) in enumerate(squares):
                stored = cv2.imread(str(out / f"{name}-{n}.png"))
                assert stored is not None, f"{out}: no {name}-{n}.png; run `cut` again"
                pixels = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
                start = time.perf_counter()
                points = model.process(pixels).pose_landmarks
                took.append(time.perf_counter() - start)
                landmarks = [points.landmark[k] for k in POINTS.values()] if points else []
                pose = [[left + p.x * side, top + p.y * side, p.visibility] for p in landmarks]
                found[name].append(pose or [[-1e6, -1e6, 0.0]] * len(POINTS))
    content = {"points": list(POINTS), "ms": 1000 * float(np.median(took)), "complexity": complexity, "found": found}
    (out / "found.json").write_text(json.dumps(content))
    missed = {name: sum(person[0][0] < -1e5 for person in people) for name, people in found.items()}
    print(
        f"nobody found in {missed} of { {name: len(people) for name, people in found.items()} }; {content['ms']:.1f} ms"
    )


def main() -> None:
    """One of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["cut", "run"])
    parser.add_argument("--lspet", type=Path)
    parser.add_argument("--coco", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the squares, crops.json and found.json")
    parser.add_argument("--complexity", type=int, default=1, help="of MediaPipe's models: 1 is its default, 'full'")
    options = parser.parse_args()
    if options.step == "cut":
        cut({"LSPET": options.lspet, "COCO": options.coco}, options.out)
    else:
        run(options.out, options.complexity)


if __name__ == "__main__":
    main()
