"""SLEAP's labels (.slp, HDF5): the frames that people have labelled, of videos or of lists of images.

A frame of a video is named VIDEO/000012.png, for the images that are extracted from it. Predicted instances are lost.
Files before format 1.1 count pixels from the corner of the first one. What is written is format 1.2, with the images as
one list of images.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import short, write_bytes
from posewright.skeletons import mirror_pairs
from posewright.types import Skeleton

SUFFIX = ".slp"

_BODY, _SYMMETRY = 1, 2  # SLEAP's types of edges: bones, and pairs of left and right
_FRAME = [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"), ("instance_id_start", "u8"),
          ("instance_id_end", "u8")]  # fmt: skip
_INSTANCE = [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
             ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8"),
             ("tracking_score", "f4")]  # fmt: skip
_POINT = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
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


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write all images as labelled frames, those without anybody too; boxes and areas are lost.

    Raises:
        ImportError: h5py is missing.
        ValueError: there are no images.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path}: SLEAP's files need h5py: pip install posewright[formats]") from None
    skeleton, shown, lost = _assemble.pictures(found, points_only=True)
    if not shown:
        raise ValueError(f"{found.path}: no images, and SLEAP's labels are of a list of images; name a file with some")
    frames, instances, points = [], list[tuple[float, ...]](), list[tuple[float, float, bool, bool]]()
    for number, picture in enumerate(shown):
        frames.append((number, 0, number, len(instances), len(instances) + len(picture.instances)))
        for instance in picture.instances:
            start = len(points)
            for x, y, visibility in instance.keypoints.tolist():
                points.append((x, y, visibility == 2, False) if visibility else (np.nan, np.nan, False, False))
            instances.append((len(instances), 0, number, 0, -1, -1, 0.0, start, len(points), 0.0))
    names = [picture.image.file_name for picture in shown]
    video = {"filename": names[0], "backend": {"type": "ImageVideo", "filename": names[0], "filenames": names}}
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        metadata = file.create_group("metadata")
        metadata.attrs["format_id"] = 1.2
        metadata.attrs["json"] = np.bytes_(json.dumps(_metadata(skeleton)))
        file["videos_json"] = [np.bytes_(json.dumps(video))]
        for name in ("tracks_json", "suggestions_json"):
            file.create_dataset(name, (0,), "S1")
        for name, rows, kind in (
            ("frames", frames, _FRAME), ("instances", instances, _INSTANCE), ("points", points, _POINT),
            ("pred_points", [], [*_POINT, ("score", "f8")]),
        ):  # fmt: skip
            file[name] = np.array(rows, kind)
    write_bytes(path, target.getvalue())
    lost.update(_assemble.lost_fields(found, shown, "boxes", "areas", "classes"))
    return dict(lost)


def _metadata(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as SLEAP's JSON has it, in the words of networkx and jsonpickle."""
    kinds = {n: {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [n]}]} for n in (_BODY, _SYMMETRY)}
    place = {point: n for n, point in enumerate(skeleton.points)}
    edges = [(pair, _BODY) for pair in skeleton.bones] + [(pair, _SYMMETRY) for pair in skeleton.mirror]
    links = [
        {"edge_insert_idx": n, "key": 0, "source": place[a], "target": place[b], "type": kinds[kind]}
        for n, ((a, b), kind) in enumerate(edges)
    ]
    graph = {"name": skeleton.name, "num_edges_inserted": len(skeleton.bones)}
    nodes = [{"id": n} for n in range(len(place))]
    entry = {"directed": True, "graph": graph, "links": links, "multigraph": True, "nodes": nodes}
    return {
        "version": "2.0.0", "skeletons": [entry], "nodes": [{"name": p, "weight": 1.0} for p in skeleton.points],
        "videos": [], "tracks": [], "suggestions": [], "negative_anchors": {}, "provenance": {},
    }  # fmt: skip


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
        return _within([PurePosixPath(str(name).replace("\\", "/")) for name in filenames], frame)
    source = str(backend.get("filename") or videos[video].get("filename") or f"video{video}").replace("\\", "/")
    return f"{PurePosixPath(source).stem or f'video{video}'}/{frame:06d}.png"


def _within(names: list[PurePosixPath], frame: int) -> str:
    """An image's name; of absolute ones, which are of another machine, what is below the folder that all share."""
    if not any(name.is_absolute() or ":" in name.parts[0] for name in names):
        return str(names[frame])
    shared = [set(folders) for folders in zip(*(name.parts[:-1] for name in names))]
    depth = next((n for n, folders in enumerate(shared) if len(folders) > 1), len(shared))
    return "/".join(names[frame].parts[depth:])
