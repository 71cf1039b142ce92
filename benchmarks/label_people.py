"""Labels for photographs of people that have none, from two teachers that check each other: the default model's fourth
part learns from them.

    .venv/bin/python benchmarks/label_people.py people stanford40 --out data/street/stanford40.json
    posewright boxes ccp/photos --detector yolox-nano --box-threshold 0.5 --out ccp.json
    .venv/bin/python benchmarks/label_people.py people ccp.json --images ccp/photos --out data/street/ccp.json
    .venv/bin/python benchmarks/label_people.py look data/street/ccp.json --images ccp/photos
    python -m venv lite; lite/bin/pip install ai-edge-litert opencv-python-headless
    npm pack @mediapipe/pose; tar xzf mediapipe-pose-*.tgz
    lite/bin/python benchmarks/label_people.py landmarks data/street/ccp.json --model package/pose_landmark_heavy.tflite
    .venv/bin/python benchmarks/label_people.py choose data/street/ccp.json

One teacher is the default model, from several views of each box. The other is BlazePose's heavy network (Bazarevsky et
al., "BlazePose", arXiv 2006.10204; MediaPipe, Apache-2.0), which looks twice, the second time at the mirror image of
where it found the person. A point is kept where it is visible, steady from one look to the other and in the box, or
where both teachers say the same; a hip also needs its knee, or both teachers, since it is guessed where people are cut
off at the waist. Neck and top of the head are left out, which MediaPipe does not have.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np

POINTS = (28, 26, 24, 23, 25, 27, 16, 14, 12, 11, 13, 15)
"""LSP's points but neck and top of the head, by their numbers among MediaPipe's."""
SHOULDERS, HIPS = [8, 9], [2, 3]
STEADY, SAME, APART = 0.15, 0.2, 0.3
"""Distances in torsos: of two looks of one teacher; of two teachers who say the same; of two who contradict."""
FEWEST = 4
"""Points that a person needs to be kept."""


Box: TypeAlias = tuple[str, float, float, float, float]
"""An image's name, and a person's left, top, right and bottom in it."""


def boxes_of_stanford40(folder: Path) -> list[Box]:
    """The annotated boxes of Stanford 40 Actions, whose pixels count from 1."""
    boxes = []
    for path in sorted((folder / "XMLAnnotations").glob("*.xml")):
        said = ElementTree.parse(path).getroot()
        sides = ("xmin", "ymin", "xmax", "ymax")
        x, y, right, bottom = (float(said.findtext(f"object/bndbox/{side}", "")) for side in sides)
        boxes.append((said.findtext("filename", ""), x - 1, y - 1, right, bottom))
    return boxes


def largest_boxes(detections: list[dict[str, Any]], images: Path) -> list[Box]:
    """The largest box of each image, weighted by its score; an image's name is its number."""
    best: dict[int, dict[str, Any]] = {}
    for found in detections:
        weight = found["score"] * found["bbox"][2] * found["bbox"][3]
        if weight > best.get(found["image_id"], {"weight": 0})["weight"]:
            best[found["image_id"]] = found | {"weight": weight}
    boxes = []
    for path in sorted(images.iterdir()):
        if found := best.get(int(path.stem)):
            x, y, width, height = found["bbox"]
            boxes.append((path.name, x, y, x + width, y + height))
    return boxes


def people_of(boxes: list[Box], images: Path) -> dict[str, Any]:
    """COCO annotations of boxes. The points are placeholders, as people without any would be left out."""
    from posewright import image
    from posewright.skeletons import LSP14, to_category

    listing: dict[str, Any] = {"images": [], "annotations": [], "categories": [to_category(LSP14)]}
    for number, (name, left, top, right, bottom) in enumerate(boxes, 1):
        height, width = image.read(images / name, upright=False).shape[:2]
        x, y = max(left, 0), max(top, 0)
        wide, high = min(right, width) - x, min(bottom, height) - y
        if wide < 40 or high < 60:
            continue
        listing["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        entry = {"id": number, "image_id": number, "category_id": 1, "bbox": [x, y, wide, high], "iscrowd": 0}
        middle = [x + wide / 2, y + high / 2, 2]
        listing["annotations"].append(
            entry | {"area": 0.53 * wide * high, "keypoints": middle * 14, "num_keypoints": 14}
        )
    return listing


def people_in(source: Path, images: Path | None) -> dict[str, Any]:
    """Those of Stanford 40's folder, or of a detections file whose images are in a folder."""
    if source.is_dir():
        return people_of(boxes_of_stanford40(source), source / "JPEGImages")
    assert images is not None, "say with --images where the detections' images are"
    return people_of(largest_boxes(json.loads(source.read_text()), images), images)


def look_at_all(people: Path, images: Path, weights: str, parts: int) -> None:
    """Write what our weights find beside the annotations."""
    import clean_labels
    from posewright.train.config import PseudoLabels

    views = PseudoLabels(views=7, scale=0.15, rotation=20, mirrored=True, recoloured=0, temporal=False)
    at = clean_labels.Look(people, str(images), weights, "default", views, parts)
    them, xy, confidence = clean_labels.look_at_all(at)
    paths = np.array([str(them[n].path) for n in range(len(them))])
    np.savez(
        people.with_suffix(".own.npz"), xy=xy, confidence=confidence, ids=them.annotation_id, box=them.box, paths=paths
    )


class BlazePose:
    """MediaPipe's landmark network on crops that it chooses as MediaPipe does: upright, around the middle of the hips.

    It runs in an environment that Posewright is not installed in.
    """

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

        self.network = Interpreter(str(model), num_threads=1)
        self.network.allocate_tensors()
        self.input = self.network.get_input_details()[0]["index"]
        self.output = {tuple(d["shape"]): d["index"] for d in self.network.get_output_details()}
        pairs = [(1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((k, k + 1) for k in range(11, 33, 2))]
        self.mirrored = np.arange(39)
        for a, b in pairs:
            self.mirrored[[a, b]] = b, a

    def __call__(self, pixels: np.ndarray, place: tuple[float, float, float, float], *, mirror: bool) -> np.ndarray:
        """Landmarks [39, 4] in a square (x, y of its middle, side, turn in radians): x, y, visibility, presence."""
        import cv2

        x, y, side, turn = place
        along, across = np.cos(turn), np.sin(turn)
        turned = np.array([[along, across], [-across, along]]) * 256 / side
        if mirror:
            turned[0] *= -1
        matrix = np.column_stack([turned, 128 - turned @ (x, y)])
        crop = cv2.warpAffine(pixels, matrix, (256, 256), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        self.network.set_tensor(self.input, (crop[None, :, :, ::-1] / np.float32(255)).astype(np.float32))
        self.network.invoke()
        points = self.network.get_tensor(self.output[1, 195]).reshape(39, 5)
        back = cv2.invertAffineTransform(matrix)
        xy = points[:, :2] @ back[:, :2].T + back[:, 2]
        present = float(self.network.get_tensor(self.output[1, 1])[0, 0])
        found = np.column_stack([xy, 1 / (1 + np.exp(-points[:, 3])), np.full(39, present)])
        return found[self.mirrored] if mirror else found

    def person(self, path: str, box: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Two looks [2, 39, 4]: around the other teacher's hips; mirrored, around those that it found."""
        import cv2

        pixels = cv2.imread(path)
        assert pixels is not None, f"{path}: no image"
        middle, up, reach = box[:2] + box[2:] / 2, np.array([0.0, -1.0]), 1.05 * max(box[2:]) / 2
        if confidence[HIPS + SHOULDERS].min() > 0.25:
            middle = xy[HIPS].mean(0)
            up = xy[SHOULDERS].mean(0) - middle
            known = xy[confidence > 0.25] - middle
            reach = max(1.12 * np.hypot(*known.T).max(), 0.5 * max(box[2:]))
        place = (*middle, 2 * reach * 1.25, np.arctan2(up[0], -up[1]))
        first = self(pixels, place, mirror=False)
        middle, up = first[33, :2], first[34, :2] - first[33, :2]  # two more landmarks: the hips' middle, the circle
        side = 2.5 * np.hypot(*up)
        if first[0, 3] > 0.5 and place[2] / 2 < side < place[2] * 2:
            place = (*middle, side, np.arctan2(up[0], -up[1]))
        return np.array([first, self(pixels, place, mirror=True)])


opened = cache(BlazePose)
"""By each process once."""


def find_landmarks(model: Path, job: tuple[str, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """One person's; see `BlazePose.person`."""
    return opened(model).person(*job)


def landmarks_of_all(people: Path, model: Path, parts: int) -> None:
    """Write what BlazePose finds beside the annotations."""
    own = np.load(people.with_suffix(".own.npz"))
    jobs = list(zip(own["paths"].tolist(), own["box"], own["xy"], own["confidence"]))
    start, found = time.monotonic(), []
    with get_context("spawn").Pool(parts) as pool:
        for person in pool.imap(partial(find_landmarks, model), jobs, 8):
            found.append(person)
            if len(found) % 100 == 0:
                left = (time.monotonic() - start) / len(found) * (len(jobs) - len(found))
                print(f"\r{len(found)}/{len(jobs)} people, {left:.0f} s left", end="", flush=True)
    np.savez(people.with_suffix(".landmarks.npz"), found=np.array(found, np.float32))


def chosen(own: Any, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 12, 2] and which of them to keep [N, 12], from what the teachers found; see the top of this file."""
    box, theirs, sure = own["box"], own["xy"][:, :12], own["confidence"][:, :12]
    both = looks[:, :, POINTS]
    xy, visible, present = both[..., :2].mean(1), both[..., 2].mean(1), looks[:, :, 0, 3].min(1)[:, None]
    torso = (np.linalg.norm(xy[:, 8] - xy[:, 3], axis=1) + np.linalg.norm(xy[:, 9] - xy[:, 2], axis=1)) / 2
    unit = np.maximum(torso, 0.15 * box[:, 2:].max(1))[:, None]
    edge = 0.03 * box[:, None, 2:]
    inside = ((xy > box[:, None, :2] - edge) & (xy < box[:, None, :2] + box[:, None, 2:] + edge)).all(2)
    moved = np.linalg.norm(both[:, 0, :, :2] - both[:, 1, :, :2], axis=2) / unit
    between = np.linalg.norm(theirs - xy, axis=2) / unit
    good = (present > 0.9) & (moved < STEADY) & inside & (visible > 0.8)
    for hip, knee in ((2, 1), (3, 4)):
        good[:, hip] &= good[:, knee] | (between[:, hip] < SAME)
    same = (between < SAME) & inside & (sure > 0.25) & (present > 0.5)
    return xy, (good | same) & ~((between > APART) & (sure > 0.6))


def choose(people: Path) -> None:
    """Write the annotations again with the points that are kept, and without the people who keep too few."""
    from posewright.files import read_json, write_json

    own = np.load(people.with_suffix(".own.npz"))
    xy, kept = chosen(own, np.load(people.with_suffix(".landmarks.npz"))["found"])
    enough = kept.sum(1) >= FEWEST
    listing = read_json(people, dict, "COCO annotations")
    entries = {entry["id"]: entry for entry in listing["annotations"]}
    labelled = []
    for number, points, which in zip(own["ids"][enough].tolist(), xy[enough], kept[enough]):
        triples = np.zeros((14, 3))
        triples[:12] = np.where(which[:, None], np.column_stack([points, np.full(12, 2)]), 0)
        labels = {"keypoints": triples.round(1).ravel().tolist(), "num_keypoints": int(which.sum())}
        labelled.append(entries[number] | labels)
    kept_images = {entry["image_id"] for entry in labelled}
    images = [entry for entry in listing["images"] if entry["id"] in kept_images]
    out = people.with_suffix(".labels.json")
    write_json(out, listing | {"images": images, "annotations": labelled})
    print(f"{enough.sum()} of {len(enough)} people, {kept[enough].sum()} points: {out}")


def main() -> None:
    """One of the four steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    names = ("people", "look", "landmarks", "choose")
    people, looking, landmarks, choosing = (steps.add_parser(name) for name in names)
    people.add_argument("source", type=Path, help="Stanford 40's folder, or a detections file")
    people.add_argument("--images", type=Path)
    people.add_argument("--out", type=Path, required=True)
    for step in (looking, landmarks, choosing):
        step.add_argument("people", type=Path)
        step.add_argument("--processes", type=int, default=2)
    looking.add_argument("--images", type=Path, required=True)
    looking.add_argument("--weights", default="default")
    landmarks.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    if options.step == "people":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(people_in(options.source, options.images)))
    elif options.step == "look":
        look_at_all(options.people, options.images, options.weights, options.processes)
    elif options.step == "landmarks":
        landmarks_of_all(options.people, options.model, options.processes)
    else:
        choose(options.people)


if __name__ == "__main__":
    main()
