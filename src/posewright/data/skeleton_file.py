"""Custom skeletons from a small JSON file; OKS sigmas, chosen explicitly; people with the points of a network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from posewright.data import sources
from posewright.data.dataset import KeypointDataset
from posewright.files import read_json, short
from posewright.skeletons import SKELETONS, common, mirror_pairs
from posewright.types import Skeleton

LEAST = 10
"""Fewer people labelled twice say too little of a point's sigma."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    points: list[str]
    bones: list[tuple[str, str]] = []
    mirror: list[tuple[str, str]] | None = None
    sigmas: dict[str, float] | list[float] | None = None
    upper: list[str] = []
    name: str = ""


def read(path: str | os.PathLike[str]) -> Skeleton:
    """The skeleton that a JSON file describes.

    It holds an object with `points`, a list of names in channel order, and may hold `bones` and `mirror`, lists of
    pairs of names (mirror pairs are by default those that differ by left and right); `sigmas`, a list, or an object by
    name; `upper`, names of the upper half, for half-body crops; and `name`, by default the file's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, has other entries, or contradicts itself.
    """
    path = Path(path)
    file: _File = read_json(path, _File, "a skeleton, an object with points, and maybe bones, mirror, sigmas, upper")
    points = tuple(file.points)
    mirror = mirror_pairs(points) if file.mirror is None else tuple(file.mirror)
    try:
        return Skeleton(file.name or path.stem, points, tuple(file.bones), mirror, _in_order(file), tuple(file.upper))
    except ValueError as error:
        raise ValueError(f"{path}: {short(str(error), 500)}") from None  # it repeats names of any length


def _in_order(file: _File) -> tuple[float, ...] | None:
    if not isinstance(file.sigmas, dict):
        return None if file.sigmas is None else tuple(file.sigmas)
    if file.sigmas.keys() != set(file.points):
        odd = sorted(file.sigmas.keys() ^ set(file.points))
        raise ValueError(f"sigmas must name every point and nothing else; compare {', '.join(odd)}")
    return tuple(file.sigmas[point] for point in file.points)


def with_sigmas(people: KeypointDataset, source: str) -> Skeleton:
    """The people's skeleton with OKS sigmas from the stated source; they are never invented.

    Args:
        people: whose skeleton; for a file of repeats, who was labelled first.
        source: "" keeps those of the annotations or the skeleton file, if any, and else leaves them out: PCK is
            then evaluated. "pck" always leaves them out. "published" takes those of points of the same names in
            published skeletons, the one that shares most points first. Anything else names an annotation file in which
            some of the same people (annotations of the same ids) were labelled again: see `estimate`.

    Raises:
        ValueError: a point has no published sigma, or too few repeats.
    """
    if source == "":
        return people.skeleton
    if source == "pck":
        return replace(people.skeleton, sigmas=None)
    if source == "published":
        return replace(people.skeleton, sigmas=_published(people.skeleton))
    return replace(people.skeleton, sigmas=estimate(people, sources.read_all([source], [""], people.skeleton)))


def people_for(
    network: Skeleton,
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of a COCO-format file, or of MPII's, to evaluate a network on: its points, in its order, by name.

    Points that the file lacks are unlabelled, and those that the network lacks are left out; where each lacks some of
    the other's, the people have the points that both name. OKS sigmas are the file's, or those published for its very
    points; where it has none, the network's.

    Args:
        network: what the network finds.
        annotations: the JSON file. One that does not name its points must have the network's, in its order.
        images: the folder of the images; see `coco.read`.
        allow_outside: see `coco.read`.

    Returns:
        The people; the file's own skeleton is under `channels`.

    Raises:
        FileNotFoundError, ValueError: see `coco.read`; or file and network have no point in common.
    """
    people = sources.read_all([annotations], [images or ""], replace(network, sigmas=None), allow_outside=allow_outside)
    file = people.channels or people.skeleton
    skeleton = network
    if not set(network.points) <= set(file.points) and not set(file.points) <= set(network.points):
        skeleton = common(network, file)
        people = people.mapped(skeleton)
    known = dict(zip(network.points, network.sigmas or ())) | dict(zip(file.points, file.sigmas or ()))
    sigmas = tuple(known[point] for point in skeleton.points) if known.keys() >= set(skeleton.points) else None
    return replace(people, skeleton=replace(skeleton, sigmas=sigmas), channels=file)


def estimate(first: KeypointDataset, second: KeypointDataset) -> tuple[float, ...]:
    """OKS sigmas from people who were labelled twice.

    As COCO's keypoint evaluation defines them, by the variance of redundant labels: sigma^2 is the mean over people of
    the variance of a point's labels over the person's area. With two labels at a distance of d, the unbiased variance
    is d^2 / 2.

    Args:
        first: N people.
        second: the same people again, by annotation id, with the same points; others are left out.

    Raises:
        ValueError: a point was labelled twice in fewer than `LEAST` people, or always at the same place.
    """
    _, one, two = np.intersect1d(first.annotation_id, second.annotation_id, return_indices=True)
    both = (first.visibility[one] > 0) & (second.visibility[two] > 0)
    if few := [p for p, n in zip(first.skeleton.points, both.sum(0)) if n < LEAST]:
        raise ValueError(
            f"{second.annotations}: sigmas need each point labelled again in {LEAST} people or more (annotations of "
            f"the same ids); there are fewer for {', '.join(few)}"
        )
    square = np.square(first.xy[one].astype(np.float64) - second.xy[two]).sum(-1) / (2 * first.area[one, None])
    sigmas = np.sqrt(np.where(both, square, 0).sum(0) / both.sum(0))
    if not sigmas.all():
        raise ValueError(f"{second.annotations}: the labels are those of {first.annotations}, not new ones")
    return tuple(float(sigma) for sigma in sigmas)


def _published(skeleton: Skeleton) -> tuple[float, ...]:
    known: dict[str, float] = {}
    ours = set(skeleton.points)
    for other in sorted(SKELETONS.values(), key=lambda s: -len(ours & set(s.points))):
        if other.sigmas is not None:
            known = dict(zip(other.points, other.sigmas)) | known
    if without := [point for point in skeleton.points if point not in known]:
        raise ValueError(
            f"no sigmas are published for points named {', '.join(without)}: give them in a skeleton file, name a "
            "file of repeated labels, or choose pck"
        )
    return tuple(known[point] for point in skeleton.points)
