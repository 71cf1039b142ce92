"""What ruins training, found in annotations beforehand: entries, boxes, points, people, images and splits.

Each finding says where it is and how to mend it; what can be mended without a person's decision is, in a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import coco_format, draw, image
from posewright.coco_format import AREA_OF_BOX
from posewright.data.formats import Annotated
from posewright.data.quality import _entries, _images
from posewright.data.quality._findings import KINDS, Finding, Kind
from posewright.files import read_json, write_json
from posewright.progress import Tick

__all__ = ["KINDS", "Checked", "Finding", "Kind", "check", "mend", "sheet"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found in one set.

    Attributes:
        found: the annotations.
        findings: all problems, by kind in the order of `KINDS`.
        paths: the file of each image, None where it was not found; empty where images were not looked at.
    """

    found: Annotated
    findings: tuple[Finding, ...]
    paths: tuple[str | None, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(KINDS[f.kind].level == "error" for f in self.findings)

    @property
    def left(self) -> int:
        """How many errors are left to a person, for no rule can mend them."""
        return sum(f.mend == {} and KINDS[f.kind].level == "error" for f in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each kind."""
        return dict(Counter(f.kind for f in self.findings))

    def lines(self, examples: int = 3) -> list[str]:
        """A line per kind: how many, what, where, and how to mend it."""
        file = self.found.file
        lines = [f"{self.found.path}: {len(file.annotations)} annotations of {len(file.images)} images"]
        for name, count in self.counts.items():
            these = [f for f in self.findings if f.kind == name]
            shown = "; ".join(f"{f.where}: {f.detail}" for f in these[:examples])
            more = f"; and {count - examples} more" if count > examples else ""
            lines += [f"  {KINDS[name].level}: {count} {KINDS[name].what}: {shown}{more}", f"    {KINDS[name].advice}"]
        return lines if self.findings else [f"{lines[0]}: nothing found"]

    def worst(self, most: int = 24) -> list[Finding]:
        """The findings to look at first, of images that are there: one of each kind, then another of each, ...

        Kinds of which a drawing shows nothing, such as a missing area, come after all others.
        """
        kinds = [[f for f in self.findings if f.kind == name and f.image >= 0] for name in KINDS]
        turns = [f for turn in range(most) for these in kinds for f in these[turn : turn + 1]]
        turns.sort(key=lambda f: not KINDS[f.kind].drawable)
        return [f for f in turns if self.paths and self.paths[f.image] and f.kind != "unreadable image"][:most]


def check(
    sets: Sequence[Annotated],
    images: Sequence[Path | None] = (),
    *,
    read_images: bool = True,
    allow_outside: bool = False,
    progress: Tick | None = None,
) -> list[Checked]:
    """Check annotations, each set by itself and, where there are several, their images against each other's.

    Args:
        sets: annotations of one data set or split each.
        images: for each the folder of its images; by default looked for around the file.
        read_images: read every image, for sizes, damage and leaks; without it only annotations are checked.
        allow_outside: take images whose names lead out of their folder.
        progress: called with the number of images read, and of all.

    Raises:
        ValueError: an image's name leads outside.
    """
    findings, paths = [_entries.findings(found) for found in sets], [() for _ in sets]
    if read_images:
        folders = list(images) or [None] * len(sets)
        pictures, paths = _images.findings(sets, folders, allow_outside=allow_outside, progress=progress)
        findings = [[*entries, *more] for entries, more in zip(findings, pictures)]
    order = list(KINDS)
    return [
        Checked(found, tuple(sorted(these, key=lambda f: order.index(f.kind))), places)
        for found, these, places in zip(sets, findings, paths)
    ]


def mend(checked: Checked, path: Path) -> int:
    """Write a mended copy as COCO's JSON, in which all other fields are kept.

    Returns:
        How many entries were changed or dropped.

    Raises:
        OSError: the file cannot be written.
    """
    file, source = checked.found.file, checked.found.path
    content: Any = read_json(source, Any, "COCO annotations") if source.suffix.lower() == ".json" else None
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        content = msgspec.json.decode(msgspec.json.encode(file))
    changed: dict[tuple[str, int], dict[str, Any]] = {}
    dropped: dict[str, set[int]] = {"images": set(), "annotations": set()}
    for f in checked.findings:
        name, place = ("annotations", f.annotation) if f.annotation >= 0 else ("images", f.image)
        if f.mend is None:
            dropped[name].add(place)
        elif f.mend:
            changed.setdefault((name, place), {}).update(f.mend)
    for values in changed.values():
        if {"area", "bbox"} <= values.keys():  # the area was made of the box as it was
            values["area"] = AREA_OF_BOX * values["bbox"][2] * values["bbox"][3]
    kept = {image.id for n, image in enumerate(file.images) if n not in dropped["images"]}
    gone = {file.images[n].id for n in dropped["images"]} - kept
    dropped["annotations"] |= {n for n, a in enumerate(file.annotations) if a.image_id in gone}
    for (name, place), values in changed.items():
        content[name][place] |= values
    for name, places in dropped.items():
        content[name] = [entry for n, entry in enumerate(content[name]) if n not in places]
    write_json(path, content)
    return len({key for key in changed if key[1] not in dropped[key[0]]}) + sum(map(len, dropped.values()))


def sheet(checked: Sequence[Checked], most: int = 24) -> np.ndarray | None:
    """A contact sheet [H, W, 3] of the findings to look at first, each with its image; None where no image has any."""
    cases = [(one, f) for one in checked for f in one.worst(most)][:most]
    pictures = [_drawn(one, f) for one, f in cases]
    captions = [f"{f.kind}: {f.where}"[:60] for _, f in cases]
    return draw.sheet(pictures, min(6, len(pictures)), (240, 320), captions) if pictures else None


def _drawn(checked: Checked, finding: Finding) -> np.ndarray:
    """The image of a finding, with the annotation that it is of."""
    pixels = image.read(checked.paths[finding.image] or "", upright=False)
    file = checked.found.file
    try:
        skeleton, _ = coco_format.skeleton_of(checked.found.path, file, None, None)
        one = coco_format.packed(checked.found.path, file, [finding.annotation], skeleton.num_keypoints)
    except (ValueError, IndexError):
        return pixels
    if finding.annotation < 0 or not (one.box[:, 2:] > 0).all():
        return pixels
    xy, visibility = one.keypoints[..., :2].astype(np.float64), np.clip(one.keypoints[..., 2], 0, 2).astype(np.uint8)
    return draw.draw_truth(pixels, xy, visibility, one.box, skeleton)
