"""Annotations without the labels that a network contradicts: left and right swapped back, lost points left out.

    python benchmarks/clean_labels.py data/lspet/train.json --weights default --out data/lspet/train_clean.json

After Johnson and Everingham's idea (CVPR 2011) that labels of many hands are mended by a model of the pose, with the
views of CC-SSL: what the network says is the mean over turned, scaled and recoloured views of each person. A pair whose
two labels each lie where the other is found is swapped. A label that is far from a point found with confidence is left
out, as nobody knows which of the two is wrong. Distances are in torsos, those found, but at least a quarter of the box.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from posewright.data import sources
from posewright.data.dataset import KeypointDataset
from posewright.evaluate.distances import TORSO
from posewright.files import read_json, write_json
from posewright.models import find
from posewright.train.adapt import pseudo_labels
from posewright.train.config import PseudoLabels
from posewright.weights import checkpoint, hub

VIEWS = PseudoLabels(views=6, scale=0.2, rotation=60, recoloured=1, temporal=False)
CROSSED, APART, FAR, SURE = 0.2, 0.4, 0.5, 0.35


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Labels [N, K, 2] after the swaps, the pairs that were swapped [N, K], and the points to leave out [N, K]."""

    xy: np.ndarray
    swapped: np.ndarray
    lost: np.ndarray


def cleaned(people: KeypointDataset, found: np.ndarray, confidence: np.ndarray) -> Cleaned:
    """Labels beside what was found [N, K, 2] with its confidence [N, K]."""
    skeleton, labelled = people.skeleton, people.visibility > 0
    shoulder, hip = (skeleton.points.index(name) for name in TORSO)
    torso = np.linalg.norm(found[:, shoulder] - found[:, hip], axis=1)
    unit = np.maximum(torso, 0.25 * np.sqrt(people.box[:, 2:].prod(1)))[:, None]
    xy, other = people.xy.astype(np.float64), skeleton.flip_index
    off = np.linalg.norm(found - xy, axis=2) / unit
    crossed = np.linalg.norm(found - xy[:, other], axis=2) / unit
    both = labelled & labelled[:, other] & (other != np.arange(len(other)))
    swapped = both & (np.maximum(crossed, crossed[:, other]) < CROSSED) & (np.maximum(off, off[:, other]) > APART)
    xy = np.where(swapped[..., None], xy[:, other], xy)
    far = np.linalg.norm(found - xy, axis=2) / unit > FAR
    return Cleaned(xy, swapped, labelled & far & (confidence > SURE))


@dataclass(frozen=True, slots=True)
class Look:
    """Whose look, at whom, and from which views; `images` is the folder, or "" for that of the annotations."""

    annotations: Path
    images: str
    weights: str
    model: str
    views: PseudoLabels
    parts: int


def look(at: Look, part: int) -> tuple[np.ndarray, np.ndarray]:
    """What the weights find of every `parts`-th person [n, K, 2], and how sure they are [n, K]."""
    torch.set_num_threads(1)
    people = sources.read_all([at.annotations], [at.images]).subset(slice(part, None, at.parts))
    spec = find(at.model).with_skeleton(people.skeleton)
    net = spec.build()
    checkpoint.load(net, hub.resolve(at.weights), spec)
    with torch.autocast("cpu", torch.bfloat16):
        return pseudo_labels(spec, net.eval(), people, at.views, part)


def look_at_all(at: Look) -> tuple[KeypointDataset, np.ndarray, np.ndarray]:
    """The people, what is found of them [N, K, 2] and how surely [N, K], by as many processes as there are parts."""
    people = sources.read_all([at.annotations], [at.images])
    found, confidence = np.zeros(people.xy.shape), np.zeros(people.visibility.shape)
    with get_context("spawn").Pool(at.parts) as pool:
        for part, (xy, sure) in enumerate(pool.map(partial(look, at), range(at.parts))):
            found[part :: at.parts], confidence[part :: at.parts] = xy, sure
    return people, found, confidence


def main() -> None:
    """Look, clean, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--model", default="litebaseline-192x192")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--processes", type=int, default=2, help="other numbers of them draw other views")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    at = Look(options.annotations, "", options.weights, options.model, VIEWS, options.processes)
    people, found, confidence = look_at_all(at)
    result = cleaned(people, found, confidence)
    content = read_json(options.annotations, dict, "COCO annotations")
    entries = {entry["id"]: entry for entry in content["annotations"]}
    for number, xy, visibility, lost in zip(people.annotation_id.tolist(), result.xy, people.visibility, result.lost):
        triples = np.where((visibility > 0)[:, None] & ~lost[:, None], np.column_stack([xy, visibility]), 0.0)
        entries[number] |= {
            "keypoints": triples.round(2).ravel().tolist(),
            "num_keypoints": int((triples[:, 2] > 0).sum()),
        }
    write_json(options.out, content)
    print(
        f"{result.swapped.sum() // 2} pairs swapped and {result.lost.sum()} points left out of "
        f"{(people.visibility > 0).sum()}: {options.out}"
    )


if __name__ == "__main__":
    main()
