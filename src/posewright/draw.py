"""Poses and annotations on an image, in the colours of the field, and sheets of many images."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence

import numpy as np

from posewright import image as images
from posewright.image import RGB
from posewright.types import Boxes, Poses, Skeleton

LEFT: RGB = (0, 255, 0)
RIGHT: RGB = (255, 128, 0)
MIDDLE: RGB = (51, 153, 255)
"""Trunk and face; the three are the COCO colours of mmpose and rtmlib."""
BOX: RGB = (0, 255, 0)

_FACE = {"nose", "eye", "ear", "mouth", "chin", "head", "jaw", "face", "lip", "snout"}
_TRUNK = {"shoulder", "hip", "neck", "pelvis", "thorax", "spine", "chest", "withers"}
_LEFT = re.compile(r"left|^l[_ ]", re.IGNORECASE)
_RIGHT = re.compile(r"right|^r[_ ]", re.IGNORECASE)
_FAR = 1e5  # pixels; drawing further out would overflow, and is outside any image
_SHEET_GREY, _STRIP = 32, 18


def draw(
    image: np.ndarray,
    poses: Poses,
    *,
    threshold: float = 0.3,
    boxes: bool = True,
    scores: bool = True,
    hidden: np.ndarray | None = None,
) -> np.ndarray:
    """The image with poses on it, the best-scored on top; lines and points are as large as the person asks for.

    Args:
        image: [H, W, 3] uint8 RGB; stays as it is.
        poses: N of them.
        threshold: keypoints scored above it are drawn, and bones whose two ends are.
        boxes: whether their boxes are drawn.
        scores: whether each pose's score is written at its box.
        hidden: [N, K] bool, keypoints drawn as rings instead of discs.

    Returns:
        A new image.

    Raises:
        ValueError: the image is not [H, W, 3] uint8, or `hidden` is not [N, K].
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"draw: expected an image [H, W, 3] of uint8, got {list(image.shape)} of {image.dtype}")
    hidden = np.zeros(poses.score.shape, bool) if hidden is None else hidden
    if hidden.shape != poses.score.shape:
        raise ValueError(f"draw: hidden must be {list(poses.score.shape)}, as the scores are, got {list(hidden.shape)}")
    canvas = image.copy()
    points, tints = point_colours(poses.skeleton), bone_colours(poses.skeleton)
    bones = [(a, b, tint) for (a, b), tint in zip(poses.skeleton.bone_index.tolist(), tints)]
    shown = (poses.score > threshold) & np.isfinite(poses.xy).all(2)
    for n in np.argsort(poses.instance_score, kind="stable"):
        box = poses.boxes.xywh[n].clip(-_FAR, _FAR)
        size = float(np.sqrt(box[2] * box[3]))
        if boxes:
            images.draw_box(canvas, box, BOX, max(1, round(size / 150)))
        _draw_pose(canvas, poses.xy[n].clip(-_FAR, _FAR), shown[n], hidden[n], size, points, bones)
        if scores:
            origin = int(max(box[0], 0)) + 2, int(max(box[1] - 4, 14))
            images.draw_text(canvas, f"{poses.instance_score[n]:.2f}", origin, (255, 255, 255))
    return canvas


def draw_truth(
    image: np.ndarray,
    xy: np.ndarray,
    visibility: np.ndarray,
    xywh: np.ndarray,
    skeleton: Skeleton,
    *,
    boxes: bool = True,
) -> np.ndarray:
    """The image with annotated people on it: hidden keypoints as rings, those not labelled left out.

    Args:
        image: [H, W, 3] uint8 RGB; stays as it is.
        xy: [N, K, 2] image pixels.
        visibility: [N, K] 0 not labelled, 1 labelled but hidden, 2 visible.
        xywh: [N, 4] boxes.
        skeleton: what the K points are.
        boxes: whether the boxes are drawn.
    """
    found = Boxes.of(xywh, source="gt", cleaned=True)
    poses = Poses(np.asarray(xy, np.float64), (visibility > 0).astype(np.float64), found.score, found, skeleton)
    return draw(image, poses, threshold=0.5, boxes=boxes, scores=False, hidden=visibility == 1)


def point_colours(skeleton: Skeleton) -> list[RGB]:
    """A colour for each keypoint: by side where the names tell sides, else hues spread over the circle."""
    if not any(_LEFT.search(p) or _RIGHT.search(p) for p in skeleton.points):
        hues = (colorsys.hsv_to_rgb(i / skeleton.num_keypoints, 0.9, 1.0) for i in range(skeleton.num_keypoints))
        return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]
    return [MIDDLE if _words(p) & _FACE else _side(p) for p in skeleton.points]


def bone_colours(skeleton: Skeleton) -> list[RGB]:
    """A colour for each bone: its further end's, but the trunk's and the face's bones have the middle's."""
    points = dict(zip(skeleton.points, point_colours(skeleton)))
    sided = {LEFT, RIGHT, MIDDLE}.issuperset(points.values())
    colours = []
    for a, b in skeleton.bones:
        trunk = sided and (MIDDLE in (points[a], points[b]) or (_words(a) & _TRUNK and _words(b) & _TRUNK))
        colours.append(MIDDLE if trunk else points[b])
    return colours


def sheet(
    pictures: Sequence[np.ndarray], columns: int, cell: tuple[int, int], captions: Sequence[str] = ()
) -> np.ndarray:
    """Many images on one, row by row, each shrunk or grown into its cell without distortion.

    Args:
        pictures: [h, w, 3] uint8 RGB, one or more.
        columns: cells a row; fewer where there are fewer pictures.
        cell: (height, width) of the room for each picture.
        captions: a line under each picture, or none.

    Raises:
        ValueError: there are no pictures, or captions for another number of them.
    """
    if not pictures or columns < 1 or (captions and len(captions) != len(pictures)):
        raise ValueError(
            f"sheet: expected pictures, a column or more and a caption each or none, got {len(pictures)} pictures, "
            f"{columns} columns and {len(captions)} captions"
        )
    height, width = cell
    columns, tall = min(columns, len(pictures)), height + (_STRIP if captions else 0)
    out = np.full((-(-len(pictures) // columns) * tall, columns * width, 3), _SHEET_GREY, np.uint8)
    for n, picture in enumerate(pictures):
        top, left = n // columns * tall, n % columns * width
        scale = min(height / picture.shape[0], width / picture.shape[1])
        h, w = (min(room, max(1, round(scale * side))) for room, side in zip(cell, picture.shape))
        y, x = top + (height - h) // 2, left + (width - w) // 2
        out[y : y + h, x : x + w] = images.resize(picture, (h, w))
        if captions:
            strip = np.ascontiguousarray(out[top + height : top + tall, left : left + width])
            images.draw_text(strip, captions[n], (3, _STRIP - 5), (235, 235, 235), 0.4)
            out[top + height : top + tall, left : left + width] = strip
    return out


def _words(point: str) -> set[str]:
    return set(re.split(r"[^a-z]+", point.lower()))


def _side(point: str) -> RGB:
    return LEFT if _LEFT.search(point) else RIGHT if _RIGHT.search(point) else MIDDLE


def _draw_pose(
    canvas: np.ndarray,
    xy: np.ndarray,
    shown: np.ndarray,
    hidden: np.ndarray,
    size: float,
    points: list[RGB],
    bones: list[tuple[int, int, RGB]],
) -> None:
    """One pose into the canvas, in place; `size` is the person's, in pixels."""
    line, radius = max(1, round(size / 90)), max(1.5, size / 55)
    for a, b, colour in bones:
        if shown[a] and shown[b]:
            images.draw_line(canvas, xy[a], xy[b], colour, line)
    for k in np.flatnonzero(shown):
        if hidden[k]:
            images.draw_disc(canvas, xy[k], radius + 0.5, points[k], max(1, round(radius / 2.5)))
        else:
            images.draw_disc(canvas, xy[k], radius, points[k])
