"""What can be wrong with a data set: the kinds, and one finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: how bad it is, what it is, how to mend it, and whether a drawing of it shows what is wrong."""

    level: Level
    what: str
    advice: str
    drawable: bool = True


KINDS = {
    "empty": Kind("error", "set without anything to train on", "label some people; export all of them", drawable=False),
    "no points": Kind(
        "warning", "set that does not name its points", "say what they are to train (--skeleton)", drawable=False
    ),
    "id": Kind(
        "error",
        "ids that are missing, used twice or of nothing listed",
        "--fix numbers them, or drops what is of nothing; two images of one id are left to you",
    ),
    "keypoints": Kind("error", "keypoints that are not x, y, visibility 0, 1 or 2", "correct them; --fix drops"),
    "no box": Kind("error", "without a box, or with one that has no extent", "--fix takes that of the points"),
    "xyxy box": Kind("error", "boxes that are x1, y1, x2, y2", "write x, y, width, height; --fix does"),
    "no area": Kind(
        "error", "areas not above 0, which training leaves out", "--fix takes 0.53 of the box", drawable=False
    ),
    "missing area": Kind(
        "warning", "without an area", "give that of the segment; --fix takes 0.53 of the box", drawable=False
    ),
    "count": Kind("warning", "num_keypoints that is not the number of labelled points", "--fix counts", drawable=False),
    "outside image": Kind("warning", "labelled points outside the image", "correct them; --fix marks them unlabelled"),
    "outside box": Kind("warning", "labelled points far outside the box", "correct either; --fix grows the box"),
    "swapped": Kind("warning", "left and right that look swapped, by the bones' lengths", "look; --fix swaps them"),
    "duplicate": Kind("error", "annotated twice", "remove one; --fix removes the later one"),
    "image size": Kind("error", "image sizes that are not those of the files", "--fix takes the files'"),
    "no image size": Kind(
        "warning", "images without a size, whose edges cut no box", "--fix takes the files'", drawable=False
    ),
    "missing image": Kind("error", "images not found", "name their folder (--images); --fix drops them"),
    "unreadable image": Kind("error", "images that cannot be read", "replace them; --fix drops them"),
    "leak": Kind("error", "images that are in another split too", "remove them from one of the two"),
    "mirror": Kind("warning", "skeletons without mirror pairs, so that nothing is flipped", "name them (--skeleton)"),
}
"""All kinds of problems by name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of an entry.

    Attributes:
        kind: one of `KINDS`.
        where: the entry, in words.
        detail: what is wrong with it.
        image: its image's place in the file, or -1.
        annotation: the annotation's place in the file, or -1.
        mend: fields of the entry as they should be; None drops it, and an empty one leaves it to a person.
    """

    kind: str
    where: str
    detail: str
    image: int = -1
    annotation: int = -1
    mend: dict[str, Any] | None = field(default_factory=dict)
