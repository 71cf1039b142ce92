"""Synthetic animals with exact keypoints: rodents seen from above, and quadrupeds of several species from any side.

Still images, or sequences in which an animal moves before a fixed camera, for methods that learn from video. Shape,
gait, coat, background, light and camera are drawn at random; left and right are told by the body alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posewright import image as images
from posewright.skeletons import ANIMALPOSE20, TIGDOG18
from posewright.synthetic import _quadruped, _rodent
from posewright.synthetic._body import pick, turn
from posewright.synthetic._scenery import backdrop, thing
from posewright.synthetic._solids import Blob, Solid, View
from posewright.synthetic.composition import between, cast, compose, photograph, visibility_of
from posewright.synthetic.dataset import Drawing, write_split
from posewright.synthetic.renderer import render
from posewright.types import Skeleton

VERSION = 5
"""Raised whenever the same seed and scene would draw something else."""

RODENT4 = Skeleton(
    "rodent4",
    ("snout", "leftear", "rightear", "tailbase"),
    (("snout", "leftear"), ("snout", "rightear"), ("leftear", "tailbase"), ("rightear", "tailbase")),
    (("leftear", "rightear"),),
)
"""The points of the open-field recordings that DeepLabCut is published with (Mathis et al., 2018)."""

SPECIES: tuple[str, ...] = ("rodent", *_quadruped.SPECIES)
"""What can be drawn."""

_POINTS = {
    TIGDOG18.name: ("left_eye", "right_eye", "chin", "left_front_hoof", "right_front_hoof", "left_back_hoof",
                    "right_back_hoof", "tail", "left_front_knee", "right_front_knee", "left_back_knee",
                    "right_back_knee", "left_front_shoulder", "right_front_shoulder", "left_front_elbow",
                    "right_front_elbow", "left_back_elbow", "right_back_elbow"),
    ANIMALPOSE20.name: ("left_eye", "right_eye", "left_ear", "right_ear", "nose", "throat", "tail", "withers",
                        "left_front_elbow", "right_front_elbow", "left_back_elbow", "right_back_elbow",
                        "left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee",
                        "left_front_hoof", "right_front_hoof", "left_back_hoof", "right_back_hoof"),
    RODENT4.name: RODENT4.points,
}  # fmt: skip
"""The joint of a drawn animal that each point of a skeleton is."""


@dataclass(frozen=True, slots=True)
class AnimalScene:
    """What is drawn. Pairs are the least and the greatest of what is drawn at random.

    Attributes:
        species: of the animals, each equally likely; see `SPECIES`. Rodents do not mix with others.
        skeleton: of the quadrupeds' annotations, "tigdog18" or "animalpose20"; rodents have `RODENT4`.
        height, width: of the image in pixels.
        length: pixels from hips to shoulders, or from a rodent's tail base to its neck.
        things: things behind the animal.
        occluders: things in front of it.
        side: chance that a quadruped is seen from the side, more or less; others are seen from anywhere.
        plain: chance of a plain floor, such as that of a laboratory; else the background is cluttered.
        frames: consecutive images that show one animal as it moves; 1 for still images.
        blur: sigma in pixels.
        noise: standard deviation in grey levels.
        grey: chance of an image without colour.
        quality: of the JPEG that `make` writes.
    """

    species: tuple[str, ...] = ("rodent",)
    skeleton: str = TIGDOG18.name
    height: tuple[int, int] = (216, 264)
    width: tuple[int, int] = (288, 352)
    length: tuple[float, float] = (45.0, 95.0)
    things: tuple[int, int] = (0, 3)
    occluders: tuple[int, int] = (0, 0)
    side: float = 0.6
    plain: float = 0.5
    frames: int = 1
    blur: tuple[float, float] = (0.3, 0.9)
    noise: tuple[float, float] = (0.0, 7.0)
    grey: float = 0.3
    quality: tuple[int, int] = (60, 95)

    def __post_init__(self) -> None:
        if not self.species or set(self.species) - set(SPECIES):
            raise ValueError(f"species: expected some of {', '.join(SPECIES)}, got {', '.join(self.species) or 'none'}")
        if "rodent" in self.species and set(self.species) != {"rodent"}:
            raise ValueError("species: rodents have points of their own and cannot be mixed with quadrupeds")
        if self.skeleton not in _POINTS:
            raise ValueError(f"skeleton: expected {TIGDOG18.name} or {ANIMALPOSE20.name}, got {self.skeleton!r}")
        if self.frames < 1:
            raise ValueError(f"frames must be 1 or more, got {self.frames}")

    @property
    def points(self) -> Skeleton:
        """The skeleton of the annotations."""
        known = {s.name: s for s in (RODENT4, TIGDOG18, ANIMALPOSE20)}
        return RODENT4 if "rodent" in self.species else known[self.skeleton]


def make(
    folder: str | os.PathLike[str],
    count: int,
    *,
    seed: int = 0,
    scene: AnimalScene = AnimalScene(),
    split: str = "train",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set in COCO's layout, or find the same one already there; see `people.make`.

    Of sequences the annotations have `sequence` and `frame`, both from 0.

    Raises:
        ValueError, OSError: see `people.make`.
    """
    made_of = {"description": "Synthetic animals drawn by Posewright", "version": VERSION, "scene": asdict(scene)}
    writer = partial(draw_scene, scene)
    return write_split(
        folder, count, writer, scene.points, made_of, seed=seed, split=split, workers=workers, progress=progress
    )


def draw_scene(scene: AnimalScene, seeds: tuple[int, int], number: int) -> Drawing:
    """Draw one image of one animal and what is known of it.

    Args:
        scene: what is drawn.
        seeds: of all random choices.
        number: of the image, from 1; in a sequence it says how far the animal has moved.

    Returns:
        The image, one annotation as of `people.draw_scene`, and the JPEG's quality. The box of a rodent bounds its
        points, widened by a quarter, because its tail is not part of its pose; that of others bounds what is visible.
    """
    sequence, frame = divmod(number - 1, scene.frames)
    rng = np.random.default_rng([*seeds, sequence + 1])  # the same for all frames of a sequence
    size = (between(rng, scene.height), between(rng, scene.width))
    species = pick(rng, scene.species)
    length = float(np.exp(rng.uniform(*np.log(scene.length))))
    light = np.array([rng.normal(0, 0.6), rng.uniform(-1.2, -0.3), rng.uniform(-1.2, -0.5)])
    picture = _floor(rng, size) if rng.random() < scene.plain else backdrop(rng, size)
    solids, joints, deep, view = _animal(rng, scene, species, size, length, frame)
    layers: list[tuple[list[Solid], View]] = []
    for _ in range(between(rng, scene.things)):
        layers.append((thing(rng), View(rng.uniform(0, 1, 2) * size[::-1], length * rng.uniform(0.4, 1.4), 6.0)))
    layers.append((solids, view))
    for _ in range(between(rng, scene.occluders)):
        place = view.project(pick(rng, list(joints)))[:2]
        layers.append((thing(rng), View(place, length * rng.uniform(0.3, 0.7), 6.0)))
    top, own = np.zeros(size, np.int16), None
    for place, (group, camera) in enumerate(layers, 1):
        layer = render(group, camera, light / np.linalg.norm(light), size)
        if layer is not None:
            if group is solids and species == "rodent":
                cast(rng, picture, layer)
            compose(picture, top, layer, place)
            own = (place, layer) if group is solids else own
    annotation = None
    if own is not None:
        annotation = _annotation(top, own[0], *visibility_of(top, own[0], view, joints, deep, own[1]), species)
    noisy = np.random.default_rng([*seeds, sequence + 1, frame + 1])
    image = photograph(noisy if scene.frames > 1 else rng, scene.blur, scene.noise, picture)
    if rng.random() < scene.grey:
        image = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    place = {"sequence": sequence, "frame": frame} if scene.frames > 1 else {}
    return image, [annotation | place] if annotation else [], between(rng, scene.quality)


def _animal(
    rng: np.random.Generator, scene: AnimalScene, species: str, size: tuple[int, int], length: float, frame: int
) -> tuple[list[Solid], np.ndarray, np.ndarray, View]:
    """Solids, joints [K, 3], how deep each may lie [K], and the camera of an animal in a frame of its sequence."""
    if species == "rodent":
        animal = _rodent.build(rng)
        heading, turning, speed, pace = rng.uniform(-180, 180), rng.normal(0, 3), rng.uniform(0, 0.06), 0.05
        solids, joints, deep = _rodent.posed(animal, pace * frame)
        middle = heading + turning * frame / 2
        pose = turn(0, rng.normal(0, 6)) @ turn(1, rng.normal(0, 6)) @ turn(2, heading + turning * frame)
        travel = np.array([np.cos(np.deg2rad(middle)), np.sin(np.deg2rad(middle))]) * speed * frame * length
    else:
        animal = _quadruped.build(rng, species)
        yaw = rng.normal(pick(rng, (0, 180)), 22) if rng.random() < scene.side else rng.uniform(-180, 180)
        pace = 0.0 if animal.gait == "stand" else 0.04
        solids, joints, deep = _quadruped.posed(animal, animal.phase + pace * frame)
        pose = turn(0, rng.normal(-6, 7)) @ turn(2, rng.normal(0, 4)) @ turn(1, yaw) @ np.diag([1.0, -1.0, 1.0])
        travel = pose[:2, 0] * pace * frame * length
    names = _POINTS[scene.points.name]
    points = np.array([joints[name] for name in names]) @ pose.T
    slack = np.array([deep.get(name, 0.05) for name in names])
    camera = View(np.zeros(2), length, rng.uniform(4, 10))
    xy = camera.project(np.array(list(joints.values())) @ pose.T)[:, :2]
    margin = 0.25 * length
    ends = margin - xy.min(0), np.array(size[::-1]) - 1 - margin - xy.max(0)
    spot = rng.uniform(np.minimum(*ends), np.maximum(*ends)) + travel
    return [_turned(s, pose) for s in solids], points, slack, View(spot, length, camera.distance)


def _turned(solid: Solid, pose: np.ndarray) -> Solid:
    if isinstance(solid, Blob):
        return replace(solid, centre=pose @ solid.centre, axes=pose @ solid.axes)
    return replace(solid, start=pose @ solid.start, end=pose @ solid.end)


def _floor(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A plain floor, unevenly lit, often with walls around it and scratches, [H, W, 3] float32 0..255."""
    height, width = size
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    middle = rng.normal(0, 0.4, 2)
    shade = 1 - rng.uniform(0.05, 0.45) * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 2
    picture = (rng.uniform(90, 245) * rng.normal(1, 0.03, 3) * shade[..., None]).astype(np.float32)
    if rng.random() < 0.6:
        edge = rng.uniform(0.84, 1.0, 4)
        wall = (x < -edge[0]) | (x > edge[1]) | (y < -edge[2]) | (y > edge[3])
        picture[wall] *= np.float32(rng.uniform(0.3, 0.8))
    flat = picture.clip(0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(0, 1, (2, 2)) * (width, height)
        level = int(picture.mean() * rng.uniform(0.5, 1.1)) % 256
        images.draw_line(flat, ends[0], ends[1], (level, level, level), 1)
    return images.blur(flat, rng.uniform(0.4, 1.2)).astype(np.float32)


def _annotation(
    top: np.ndarray, number: int, xy: np.ndarray, visibility: np.ndarray, species: str
) -> dict[str, Any] | None:
    """What COCO would say of the animal, or None where nothing of it can be seen."""
    rows, columns = np.nonzero(top == 2 * number)
    if not rows.size or not visibility.any():
        return None
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
    if species == "rodent":
        inside = xy[visibility > 0]
        margin = 0.25 * np.ptp(inside, axis=0).max()
        limit = np.array(top.shape[::-1])
        low, high = (inside.min(0) - margin).clip(0, limit), (inside.max(0) + margin).clip(0, limit)
    triples = np.where(visibility[:, None] > 0, np.column_stack([xy.round(2), visibility]), 0)
    return {
        "category_id": 1,
        "keypoints": [int(v) if i % 3 == 2 else float(v) for i, v in enumerate(triples.ravel())],
        "num_keypoints": int((visibility > 0).sum()),
        "bbox": [round(float(v), 2) for v in (*low, *(high - low))],
        "area": int(rows.size),
        "iscrowd": 0,
        "species": species,
    }
