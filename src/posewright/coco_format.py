"""COCO-format JSON: read fast, checked, and every complaint names file and entry."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import skeletons
from posewright.types import Skeleton

_CHUNK = 4096


class Image(msgspec.Struct, gc=False):
    """An entry of `images`."""

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None
    crowding: float | None = msgspec.field(name="crowdIndex", default=None)


class Annotation(msgspec.Struct, gc=False):
    """An entry of `annotations`; the keypoints stay text until `keypoints` packs them, the rest is not kept."""

    id: int
    image_id: int
    category_id: int = 1
    bbox: list[float] | None = None
    keypoints: msgspec.Raw = msgspec.Raw()
    area: float | None = None
    iscrowd: bool | int = 0


class Category(msgspec.Struct):
    """An entry of `categories`."""

    id: int
    name: str = "object"
    keypoints: list[str] | None = None
    skeleton: list[list[int]] | None = None
    sigmas: list[float] | None = None


class File(msgspec.Struct):
    """A COCO-format annotation file."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category] = []


# Numbers in quotes and whole numbers written 3.0 are taken: exports from tables write both.
_FILE = msgspec.json.Decoder(File, strict=False)
_ROWS = msgspec.json.Decoder(list[list[float]], strict=False)


def read(path: Path) -> File:
    """A COCO-format annotation file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not JSON, not COCO, or uses an id twice.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such annotation file") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: expected an annotation file, got a folder") from None
    data = data.removeprefix(b"\xef\xbb\xbf")  # Windows' byte-order mark
    try:
        file = _FILE.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {_complaint(data, error)}") from None
    _check_ids(path, file)
    return file


def where(path: Path, n: int, a: Annotation) -> str:
    """Names an annotation in messages."""
    return f"{path}: annotations[{n}] (id {a.id}, image {a.image_id})"


def skeleton_of(
    path: Path, file: File, skeleton: Skeleton | None, names: Sequence[str] | None
) -> tuple[Skeleton, set[int] | None]:
    """The skeleton of the categories to take, and their ids (None: all).

    Raises:
        LookupError: a named category is not there.
        ValueError: no category has keypoints, or the categories differ in theirs.
    """
    if names is not None and (strangers := set(names) - {c.name for c in file.categories}):
        known = ", ".join(sorted(c.name for c in file.categories))
        raise LookupError(f"{path}: no category {', '.join(sorted(strangers))}; it has: {known or 'none'}")
    named = [c for c in file.categories if names is None or c.name in names]
    posed = [c for c in named if c.keypoints]
    if skeleton is not None:
        return skeleton, {c.id for c in posed or named} or None
    if not posed:
        raise ValueError(
            f"{path}: none of its {len(named)} categories lists keypoints, so it is no keypoint file (COCO's are named "
            "person_keypoints_*.json); if it is, say what the points are (skeleton=...)"
        )
    other = next((c for c in posed if c.keypoints != posed[0].keypoints), None)
    if other is not None:
        raise ValueError(
            f"{path}: categories {posed[0].name!r} and {other.name!r} list different keypoints; choose one "
            "(categories=...)"
        )
    entry = {k: v for k, v in msgspec.to_builtins(posed[0]).items() if v is not None}
    return skeletons.from_category(entry, f"{path}: category {posed[0].name!r}"), {c.id for c in posed}


def keypoints(path: Path, file: File, rows: Sequence[int] | np.ndarray, num_keypoints: int) -> np.ndarray:
    """[rows, K, 3] float64: x, y, visibility of the annotations of these numbers; zeros where one has no keypoints.

    Raises:
        ValueError: a list of another length, a coordinate that is not finite, a visibility that is not 0, 1 or 2.
    """
    out = np.zeros((len(rows), num_keypoints * 3))
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        lists = _lists(path, file, chunk)
        full = [k for k, numbers in enumerate(lists) if numbers]
        for k in full:
            if len(lists[k]) != num_keypoints * 3:
                raise ValueError(
                    f"{where(path, chunk[k], file.annotations[chunk[k]])}: expected {num_keypoints} keypoints as "
                    f"{num_keypoints * 3} numbers x, y, visibility, got {len(lists[k])} numbers"
                )
        if full:
            out[start + np.array(full)] = [lists[k] for k in full]
    triples = out.reshape(len(rows), num_keypoints, 3)
    _check_visibility(path, file, rows, triples)
    return triples


def _lists(path: Path, file: File, rows: Sequence[int] | np.ndarray) -> list[list[float]]:
    texts = [bytes(file.annotations[n].keypoints) for n in rows]
    try:
        return _ROWS.decode(b"[" + b",".join(b"[]" if text in (b"", b"null") else text for text in texts) + b"]")
    except msgspec.ValidationError:
        for n, text in zip(rows, texts):
            try:
                msgspec.json.decode(text or b"[]", type=list[float] | None, strict=False)
            except msgspec.ValidationError as error:
                where_ = where(path, n, file.annotations[n])
                raise ValueError(f"{where_}: keypoints must be a list of finite numbers: {error}") from None
        raise


def _check_visibility(path: Path, file: File, rows: Sequence[int] | np.ndarray, triples: np.ndarray) -> None:
    wrong = ~np.isin(triples[..., 2], (0, 1, 2)).all(1)
    if wrong.any():
        k = int(np.argmax(wrong))
        value = next(v for v in triples[k, :, 2] if v not in (0, 1, 2))
        raise ValueError(
            f"{where(path, rows[k], file.annotations[rows[k]])}: visibility must be 0 (not labelled), 1 (labelled but "
            f"hidden) or 2 (visible), got {value:g}; keypoints are x, y, visibility, one point after the other"
        )


def _check_ids(path: Path, file: File) -> None:
    for kind, entries in (("images", file.images), ("annotations", file.annotations)):
        ids = [entry.id for entry in entries]
        if len(set(ids)) < len(ids):
            number, times = Counter(ids).most_common(1)[0]
            raise ValueError(f"{path}: {times} entries of {kind} have the id {number}; ids must differ")
    images = {image.id for image in file.images}
    for n, a in enumerate(file.annotations):
        if a.image_id not in images:
            raise ValueError(f"{where(path, n, a)}: no entry of images has the id {a.image_id}")
        if a.bbox is not None and len(a.bbox) != 4:
            raise ValueError(f"{where(path, n, a)}: bbox must be x, y, width, height in pixels, got {a.bbox}")


def _complaint(data: bytes, error: msgspec.DecodeError) -> str:
    try:
        value = json.loads(data)  # Python's reader takes NaN and Infinity, which JSON has not
    except ValueError:
        return f"not JSON, or cut short: {error} ({len(data)} bytes)"
    return _not_coco(value, error) if isinstance(error, msgspec.ValidationError) else _not_finite(value)


def _not_coco(value: Any, error: msgspec.ValidationError) -> str:
    if isinstance(value, dict) and {"images", "annotations"} <= value.keys():
        return f"not a COCO annotation file: {error}"
    came = type(value).__name__
    if isinstance(value, dict):
        came = f"an object with {', '.join(sorted(value)) or 'nothing'}"
    elif isinstance(value, list):
        first = value[0] if value and isinstance(value[0], dict) else {}
        came = f"a list of {len(value)}" + (f" of objects with {', '.join(first)}" if first else "")
        came += "; that looks like results or detections" if "score" in first else ""
    return f"expected a COCO annotation file, an object with images, annotations and categories; got {came}"


def _not_finite(value: Any) -> str:
    for kind in ("annotations", "images"):
        entries = value.get(kind) if isinstance(value, dict) else None
        for n, entry in enumerate(entries if isinstance(entries, list) else []):
            fields = entry if isinstance(entry, dict) else {}
            if bad := [key for key in fields if not _finite(fields[key])]:
                return (
                    f"{kind}[{n}] (id {fields.get('id')}): {bad[0]} holds NaN or infinity, which JSON has not; "
                    "write 0, 0, 0 for a keypoint that is not labelled"
                )
    return "not JSON: it holds NaN or infinity"


def _finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(_finite(v) for v in value)
    return not isinstance(value, float) or math.isfinite(value)
