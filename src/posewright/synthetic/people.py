"""Synthetic people with exact COCO keypoints: data to learn from, test with and look at where there is no other.

People of all builds and ages stand, walk, run, sit and leap before cluttered backgrounds, behind things and each
other, partly outside the image. Left and right are told by the face, the feet, the knees and what is worn in front.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posewright.skeletons import COCO17
from posewright.synthetic._body import pick
from posewright.synthetic._figure import Figure, figure
from posewright.synthetic._scenery import backdrop, thing
from posewright.synthetic._solids import Solid, View
from posewright.synthetic.composition import between, compose, photograph, visibility_of
from posewright.synthetic.dataset import Drawing, write_split
from posewright.synthetic.renderer import Layer, render

VERSION = 2
"""Raised whenever the same seed and scene would draw something else."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn. Pairs are the least and the greatest of what is drawn at random.

    Attributes:
        height, width: of the image in pixels.
        people: people per image.
        stature: pixels that a grown-up standing upright is tall.
        things: things behind the people.
        occluders: things in front of them, each across somebody.
        crowd: chance that somebody stands anywhere, not where there is room.
        cut: chance that somebody is pushed partly out of the image.
        calm: chance that somebody just stands or walks, more or less towards us; others do anything, facing anywhere.
        blur: sigma in pixels.
        noise: standard deviation in grey levels.
        quality: of the JPEG that `make` writes.
    """

    height: tuple[int, int] = (216, 264)
    width: tuple[int, int] = (288, 352)
    people: tuple[int, int] = (1, 3)
    stature: tuple[float, float] = (90.0, 200.0)
    things: tuple[int, int] = (0, 5)
    occluders: tuple[int, int] = (0, 1)
    crowd: float = 0.2
    cut: float = 0.1
    calm: float = 0.0
    blur: tuple[float, float] = (0.3, 0.9)
    noise: tuple[float, float] = (0.0, 7.0)
    quality: tuple[int, int] = (60, 95)

    def __post_init__(self) -> None:
        least = {"height": 16, "width": 16, "stature": 16, "blur": 0.05, "quality": 1}
        for name, value in asdict(self).items():
            if name in ("crowd", "cut", "calm"):
                if not 0 <= value <= 1:
                    raise ValueError(f"scene: {name} must be a chance between 0 and 1, got {value}")
            elif not least.get(name, 0) <= value[0] <= value[1]:
                low = least.get(name, 0)
                raise ValueError(f"scene: {name} must be two numbers in order, the first {low} or more, got {value}")


EVERYDAY = Scene(people=(1, 3), stature=(100.0, 260.0), occluders=(0, 2), crowd=0.4, cut=0.4, calm=0.3)
"""People as in snapshots: larger, half hidden, in each other's way, and cut off by the image."""


@dataclass(frozen=True, slots=True)
class _Actor:
    """Something to draw: its solids, its camera, how near it is, and the person it is, if it is one."""

    solids: list[Solid]
    view: View
    nearness: float
    person: Figure | None = None


def draw_scene(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draw one image and what is known of its people.

    Returns:
        image: [H, W, 3] uint8 RGB.
        annotations: COCO keypoint annotations without `id` and `image_id`, one for each person of whom anything can be
            seen. Visibility is 2 where the joint can be seen, 1 where it is inside the image behind a thing, another
            person or the person's own body, 0 (and x = y = 0) where it is outside. `area` counts the visible pixels
            of the person, and `bbox` bounds them. People with fewer than three joints to be seen have no keypoints.
    """
    size = (between(rng, scene.height), between(rng, scene.width))
    light = np.array([rng.normal(0, 0.6), rng.uniform(-1.2, -0.3), rng.uniform(-1.0, -0.4)])
    light /= np.linalg.norm(light)
    picture = backdrop(rng, size)
    top = np.zeros(size, np.int16)  # number of the layer on top, doubled, and one less where it is no body
    layers: list[tuple[int, _Actor, Layer]] = []
    for number, actor in enumerate(sorted(_cast(rng, scene, size), key=lambda a: a.nearness), 1):
        layer = render(actor.solids, actor.view, light, size)
        if layer is not None:
            if actor.person is not None:
                _ground_shadow(picture, actor)
            compose(picture, top, layer, number)
            layers.append((number, actor, layer))
    annotations = [_annotate(top, number, a, layer) for number, a, layer in layers if a.person is not None]
    return photograph(rng, scene.blur, scene.noise, picture), [a for a in annotations if a is not None]


def make(
    folder: str | os.PathLike[str],
    images: int,
    *,
    seed: int = 0,
    scene: Scene = Scene(),
    split: str = "train",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set in COCO's layout, or find the same one already there.

    Images go to `folder/split/000000000001.jpg` and so on, annotations to
    `folder/annotations/person_keypoints_<split>.json`, and both appear only once all is drawn. Each image depends on
    the seed, the split and its own number alone, so neither the number of workers nor that of images changes it.

    Args:
        folder: of the data set; may hold other splits.
        images: how many.
        seed: of everything random.
        scene: what is drawn.
        split: its name.
        workers: processes; None for one per core.
        progress: called with (done, all) after each image.

    Returns:
        The annotation file.

    Raises:
        ValueError: the split is already there and was made with other parameters, or is not synthetic.
        OSError: the folder cannot be written.
    """
    made_of = {"description": "Synthetic people drawn by Posewright", "version": VERSION, "scene": asdict(scene)}
    writer = partial(_draw_one, scene)
    return write_split(
        folder, images, writer, COCO17, made_of, seed=seed, split=split, workers=workers, progress=progress
    )


def _draw_one(scene: Scene, seeds: tuple[int, int], number: int) -> Drawing:
    rng = np.random.default_rng([*seeds, number])
    image, annotations = draw_scene(rng, scene)
    return image, annotations, between(rng, scene.quality)


def _cast(rng: np.random.Generator, scene: Scene, size: tuple[int, int]) -> list[_Actor]:
    """Who and what is in the image, and where."""
    people: list[_Actor] = []
    for _ in range(between(rng, scene.people)):
        people.append(_person(rng, scene, size, people))
    actors = list(people)
    for _ in range(between(rng, scene.things)):
        reach = float(np.exp(rng.uniform(*np.log(scene.stature)))) * rng.uniform(0.4, 1.1)
        actors.append(_Actor(thing(rng), View(rng.uniform(0, 1, 2) * size[::-1], reach, 6.0), rng.random()))
    for _ in range(between(rng, scene.occluders) if people else 0):
        victim = pick(rng, people)
        assert victim.person is not None
        joint = victim.view.project(pick(rng, list(victim.person.joints)))[:2]
        view = View(joint, victim.view.scale * rng.uniform(0.35, 0.8), 6.0)
        actors.append(_Actor(thing(rng), view, victim.nearness + 0.5))
    return actors


def _person(rng: np.random.Generator, scene: Scene, size: tuple[int, int], others: list[_Actor]) -> _Actor:
    person = figure(rng, calm=rng.random() < scene.calm)
    stature = float(np.exp(rng.uniform(*np.log(scene.stature))))
    camera = View(np.zeros(2), stature, rng.uniform(2.5, 9))
    joints = camera.project(person.joints)[:, :2]
    spots = _spots(rng, joints, size, rng.random() < scene.cut)
    taken = np.array([a.view.origin for a in others]).reshape(-1, 1, 2)
    roomy = np.hypot(*(spots - taken).T).min(1).argmax() if others and rng.random() >= scene.crowd else 0
    return _Actor(person.solids, View(spots[roomy], stature, camera.distance), stature, person)


def _spots(rng: np.random.Generator, xy: np.ndarray, size: tuple[int, int], cut: bool) -> np.ndarray:
    """Places [6, 2] for the origin of points [K, 2] around (0, 0), so that they lie inside the image unless `cut`."""
    margin = 0.06 * np.ptp(xy[:, 1])
    ends = margin - xy.min(0), np.array(size[::-1]) - 1 - margin - xy.max(0)
    low, high = np.minimum(*ends), np.maximum(*ends)
    spots = rng.uniform(low, high, (6, 2))
    spots[:, 1] = np.maximum(spots[:, 1], rng.uniform(low[1], high[1], 6))  # nearer the ground than the sky
    if cut:
        axis = int(rng.integers(2))
        push = rng.uniform(0.1, 0.55) * np.ptp(xy[:, axis])
        spots[:, axis] = high[axis] + push if axis or rng.random() < 0.5 else low[axis] - push
    return spots


def _ground_shadow(picture: np.ndarray, actor: _Actor) -> None:
    """Darken the background under the feet, in place."""
    assert actor.person is not None
    x, y = actor.view.project(actor.person.joints[-2:])[:, :2].T
    reach = 0.16 * actor.view.scale + np.ptp(x) / 2
    rows = np.arange(picture.shape[0], dtype=np.float32)[:, None] - y.max() - 0.04 * actor.view.scale
    columns = np.arange(picture.shape[1], dtype=np.float32) - x.mean()
    near_rows, near_columns = np.abs(rows[:, 0]) < reach, np.abs(columns) < reach * 1.5
    if near_rows.any() and near_columns.any():
        r, c = np.flatnonzero(near_rows)[[0, -1]], np.flatnonzero(near_columns)[[0, -1]]
        fall = np.exp(
            -((rows[r[0] : r[1] + 1] / (0.3 * reach)) ** 2) - (columns[c[0] : c[1] + 1] / (0.75 * reach)) ** 2
        )
        picture[r[0] : r[1] + 1, c[0] : c[1] + 1] *= 1 - np.float32(0.45) * fall[..., None].astype(np.float32)


def _annotate(top: np.ndarray, number: int, actor: _Actor, layer: Layer) -> dict[str, Any] | None:
    """What COCO would say of a person, or None where nothing of the person can be seen."""
    assert actor.person is not None
    rows, columns = np.nonzero(top == 2 * number)
    if not rows.size:
        return None
    xy, visibility = visibility_of(top, number, actor.view, actor.person.joints, actor.person.slack, layer)
    if (visibility == 2).sum() < 3:
        visibility[:] = 0
    left, upper = int(columns.min()), int(rows.min())
    triples = np.where(visibility[:, None] > 0, np.column_stack([xy.round(2), visibility]), 0)
    return {
        "category_id": 1,
        "keypoints": [int(v) if i % 3 == 2 else float(v) for i, v in enumerate(triples.ravel())],
        "num_keypoints": int((visibility > 0).sum()),
        "bbox": [left, upper, int(columns.max()) + 1 - left, int(rows.max()) + 1 - upper],
        "area": int(rows.size),
        "iscrowd": 0,
    }
