r"""Labels for photographs of people that have none, from two teachers that check each other: the default model's fifth
part learns from them.

    .venv/bin/python benchmarks/label_people.py people stanford40 --out data/street/stanford40.json
    posewright boxes ccp/photos --detector yolox-nano --box-threshold 0.5 --out ccp.json
    .venv/bin/python benchmarks/label_people.py people ccp.json --images ccp/photos --out data/street/ccp.json
    posewright boxes stanford40/JPEGImages --detector yolox-nano --box-threshold 0.5 --out found.json \
        --annotations data/street/stanford40.json
    .venv/bin/python benchmarks/label_people.py people found.json --beside data/street/stanford40.json \
        --out data/street/others.json
    .venv/bin/python benchmarks/label_people.py look data/street/ccp.json --images ccp/photos
    .venv/bin/python benchmarks/label_people.py ask data/street/ccp.json efficientpose --model EfficientPoseII.tflite
    python -m venv lite; lite/bin/pip install ai-edge-litert opencv-python-headless
    npm pack @mediapipe/pose; tar xzf mediapipe-pose-*.tgz
    lite/bin/python benchmarks/label_people.py ask data/street/ccp.json blazepose \
        --model package/pose_landmark_heavy.tflite
    .venv/bin/python benchmarks/label_people.py choose data/street/ccp.json

EfficientPoseII.tflite is in github.com/daniegr/EfficientPose, and package/ is what npm packed. These two networks are
the teachers (`teachers.py`), each of which looks twice; the default model says to BlazePose where the hips are. A point
is kept where both say the same and either is sure, or where EfficientPose is sure and BlazePose does not contradict.
The other people of Stanford 40's photographs, who have no box there, were labelled by EfficientPose alone.
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

from teachers import BlazePose, EfficientPose

SHOULDERS, HIPS = [8, 9], [3, 2]
"""Among LSP's points, each shoulder with the hip of the other side."""
STEADY, SAME, APART = 0.15, 0.2, 0.3
"""Distances in torsos: of two looks of one teacher; of two teachers who say the same; of two who contradict."""
LIKELY, SURE = 0.3, 0.4
"""Heights of EfficientPose's maps."""
LIKE_LSP = np.arange(14) != 13
"""Heads end 0.15 torsos higher for MPII than in LSPET's labels."""
FEWEST = 4
"""Points that a person needs to be kept."""

TEACHERS = {"blazepose": BlazePose, "efficientpose": EfficientPose}

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
        listing["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        if wide >= 40 and high >= 60:
            listing["annotations"].append(person(number, number, (x, y, wide, high)))
    return listing


def person(number: int, image: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """An annotation of a box (x, y, width, height), whose points are its middle."""
    from posewright.coco_format import AREA_OF_BOX

    x, y, width, height = box
    entry = {"id": number, "image_id": image, "category_id": 1, "bbox": list(box), "iscrowd": 0}
    middle = [x + width / 2, y + height / 2, 2]
    return entry | {"area": AREA_OF_BOX * width * height, "keypoints": middle * 14, "num_keypoints": 14}


def others_of(detections: list[dict[str, Any]], beside: dict[str, Any]) -> dict[str, Any]:
    """COCO annotations of the people that a detector found in the images of other annotations, but those annotated."""
    from posewright.geometry import box_iou

    known = {entry["image_id"]: entry["bbox"] for entry in beside["annotations"]}
    annotations = []
    for found in detections:
        box = found["bbox"]
        if found["score"] < 0.5 or box[2] < 40 or box[3] < 90 or found["image_id"] not in known:
            continue
        pair = np.array([box, known[found["image_id"]]])
        iou, areas = box_iou(pair[:1], pair[1:]).item(), pair[:, 2] * pair[:, 3]
        if iou <= 0.3 and iou / (1 + iou) * areas.sum() <= 0.7 * areas.min():  # by how much of the smaller they share
            annotations.append(person(100_001 + len(annotations), found["image_id"], box))
    used = {entry["image_id"] for entry in annotations}
    return beside | {"images": [i for i in beside["images"] if i["id"] in used], "annotations": annotations}


def people_in(source: Path, images: Path | None, beside: Path | None) -> dict[str, Any]:
    """Those of Stanford 40's folder, or of a detections file whose images are in a folder, or of other annotations."""
    if source.is_dir():
        return people_of(boxes_of_stanford40(source), source / "JPEGImages")
    detections = json.loads(source.read_text())
    if beside is not None:
        return others_of(detections, json.loads(beside.read_text()))
    assert images is not None, "say with --images where the detections' images are"
    return people_of(largest_boxes(detections, images), images)


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


opened = cache(lambda teacher, model: TEACHERS[teacher](model))
"""By each process once."""


def find_points(teacher: str, model: Path, job: tuple[str, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """What a teacher finds of one person."""
    return opened(teacher, model)(*job)


def ask(people: Path, teacher: str, model: Path, parts: int) -> None:
    """Write what a teacher finds beside the annotations."""
    own = np.load(people.with_suffix(".own.npz"))
    jobs = list(zip(own["paths"].tolist(), own["box"], own["xy"], own["confidence"]))
    start, found = time.monotonic(), []
    with get_context("spawn").Pool(parts) as pool:
        for person in pool.imap(partial(find_points, teacher, model), jobs, 8):
            found.append(person)
            if len(found) % 100 == 0:
                left = (time.monotonic() - start) / len(found) * (len(jobs) - len(found))
                print(f"\r{len(found)}/{len(jobs)} people, {left:.0f} s left", end="", flush=True)
    np.savez(people.with_suffix(f".{teacher}.npz"), found=np.array(found, np.float32))


def chosen(box: np.ndarray, blaze: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 14, 2] and which of them to keep [N, 14], from what the teachers found; see the top of this file."""
    blaze = np.concatenate([blaze[:, :, BlazePose.POINTS], np.full((len(box), 2, 2, 4), np.nan)], 2)
    found, height = other[..., :2].mean(1), other[..., 2].min(1)
    theirs, visible, present = blaze[..., :2].mean(1), blaze[..., 2].mean(1), blaze[..., 3].min(1)
    torsos = np.linalg.norm(found[:, SHOULDERS] - found[:, HIPS], axis=2).mean(1)
    unit = np.maximum(torsos, 0.15 * box[:, 2:].max(1))[:, None]
    steady, theirs_steady = (
        np.linalg.norm(looks[:, 0, :, :2] - looks[:, 1, :, :2], axis=2) / unit < STEADY for looks in (other, blaze)
    )
    between = np.linalg.norm(theirs - found, axis=2) / unit
    theirs_sure = theirs_steady & (present > 0.9) & (visible > 0.8)
    same = (between < SAME) & (theirs_sure | (height > LIKELY))
    alone = steady & (height > SURE) & ~(theirs_sure & (between > APART))
    xy = np.where(same[..., None], (found + theirs) / 2, found)
    edge = 0.03 * box[:, None, 2:]
    inside = ((xy > box[:, None, :2] - edge) & (xy < box[:, None, :2] + box[:, None, 2:] + edge)).all(2)
    return xy, (same | alone) & inside & LIKE_LSP


def choose(people: Path, measured: Path | None) -> None:
    """Write the annotations again with the points that are kept, and without the people who keep too few."""
    from posewright.files import read_json, write_json

    own, landmarks = np.load(people.with_suffix(".own.npz")), people.with_suffix(".blazepose.npz")
    blaze = np.load(landmarks)["found"] if landmarks.exists() else np.full((len(own["ids"]), 2, 39, 4), np.nan)
    xy, kept = chosen(own["box"], blaze, np.load(people.with_suffix(".efficientpose.npz"))["found"])
    listing = read_json(people, dict, "COCO annotations")
    entries = {entry["id"]: entry for entry in listing["annotations"]}
    left_out = read_json(measured, dict, "COCO annotations")["images"] if measured else []
    names = {entry["file_name"] for entry in left_out}
    images = {entry["id"]: entry for entry in listing["images"] if entry["file_name"] not in names}
    labelled = []
    for number, points, which in zip(own["ids"].tolist(), xy, kept):
        if which.sum() < FEWEST or entries[number]["image_id"] not in images:
            continue
        triples = np.where(which[:, None], np.column_stack([points, np.full(14, 2)]), 0)
        labels = {"keypoints": triples.round(1).ravel().tolist(), "num_keypoints": int(which.sum())}
        labelled.append(entries[number] | labels)
    used = {entry["image_id"] for entry in labelled}
    out = people.with_suffix(".labels.json")
    write_json(out, listing | {"images": [images[k] for k in sorted(used)], "annotations": labelled})
    count = sum(entry["num_keypoints"] for entry in labelled)
    print(f"{len(labelled)} of {len(own['ids'])} people, {count} points: {out}")


def main() -> None:
    """One of the four steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    people, looking, asking, choosing = (steps.add_parser(name) for name in ("people", "look", "ask", "choose"))
    people.add_argument("source", type=Path, help="Stanford 40's folder, or a detections file")
    people.add_argument("--images", type=Path)
    people.add_argument("--beside", type=Path, help="annotations of one person of each of the detections' images")
    people.add_argument("--out", type=Path, required=True)
    for step in (looking, asking, choosing):
        step.add_argument("people", type=Path)
        step.add_argument("--processes", type=int, default=2)
    looking.add_argument("--images", type=Path, required=True)
    looking.add_argument("--weights", default="default")
    choosing.add_argument("--measured", type=Path, help="annotations of images to leave out")
    asking.add_argument("teacher", choices=TEACHERS)
    asking.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    if options.step == "people":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(people_in(options.source, options.images, options.beside)))
    elif options.step == "look":
        look_at_all(options.people, options.images, options.weights, options.processes)
    elif options.step == "ask":
        ask(options.people, options.teacher, options.model, options.processes)
    else:
        choose(options.people, options.measured)


if __name__ == "__main__":
    main()
