"""CVAT for images 1.1 (XML): skeletons, whose points are named by their labels.

A point's "occluded" stands for a hidden one and "outside" for one that is not labelled. Boxes of the same group as a
skeleton are its boxes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import short, write_bytes

SUFFIX = ".xml"
"""What its files' names end in."""


def is_format(path: Path) -> bool:
    """Whether it is XML of CVAT's annotations."""
    return path.suffix.lower() == ".xml" and "<annotations" in _assemble.head(path)


def read(path: Path) -> Annotated:
    """All images; other shapes than skeletons and their boxes are lost. See `Format.read`."""
    root = _root(path)
    points = [e.findtext("name") for e in root.iter("label") if e.findtext("type") == "points" and e.findtext("parent")]
    points += [p.get("label", "") for s in root.iter("skeleton") for p in s.iter("points")]
    skeleton = _assemble.skeleton_of_names(path, tuple(dict.fromkeys(p for p in points if p)))
    names = list(dict.fromkeys(s.get("label", "object") for s in root.iter("skeleton"))) or ["object"]
    categories = [_assemble.category(skeleton, n, name) for n, name in enumerate(names, 1)]
    images, instances = [], list[Instance]()
    lost: Counter[str] = Counter()
    for n, entry in enumerate(root.iter("image")):
        where = f"{path}: image {short(entry.get('name', str(n)), 60)}"
        if not entry.get("name"):
            raise ValueError(f"{where}: no name")
        width, height = (
            round(_assemble.number(entry.get(side, ""), f"{where}: {side}")) for side in ("width", "height")
        )
        images.append(coco_format.Image(n + 1, entry.get("name", ""), max(width, 0), max(height, 0)))
        boxes = {b.get("group_id"): b for b in entry.iter("box") if b.get("group_id")}
        for shape in entry:
            if shape.tag == "skeleton":
                box = boxes.pop(shape.get("group_id"), None)
                number = names.index(shape.get("label", "object")) + 1
                instances.append(_instance(where, shape, box, skeleton.points, n, number))
            elif shape.tag != "box":
                lost[f"shapes of type {short(shape.tag, 40)}"] += 1
        lost["boxes without a skeleton"] += len(boxes) + sum(not b.get("group_id") for b in entry.iter("box"))
    return _assemble.annotated(path, categories, images, instances, dict(+lost))


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write the annotations, as CVAT imports them; the images are named, not copied."""
    skeleton, shown, lost = _assemble.pictures(found)
    names = {category.id: category.name for category in found.file.categories}
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "job"), "labels")
    for name in names.values():
        for text, kind, parent in ((name, "skeleton", ""), *((p, "points", name) for p in skeleton.points)):
            label = ET.SubElement(labels, "label")
            ET.SubElement(label, "name").text = text
            ET.SubElement(label, "type").text = kind
            ET.SubElement(label, "parent").text = parent
    for n, picture in enumerate(shown):
        size = {"width": str(picture.image.width or 0), "height": str(picture.image.height or 0)}
        image = ET.SubElement(root, "image", {"id": str(n), "name": picture.image.file_name} | size)
        for group, instance in enumerate(picture.instances, 1):
            named = {"label": names[instance.category], "group_id": str(group), "source": "manual", "z_order": "0"}
            shape = ET.SubElement(image, "skeleton", named)
            for point, (x, y, visibility) in zip(skeleton.points, instance.keypoints.tolist()):
                state = {"outside": str(int(visibility == 0)), "occluded": str(int(visibility == 1))}
                at = {"label": point, "points": f"{x!r},{y!r}", "source": "manual"}
                ET.SubElement(shape, "points", at | state)
            if instance.box:
                x, y, w, h = instance.box
                corners = {"xtl": repr(x), "ytl": repr(y), "xbr": repr(x + w), "ybr": repr(y + h)}
                ET.SubElement(image, "box", {"occluded": "0"} | named | corners)
    ET.indent(root)
    write_bytes(path, ET.tostring(root, "utf-8", xml_declaration=True))
    lost.update(_assemble.lost_fields(found, shown, "areas"))
    lost.update({"bones": len(skeleton.bones)} if skeleton.bones else {})
    return dict(lost)


def _root(path: Path) -> ET.Element:
    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{path}: expected CVAT's annotations, which declare no entities")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError) as error:
        raise ValueError(f"{path}: expected CVAT's annotations: {short(str(error))}") from None
    if root.tag != "annotations":
        raise ValueError(f"{path}: expected CVAT's annotations, got <{short(root.tag, 60)}>")
    return root


def _instance(
    where: str, shape: ET.Element, box: ET.Element | None, points: tuple[str, ...], image: int, category: int
) -> Instance:
    keypoints = np.zeros((len(points), 3))
    for point in shape.iter("points"):
        name = point.get("label", "")
        if point.get("outside") == "1" or not name:
            continue
        cells = (point.get("points") or "").split(",")
        if len(cells) != 2:
            raise ValueError(
                f"{where}: {short(name, 60)}: expected one x,y, got {short(point.get('points') or '', 60)!r}"
            )
        xy = [_assemble.number(cell, f"{where}: {short(name, 60)}") for cell in cells]
        keypoints[points.index(name)] = (*xy, 1 if point.get("occluded") == "1" else 2)
    if box is None:
        return Instance(image, keypoints, None, category)
    x, y, right, below = (_assemble.number(box.get(k, ""), f"{where}: box {k}") for k in ("xtl", "ytl", "xbr", "ybr"))
    return Instance(image, keypoints, [x, y, right - x, below - y], category)
