"""Poses and annotations on an image, in the colours of the field, and sheets of many images."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from posewright import image as images
from posewright.image import RGB
from posewright.skeletons import mirror_pairs
from posewright.types import Boxes, Poses, Skeleton

LEFT: RGB = (0, 255, 0)
RIGHT: RGB = (255, 128, 0)
MIDDLE: RGB = (51, 153, 255)
"""Trunk and face; the three are the COCO colours of mmpose and rtmlib."""
BOX: RGB = (235, 70, 235)
"""Unlike all three."""
WHITE: RGB = (255, 255, 255)

LegendEntry: TypeAlias = "tuple[RGB, Literal['disc', 'ring', 'faint'], str]"
"""A mark, and what it means."""

_FACE = {"nose", "eye", "ear", "mouth", "chin", "head", "jaw", "face", "lip", "snout"}
_TRUNK = {"shoulder", "hip", "neck", "pelvis", "thorax", "spine", "chest", "withers"}
_LEFT = re.compile(r"left|^l[_ ]", re.IGNORECASE)
_RIGHT = re.compile(r"right|^r[_ ]", re.IGNORECASE)
_FAR = 1e5  # pixels; drawing further out would overflow, and is outside any image
_FAINT = 0.45  # of the colour
_SHEET_GREY, _STRIP = 32, 18


def draw(
    image: np.ndarray,
    poses: Poses,
    *,
    threshold: float = 0.3,
    boxes: bool = True,
    scores: bool = True,
    hidden: np.ndarray | None = None,
    faint: bool = False,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """The image with poses on it, the best-scored on top; lines and points are as large as the person asks for.

    The scores stand at the boxes' top left corners, moved where they would cover each other.

    Args:
        image: [H, W, 3] uint8 RGB; stays as it is.
        poses: N of them.
        threshold: keypoints scored above it are drawn, and bones whose two ends are.
        boxes: whether their boxes are drawn.
        scores: whether each pose's score is written at its box.
        hidden: [N, K] bool, keypoints drawn as rings instead of discs.
        faint: draw the keypoints that are not above the threshold, and their bones, too, faintly.
        labels: N texts, written instead of the scores.

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
    finite = np.logical_and.reduce(np.isfinite(poses.xy), axis=2)
    shown = finite & (poses.score > threshold)
    order = np.argsort(poses.instance_score, kind="stable")
    sizes = np.sqrt(poses.boxes.xywh.clip(-_FAR, _FAR)[:, 2:].prod(1))
    if faint:
        layer = canvas.copy()
        for n in order:
            _draw_pose(layer, poses.xy[n].clip(-_FAR, _FAR), finite[n], hidden[n], float(sizes[n]), points, bones)
        canvas = np.rint((1 - _FAINT) * canvas + _FAINT * layer).astype(np.uint8)
    for n in order:
        if boxes:
            images.draw_box(canvas, poses.boxes.xywh[n].clip(-_FAR, _FAR), BOX, max(1, round(sizes[n] / 150)))
        _draw_pose(canvas, poses.xy[n].clip(-_FAR, _FAR), shown[n], hidden[n], float(sizes[n]), points, bones)
    if scores:
        texts = [f"{score:.2f}" for score in poses.instance_score] if labels is None else labels
        _write_labels(canvas, poses, texts, order[::-1])
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
    if not sides(skeleton):
        hues = (colorsys.hsv_to_rgb(i / skeleton.num_keypoints, 0.9, 1.0) for i in range(skeleton.num_keypoints))
        return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]
    of_side = {"left": LEFT, "right": RIGHT, None: MIDDLE}
    return [MIDDLE if _words(p) & _FACE else of_side[sides(skeleton).get(p)] for p in skeleton.points]


def sides(skeleton: Skeleton) -> dict[str, Literal["left", "right"]]:
    """The side of each point whose name tells it."""
    pairs = mirror_pairs(skeleton.points)
    left, right = ({pair[n] for pair in pairs} for n in (0, 1))
    found: dict[str, Literal["left", "right"]] = {}
    for point in skeleton.points:
        if point in left or _LEFT.search(point):
            found[point] = "left"
        elif point in right or _RIGHT.search(point):
            found[point] = "right"
    return found


def legend(skeleton: Skeleton) -> list[LegendEntry]:
    """What the colours of a skeleton's points mean."""
    if not sides(skeleton):
        return []
    used = set(point_colours(skeleton))
    meanings = ((LEFT, "left"), (RIGHT, "right"), (MIDDLE, "face and middle"))
    return [(colour, "disc", words) for colour, words in meanings if colour in used]


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
    pictures: Sequence[np.ndarray],
    columns: int,
    cell: tuple[int, int],
    captions: Sequence[str] = (),
    legend: Sequence[LegendEntry] = (),
) -> np.ndarray:
    """Many images on one, row by row, each shrunk or grown into its cell without distortion.

    Args:
        pictures: [h, w, 3] uint8 RGB, one or more.
        columns: cells per row; fewer where there are fewer pictures.
        cell: (height, width) of the room for each picture.
        captions: a line under each picture, or none.
        legend: what stands below all pictures, or nothing.

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
    return np.concatenate([out, _legend_strip(legend, out.shape[1])]) if legend else out


def _legend_strip(legend: Sequence[LegendEntry], width: int) -> np.ndarray:
    """The legend in as many lines as the width asks for, [h, width, 3]."""
    rows: list[list[tuple[int, LegendEntry]]] = [[]]
    x = 8
    for entry in legend:
        room = 16 + images.text_size(entry[2], 0.4)[0] + 18
        if rows[-1] and x + room > width:
            rows.append([])
            x = 8
        rows[-1].append((x, entry))
        x += room
    strip = np.full((len(rows) * _STRIP, width, 3), _SHEET_GREY, np.uint8)
    for n, row in enumerate(rows):
        for x, (colour, mark, words) in row:
            middle = (n + 0.5) * _STRIP
            tint = tuple(round(_FAINT * c + (1 - _FAINT) * _SHEET_GREY) for c in colour) if mark == "faint" else colour
            images.draw_disc(strip, (x + 4, middle), 4, (tint[0], tint[1], tint[2]), 1 if mark == "ring" else -1)
            images.draw_text(strip, words, (x + 14, int(middle) + 4), (235, 235, 235), 0.4)
    return strip


def _write_labels(canvas: np.ndarray, poses: Poses, texts: Sequence[str], order: np.ndarray) -> None:
    """Each pose's text at the top left corner of its box, the first in order first: those that follow give way."""
    size = max(0.45, min(canvas.shape[:2]) / 1600)
    taken: list[tuple[int, int, int]] = []
    for n in map(int, order):
        width, height = (side + 3 for side in images.text_size(texts[n], size))
        left, top = (int(v) for v in poses.boxes.xywh[n, :2].clip(-_FAR, _FAR))
        x = min(max(left, 0) + 2, max(canvas.shape[1] - width, 0))
        y = max(top - 4, height)
        for _ in range(len(taken)):  # below the lowest label in the way, which may meet another
            beside = [t for t in taken if x < t[0] + t[2] and t[0] < x + width]
            in_way = [t[1] for t in beside if y - height < t[1] and t[1] - height < y]
            if not in_way:
                break
            y = max(in_way) + height
        taken.append((x, y, width))
        images.draw_text(canvas, texts[n], (x, y), WHITE, size)


def _words(point: str) -> set[str]:
    return set(re.split(r"[^a-z]+", point.lower()))


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
