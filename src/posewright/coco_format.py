"""COCO-format JSON: one schema of annotations, detections and results; read fast, checked, packed into arrays.

Every complaint is one short line that names file and entry.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated as Checked
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import numpy as np

from posewright import geometry, skeletons
from posewright.files import convert, read_json, short
from posewright.types import Skeleton

Source: TypeAlias = "str | os.PathLike[str] | dict[str, Any] | Sequence[dict[str, Any]]"
"""A JSON file, or what such a file holds."""

AREA_OF_BOX = 0.53
"""Where an annotation has no area: the share of the box that a person covers, as in CrowdPose's evaluation."""

_CHUNK = 4096
_LEAST_SIDE = 1e-9  # pixels; a cleaned box may have lost all of one side, and boxes have sides above 0

_Id = Checked[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Pixels = Checked[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Keypoints = TypeVar("_Keypoints")
_Content = TypeVar("_Content")


class Image(msgspec.Struct, gc=False):
    """An entry of `images`."""

    id: _Id
    file_name: str = ""
    width: _Pixels | None = None
    height: _Pixels | None = None
    crowding: float | None = msgspec.field(name="crowdIndex", default=None)


class Annotation(msgspec.Struct, Generic[_Keypoints], gc=False):
    """An entry of `annotations`; the keypoints of a file stay text until `keypoints` packs them."""

    image_id: _Id
    id: _Id | None = None
    category_id: _Id = 1
    bbox: list[float] | None = None
    keypoints: _Keypoints = msgspec.Raw()  # pyright: ignore[reportAssignmentType]
    area: float | None = None
    iscrowd: bool | float | None = None
    num_keypoints: float | None = None


class Category(msgspec.Struct):
    """An entry of `categories`."""

    id: _Id
    name: str = "object"
    keypoints: list[str] | None = None
    skeleton: list[list[int]] | None = None
    sigmas: list[float] | None = None
    posewright: dict[str, Any] | None = None  # what COCO has no field for; see `skeletons.to_category`


class File(msgspec.Struct, Generic[_Keypoints]):
    """A COCO-format annotation file."""

    images: list[Image]
    annotations: list[Annotation[_Keypoints]]
    categories: list[Category] = []


class Detection(msgspec.Struct, gc=False):
    """An entry of a detections file, which is a list of them."""

    image_id: Checked[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    category_id: Checked[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    bbox: tuple[float, float, float, float]
    score: float
    file_name: str = ""


class Result(msgspec.Struct, gc=False):
    """An entry of a keypoint results file, which is a list of them."""

    image_id: _Id
    category_id: _Id
    keypoints: list[float]
    score: float
    bbox: list[float] | None = None
    box: list[float] | None = None
    file_name: str | None = None


_TextFile = File[msgspec.Raw]
_PlainFile = File[list[float] | None]
_ROWS = msgspec.json.Decoder(list[list[float]], strict=False)

AnyFile: TypeAlias = "File[msgspec.Raw] | File[list[float] | None]"


# -- reading --------------------------------------------------------------------------------------------------------


def read_annotations(source: Source) -> AnyFile:
    """A COCO-format annotation file, or the content of one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not COCO.
    """
    wanted = "a COCO annotation file, an object with images, annotations and categories"
    if isinstance(source, (str, os.PathLike)):
        return read_json(Path(source), _TextFile, wanted, _PlainFile)
    return convert(source, _PlainFile, "ground truth", wanted)


def is_object(path: str | os.PathLike[str]) -> bool:
    """Whether a JSON file begins as annotations do, with an object; detections and results are lists."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_detections(source: Source) -> list[Detection]:
    """A detections file, or the content of one; numbers may be NaN. Errors as of `read_annotations`."""
    wanted = 'a list of detections {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
    return _list_of(source, Detection, wanted, "detections")


def read_results(source: Source) -> list[Result]:
    """A keypoint results file, or the content of one; numbers may be NaN. Errors as of `read_annotations`."""
    wanted = 'a list of results {"image_id", "category_id", "keypoints": [x, y, score] * K, "score"}'
    return _list_of(source, Result, wanted, "results")


def name_of(source: Source, kind: str) -> str:
    """What messages call a source: its path, or what it holds."""
    return str(source) if isinstance(source, (str, os.PathLike)) else kind


def _list_of(source: Source, kind: type[_Content], wanted: str, name: str) -> list[_Content]:
    if isinstance(source, (str, os.PathLike)):
        return read_json(Path(source), list[kind], wanted)
    return convert(source, list[kind], name, wanted)


# -- checks and skeletons ---------------------------------------------------------------------------------------------


def where(name: str | Path, n: int, a: Annotation[Any]) -> str:
    """Names an annotation in messages."""
    return f"{name}: annotations[{n}] ({'' if a.id is None else f'id {a.id}, '}image {a.image_id})"


def check_ids(name: str | Path, file: AnyFile) -> None:
    """That ids differ, and that every annotation is of an image that is listed.

    Raises:
        ValueError: they do not.
    """
    for kind, entries in (("images", file.images), ("annotations", file.annotations)):
        ids = [entry.id for entry in entries]
        if None in ids:
            raise ValueError(f"{name}: {kind}[{ids.index(None)}] has no id")
        if len(set(ids)) < len(ids):
            number, times = Counter(ids).most_common(1)[0]
            raise ValueError(f"{name}: {times} entries of {kind} have the id {number}; ids must differ")
    images = {image.id for image in file.images}
    if unnamed := [image.id for image in file.images if not image.file_name]:
        raise ValueError(f"{name}: image {unnamed[0]} has no file_name")
    for n, a in enumerate(file.annotations):
        if a.image_id not in images:
            raise ValueError(f"{where(name, n, a)}: no entry of images has the id {a.image_id}")


def skeleton_of(
    path: Path, file: AnyFile, skeleton: Skeleton | None, names: Sequence[str] | None
) -> tuple[Skeleton, set[int] | None]:
    """The skeleton of the categories to take, and their ids (None: all).

    Raises:
        LookupError: a named category is not there.
        ValueError: no category has keypoints, or the categories differ in theirs.
    """
    if names is not None and (strangers := set(names) - {c.name for c in file.categories}):
        known = short(", ".join(sorted(c.name for c in file.categories)))
        raise LookupError(f"{path}: no category {', '.join(sorted(strangers))}; it has: {known or 'none'}")
    named = [c for c in file.categories if names is None or c.name in names]
    posed = [c for c in named if c.keypoints]
    if skeleton is not None:
        return skeleton, {c.id for c in posed or named} or None
    if not posed:
        raise ValueError(
            f"{path}: none of its {len(named)} categories lists keypoints, so it is not a keypoint file (COCO's are "
            "named person_keypoints_*.json); if it is, say what the points are (skeleton=...)"
        )
    other = next((c for c in posed if c.keypoints != posed[0].keypoints), None)
    if other is not None:
        raise ValueError(
            f"{path}: categories {short(posed[0].name, 60)!r} and {short(other.name, 60)!r} list different keypoints; "
            "choose one (categories=...)"
        )
    entry = {k: v for k, v in msgspec.to_builtins(posed[0]).items() if v is not None}
    return skeletons.from_category(entry, f"{path}: category {short(posed[0].name, 60)!r}"), {c.id for c in posed}


def without_points(a: Annotation[Any]) -> Annotation[list[float] | None]:
    """The same annotation without its list of keypoints."""
    return msgspec.structs.replace(a, keypoints=None, num_keypoints=None)


def without_keypoints(a: Annotation[Any]) -> bool:
    """Whether an annotation has no list of keypoints."""
    return a.keypoints is None or (isinstance(a.keypoints, msgspec.Raw) and bytes(a.keypoints) in (b"", b"null"))


# -- arrays -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """G annotations of K keypoints in arrays, crowds and unlabelled people among them.

    Attributes:
        row: [G] int64, their places in the file.
        id: [G] int64; -1 where there is none.
        image_id: [G] int64.
        category_id: [G] int64.
        keypoints: [G, K, 3] x, y, visibility; float32 where that holds the file's numbers exactly, else float64.
        box: [G, 4] float64, x, y, width, height in pixels; NaN where there is none.
        area: [G] float64, square pixels; NaN where there is none.
        crowd: [G] bool.
        labelled: [G] float64, how many points are labelled, as the file says or else counted.
    """

    row: np.ndarray
    id: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray
    keypoints: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    labelled: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, kept: np.ndarray) -> Annotations:
        return Annotations(*(getattr(self, name)[kept] for name in self.__slots__))


def packed(name: str | Path, file: AnyFile, rows: Sequence[int], num_keypoints: int) -> Annotations:
    """The annotations of these places in the file, as arrays.

    Raises:
        ValueError: a list of another length, or a number that is not finite.
    """
    entries = [file.annotations[n] for n in rows]
    for n, a in zip(rows, entries):
        if a.bbox is not None and len(a.bbox) != 4:
            raise ValueError(f"{where(name, n, a)}: bbox must be x, y, width, height in pixels, got {a.bbox[:9]}")
    triples = _triples(name, file, rows, num_keypoints)
    box = np.array([a.bbox or (np.nan,) * 4 for a in entries], np.float64).reshape(-1, 4)
    area = np.array([np.nan if a.area is None else a.area for a in entries], np.float64)
    for field, values, given in (
        ("keypoints", triples.reshape(len(entries), 3 * num_keypoints), np.ones(len(entries), bool)),
        ("bbox", box, np.array([bool(a.bbox) for a in entries], bool)),
        ("area", area[:, None], np.array([a.area is not None for a in entries], bool)),
    ):
        wrong = given & ~np.isfinite(values).all(1)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"{where(name, rows[k], entries[k])}: {field} holds NaN or infinity, which JSON does not support; "
                "write 0, 0, 0 for a keypoint that is not labelled"
            )
    with np.errstate(over="ignore"):
        single = triples.astype(np.float32)
    counted = (triples[..., 2] > 0).sum(1)
    return Annotations(
        np.asarray(rows, np.int64),
        np.array([-1 if a.id is None else a.id for a in entries], np.int64),
        np.array([a.image_id for a in entries], np.int64),
        np.array([a.category_id for a in entries], np.int64),
        single if np.array_equal(single, triples) else triples,
        box,
        area,
        np.array([bool(a.iscrowd) for a in entries], bool),
        np.array([c if a.num_keypoints is None else a.num_keypoints for a, c in zip(entries, counted)], np.float64),
    )


def _triples(name: str | Path, file: AnyFile, rows: Sequence[int], num_keypoints: int) -> np.ndarray:
    """[rows, K, 3] float64: x, y, visibility; zeros where an annotation has no keypoints."""
    out = np.zeros((len(rows), num_keypoints * 3))
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        lists = _lists(name, file, chunk)
        full = [k for k, numbers in enumerate(lists) if numbers]
        for k in full:
            if len(lists[k]) != num_keypoints * 3:
                raise ValueError(
                    f"{where(name, chunk[k], file.annotations[chunk[k]])}: expected {num_keypoints} keypoints as "
                    f"{num_keypoints * 3} numbers x, y, visibility, got {len(lists[k])} numbers"
                )
        if full:
            out[start + np.array(full)] = [lists[k] for k in full]
    return out.reshape(len(rows), num_keypoints, 3)


def _lists(name: str | Path, file: AnyFile, rows: Sequence[int]) -> list[list[float]]:
    held = [file.annotations[n].keypoints for n in rows]
    if not all(isinstance(entry, msgspec.Raw) for entry in held):
        return [[] if isinstance(entry, msgspec.Raw) else entry or [] for entry in held]
    texts = [bytes(entry) for entry in held if isinstance(entry, msgspec.Raw)]
    try:
        return _ROWS.decode(b"[" + b",".join(b"[]" if text in (b"", b"null") else text for text in texts) + b"]")
    except (msgspec.MsgspecError, RecursionError):
        for n, text in zip(rows, texts):
            try:
                msgspec.json.decode(text or b"[]", type=list[float] | None, strict=False)
            except (msgspec.MsgspecError, RecursionError) as error:
                place = where(name, n, file.annotations[n])
                raise ValueError(f"{place}: keypoints must be a list of finite numbers: {short(str(error))}") from None
        raise


def check_visibility(name: str | Path, poses: Annotations) -> None:
    """That every visibility is 0, 1 or 2.

    Raises:
        ValueError: one is not.
    """
    visibility = poses.keypoints[..., 2]
    wrong = ~np.isin(visibility, (0, 1, 2)).all(1)
    if wrong.any():
        k = int(np.argmax(wrong))
        value = next(v for v in visibility[k] if v not in (0, 1, 2))
        raise ValueError(
            f"{name}: annotations[{poses.row[k]}] (id {poses.id[k]}, image {poses.image_id[k]}): visibility must be 0 "
            f"(not labelled), 1 (labelled but hidden) or 2 (visible), got {value:g}; keypoints are x, y, visibility, "
            "one point after the other"
        )


def clean_box(box: Sequence[float] | np.ndarray, height: int | None, width: int | None) -> np.ndarray | None:
    """An annotated box as the official loaders clean it (`geometry.sanitise_box`), or None if nothing is left of it.

    A box of which one side is lost is kept, as there: the crop's ratio widens it. Where the image's size is not known,
    no box is cut at its edge.
    """
    if len(box) != 4 or not np.isfinite(box).all() or box[2] < 0 or box[3] < 0:
        return None
    if not (height and width):
        height = width = 1 << 30
    clean = geometry.sanitise_box(np.asarray(box, np.float64), height, width)
    if clean is None or not clean[2:].any():
        return None
    return np.array([*clean[:2], *np.maximum(clean[2:], _LEAST_SIDE)])
