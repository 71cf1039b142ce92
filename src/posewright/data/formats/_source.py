"""What a COCO file holds beside what the schema lists, such as segmentations, licences and URLs.

The file is read once more where they are written or counted, so that training never holds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from posewright import coco_format
from posewright.data import formats
from posewright.files import read_json

_IDS = {"images": ("id",), "annotations": ("id", "image_id"), "categories": ("id",)}
_KINDS = {"images": coco_format.Image, "annotations": coco_format.Annotation, "categories": coco_format.Category}


class Source:
    """The other fields of the COCO file that annotations were read from; none where they are of another format.

    Attributes:
        fields: those of the file itself.
    """

    def __init__(self, found: formats.Annotated) -> None:
        self.fields: dict[str, Any] = {}
        self._entries: dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]] = {name: {} for name in _IDS}
        if not found.path.is_file() or formats.recognised(found.path) != "coco":
            return
        self.fields = read_json(found.path, dict[str, msgspec.Raw], "a COCO annotation file", dict[str, Any])
        whole = coco_format.read_annotations(found.path)
        for name, entries in self._entries.items():
            rows = self.fields.pop(name, [])
            if isinstance(rows, msgspec.Raw):  # what is not looked into stays text
                rows = msgspec.json.decode(rows, type=list[dict[str, msgspec.Raw]])
            known = {field.encode_name for field in msgspec.structs.fields(_KINDS[name])}
            for entry, row in zip(getattr(whole, name), rows):
                others = {field: value for field, value in row.items() if field not in known}
                entries.setdefault(_ids(name, entry), []).append(others)

    def of(self, name: str, rows: Iterable[Any]) -> list[dict[str, Any]]:
        """The other fields of each of these images, annotations or categories, in the order of the file."""
        left = {ids: iter(others) for ids, others in self._entries[name].items()}
        return [next(left.get(_ids(name, row), iter(())), {}) for row in rows]

    def segmentations(self, rows: Iterable[Any]) -> int:
        """How many of these annotations have a segmentation."""
        held = (others.get("segmentation") for others in self.of("annotations", rows))
        return sum(bytes(s) not in (b"[]", b"{}", b"null") if isinstance(s, msgspec.Raw) else bool(s) for s in held)


def _ids(name: str, entry: Any) -> tuple[Any, ...]:
    """What tells an entry: entries that share an id are told by their image, else by their order."""
    return tuple(getattr(entry, field) for field in _IDS[name])
