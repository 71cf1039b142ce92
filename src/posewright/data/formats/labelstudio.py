"""Label Studio's JSON export: tasks with key points and rectangles in percent of the image.

A point belongs to the rectangle that its parentID names, else to the smallest one around it, else to the only person or
animal of the image. Of several annotations of a task the last one counts.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import read_json, short, write_json

SUFFIX = ".labelstudio.json"
"""What its files' names end in."""


class _Result(msgspec.Struct):
    type: str = ""
    id: str = ""
    value: dict[str, Any] = {}
    width: int | None = msgspec.field(name="original_width", default=None)
    height: int | None = msgspec.field(name="original_height", default=None)
    parent: str | None = msgspec.field(name="parentID", default=None)


class _Annotation(msgspec.Struct):
    result: list[_Result] = []


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation] = []


def is_format(path: Path) -> bool:
    """Whether it is a list of tasks with annotations."""
    start = _assemble.head(path) if path.suffix.lower() == ".json" else ""
    return start.startswith("[") and '"data"' in start and '"annotations"' in start


def read(path: Path) -> Annotated:
    """All tasks; see `Format.read`."""
    tasks: list[_Task] = read_json(path, list[_Task], "Label Studio's list of tasks with data and annotations")
    results = [task.annotations[-1].result if task.annotations else [] for task in tasks]
    labels = dict.fromkeys(_label(r) for found in results for r in found if r.type == "keypointlabels")
    skeleton = _assemble.skeleton_of_names(path, tuple(labels))
    other = Counter(f"results of type {short(r.type, 40)}" for found in results for r in found if r.type not in _KNOWN)
    images, instances, names = [], list[Instance](), list[str | None]()
    for n, (task, found) in enumerate(zip(tasks, results)):
        sized = next((r for r in found if r.width and r.height), _Result())
        images.append(coco_format.Image(n + 1, _file_name(path, n, task), sized.width, sized.height))
        boxed = {r.id: _label(r) for r in found if r.type == "rectanglelabels"}
        for box, instance in _instances(f"{path}: task {n}", n, found, skeleton.points).items():
            instances.append(instance)
            names.append(boxed.get(box))
    categories = _assemble.classes(skeleton, names)
    instances = [i._replace(category=categories[name].id) for i, name in zip(instances, names)]
    return _assemble.annotated(path, list(categories.values()), images, instances, dict(other))


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write the tasks, as Label Studio imports them; the images are named, not copied.

    Raises:
        ValueError: an image's size is not known.
    """
    skeleton, shown, lost = _assemble.pictures(found)
    names = {category.id: category.name for category in found.file.categories}
    tasks = []
    for picture in shown:
        width, height = picture.image.width, picture.image.height
        if not (width and height):
            raise ValueError(f"{found.path}: image {picture.image.id} has no width and height, which percents are of")
        shared = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "img"}
        results: list[dict[str, Any]] = []
        for n, instance in enumerate(picture.instances):
            x, y, w, h = _assemble.box_of(instance, picture.image)
            box = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
            value = box | {"rotation": 0, "rectanglelabels": [names[instance.category]]}
            results.append(shared | {"id": f"box{n}", "type": "rectanglelabels", "from_name": "box", "value": value})
            for k, (px, py, visibility) in enumerate(instance.keypoints.tolist()):
                if visibility > 0:
                    at = {"x": 100 * px / width, "y": 100 * py / height, "width": 0.5}
                    value = at | {"keypointlabels": [skeleton.points[k]]}
                    entry = {"id": f"point{n}-{k}", "type": "keypointlabels", "from_name": "point", "value": value}
                    results.append(shared | entry | {"parentID": f"box{n}"})
        tasks.append({"data": {"img": picture.image.file_name}, "annotations": [{"result": results}]})
    write_json(path, tasks)
    lost.update(_assemble.lost_fields(found, shown, "areas", "hidden", "points"))
    lost.update({"bones": len(skeleton.bones)} if skeleton.bones else {})
    return dict(lost)


_KNOWN = ("keypointlabels", "rectanglelabels")


def _label(result: _Result) -> str:
    labels = result.value.get(result.type)
    return str(labels[0]) if isinstance(labels, list) and labels else "object"


def _file_name(path: Path, n: int, task: _Task) -> str:
    """The image of a task: the first value of its data that names one, without the server's own address."""
    for value in task.data.values():
        if isinstance(value, str) and re.search(r"\.(jpe?g|png|bmp|webp|tiff?)$", value, re.IGNORECASE):
            name = unquote(value.rpartition("?d=")[2])
            return (
                name.rpartition("/")[2]
                if name.startswith(("/data/", "http://", "https://", "s3://", "gs://"))
                else name
            )
    raise ValueError(f"{path}: task {n}: none of its data ({short(', '.join(task.data), 80)}) names an image")


def _instances(where: str, image: int, results: list[_Result], points: tuple[str, ...]) -> dict[str, Instance]:
    """The people of a task, by the ids of their rectangles; "" is somebody without one."""
    boxes: dict[str, list[float]] = {}
    keypoints: dict[str, np.ndarray] = {}
    for result in results:
        if result.type == "rectanglelabels":
            boxes[result.id] = _numbers(where, result, "x", "y", "width", "height")
            keypoints[result.id] = np.zeros((len(points), 3))
    for result in results:
        if result.type == "keypointlabels":
            x, y = _numbers(where, result, "x", "y")
            around = [k for k, (bx, by, w, h) in boxes.items() if bx <= x <= bx + w and by <= y <= by + h]
            smallest = min(around, key=lambda k: boxes[k][2] * boxes[k][3], default="")
            group = result.parent if result.parent in boxes else smallest
            rows = keypoints.setdefault(group or "", np.zeros((len(points), 3)))
            row = points.index(_label(result))
            if rows[row, 2]:
                raise ValueError(
                    f"{where}: the label {short(points[row], 60)!r} comes twice; draw a rectangle around each"
                )
            rows[row] = x, y, 2
    return {group: Instance(image, rows, boxes.get(group)) for group, rows in keypoints.items()}


def _numbers(where: str, result: _Result, *names: str) -> list[float]:
    """Numbers of a result, percents made pixels."""
    if not (result.width and result.height and result.width > 0 and result.height > 0):
        raise ValueError(f"{where}: a result without original_width and original_height, which its percents are of")
    sizes = {"x": result.width, "width": result.width, "y": result.height, "height": result.height}
    return [_assemble.number(str(result.value.get(n)), f"{where}: {n}") * sizes[n] / 100 for n in names]
