"""SLEAP's labels (.slp, HDF5): the frames that people have labelled, of videos or of lists of images.

A frame of a video is named VIDEO/000012.png, for the images that are extracted from it. Predicted instances are lost.
Files before format 1.1 count pixels from the corner of the first one.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import short
from posewright.skeletons import mirror_pairs
from posewright.types import Skeleton

_BODY, _SYMMETRY = 1, 2  # SLEAP's types of edges: bones, and pairs of left and right
_CENTRED = 1.1  # the format from which (0, 0) is the first pixel's centre


def is_format(path: Path) -> bool:
    """Whether its name ends in .slp."""
    return path.suffix.lower() == ".slp"


def read(path: Path) -> Annotated:
    """All labelled frames; see `Format.read`."""
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path}: SLEAP's files need h5py: pip install posewright[formats]") from None
    try:
        with h5py.File(path) as opened:
            file: Any = opened  # what its entries are is checked by using them
            metadata = json.loads(bytes(file["metadata"].attrs["json"]))
            videos = [json.loads(bytes(entry)) for entry in file["videos_json"][()]]
            tables = {name: file[name][()] for name in ("frames", "instances", "points")}
            corner = 0.5 if float(file["metadata"].attrs.get("format_id", 1.0)) < _CENTRED else 0.0
        return _annotated(path, metadata, videos, tables, corner)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Exception as error:  # h5py raises errors of any type on damaged files
        raise ValueError(f"{path}: expected SLEAP's labels: {short(f'{type(error).__name__} {error}')}") from None


def _annotated(path: Path, metadata: Any, videos: list[Any], tables: dict[str, np.ndarray], corner: float) -> Annotated:
    frames, every, points = tables["frames"], tables["instances"], tables["points"]
    skeleton = _skeleton(metadata)
    lost: Counter[str] = Counter()
    images, instances = [], list[Instance]()
    for frame in frames:
        rows = range(int(frame["instance_id_start"]), int(frame["instance_id_end"]))
        images.append(coco_format.Image(len(images) + 1, _name(videos, int(frame["video"]), int(frame["frame_idx"]))))
        for row in rows:
            if every[row]["instance_type"]:
                lost["predicted instances"] += 1
                continue
            start, end = int(every[row]["point_id_start"]), int(every[row]["point_id_end"])
            if end - start != skeleton.num_keypoints:
                raise ValueError(f"instance {row} has {end - start} points, the skeleton {skeleton.num_keypoints}")
            shown = points[start:end]
            xy = np.column_stack([shown["x"], shown["y"]]).astype(np.float64) - corner
            known = np.all(np.isfinite(xy), axis=1)
            state = np.where(known, np.where(shown["visible"], 2, 1), 0)
            triples = np.column_stack([np.where(known[:, None], xy, 0), state])
            instances.append(Instance(len(images) - 1, triples))
    return _assemble.annotated(path, [_assemble.category(skeleton, name="animal")], images, instances, dict(lost))


def _skeleton(metadata: Any) -> Skeleton:
    """The first skeleton; its nodes are numbers of the names that all skeletons share."""
    names = [str(node["name"]) for node in metadata["nodes"]]
    entry = metadata["skeletons"][0]
    points = tuple(names[int(node["id"])] for node in entry["nodes"])
    edges: dict[int, list[tuple[str, str]]] = {_BODY: [], _SYMMETRY: []}
    for link in entry["links"]:
        kind = link["type"]
        number = kind["py/reduce"][1]["py/tuple"][0] if "py/reduce" in kind else kind["py/id"]
        edges[int(number)].append((names[int(link["source"])], names[int(link["target"])]))
    pairs = {tuple(sorted(pair)) for pair in edges[_SYMMETRY]}  # SLEAP may have both directions
    mirror = tuple(sorted((a, b) for a, b in pairs)) or mirror_pairs(points)
    return Skeleton(str(entry.get("graph", {}).get("name", "sleap")), points, tuple(edges[_BODY]), mirror)


def _name(videos: list[Any], video: int, frame: int) -> str:
    """The image of a frame: that of a list of images, or one named by the video and the frame."""
    backend = videos[video]["backend"]
    if filenames := backend.get("filenames"):
        return PurePosixPath(str(filenames[frame]).replace("\\", "/")).name
    source = str(backend.get("filename") or videos[video].get("filename") or f"video{video}").replace("\\", "/")
    return f"{PurePosixPath(source).stem or f'video{video}'}/{frame:06d}.png"
