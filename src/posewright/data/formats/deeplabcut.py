"""DeepLabCut projects (folder or config.yaml) and CollectedData tables (CSV, HDF5), of one animal or several.

Mathis et al., Nature Neuroscience 2018. A table has a row per frame. Its columns are named in three rows, scorer, body
part and coordinate, with a row of individuals after the scorer where there are several animals; the frame is named in
the first column, or in the first three ("labeled-data", video, image). Horse-10 is such a project.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble, _hdf
from posewright.files import short, write_bytes, write_text
from posewright.skeletons import mirror_pairs
from posewright.types import Skeleton

SUFFIX = ""
"""A project is a folder."""

SCORER = "posewright"
"""The scorer of tables that are written."""


class Table(NamedTuple):
    """A table of R frames and D columns.

    Attributes:
        columns: of each column the individual ("" without any), body part and coordinate (x, y or likelihood).
        frames: of each row the frame's name.
        values: [R, D] pixels, or likelihoods; NaN where not labelled.
    """

    columns: list[tuple[str, str, str]]
    frames: list[str]
    values: np.ndarray


class Project(NamedTuple):
    """What of a config.yaml says how to read its tables."""

    parts: tuple[str, ...] = ()
    bones: tuple[tuple[str, str], ...] = ()


def is_format(path: Path) -> bool:
    """Whether it is a project's folder, its config.yaml, or a table."""
    if path.is_dir():
        return (path / "config.yaml").is_file() and (path / "labeled-data").is_dir()
    if path.suffix.lower() == ".csv":
        return _assemble.head(path).startswith("scorer,")
    return path.suffix.lower() in (".h5", ".hdf5") or (path.name == "config.yaml" and "parts:" in _assemble.head(path))


def read(path: Path) -> Annotated:
    """The frames of a project, of each video's CSV where there is one and else its HDF5, or of one table.

    Points are labelled where they have coordinates; none is known to be hidden. See `Format.read` for the errors.
    """
    if not path.is_dir() and path.name != "config.yaml":
        table = read_table(path)
        beside = table._replace(frames=[frame.rpartition("/")[2] for frame in table.frames])
        return _annotated(path, [beside], Project())
    config = path / "config.yaml" if path.is_dir() else path
    project, folders = _project(config), sorted(p for p in config.parent.glob("labeled-data/*") if p.is_dir())
    tables = [(sorted(f.glob("CollectedData*.csv")) or sorted(f.glob("CollectedData*.h5")))[:1] for f in folders]
    if not any(tables):
        raise ValueError(f"{config}: no CollectedData table in the folders of labeled-data; label some frames")
    return _annotated(config, [read_table(table) for found in tables for table in found], project)


def read_table(path: Path) -> Table:
    """A CollectedData table, CSV or HDF5.

    Raises:
        FileNotFoundError, ImportError, ValueError: see `Format.read`.
    """
    if path.suffix.lower() != ".csv":
        names, frames, values = _hdf.read_frame(path)
        return Table([_column(path, n) for n in names], ["/".join(frame) for frame in frames], values)
    try:
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a DeepLabCut table, a CSV: {short(str(error))}") from None
    heads = next((n for n, row in enumerate(rows, 1) if row[:1] == ["coords"]), 0)
    if (rows[:1] and (heads not in (3, 4) or rows[0][:1] != ["scorer"])) or not rows:
        raise ValueError(f"{path}: line 1: expected rows of names: scorer, maybe individuals, bodyparts, coords")
    index = 3 if rows[0][1:3] == ["", ""] else 1
    for line, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}: line {line}: expected {len(rows[0])} cells, as in line 1, got {len(row)}")
    columns = [_column(path, names) for names in zip(*(row[index:] for row in rows[:heads]))]
    values = np.full((len(rows) - heads, len(columns)), np.nan)
    for n, row in enumerate(rows[heads:]):
        for column, cell in enumerate(row[index:]):
            if cell.strip().lower() not in ("", "nan"):
                where = f"{path}: line {n + heads + 1}, {short(columns[column][1], 60)}"
                values[n, column] = _assemble.number(cell, where)
    return Table(columns, ["/".join(row[:index]).replace("\\", "/") for row in rows[heads:]], values)


def place(name: str) -> str:
    """Where the image of that name is: labeled-data/VIDEO/IMAGE, with the folder as the video."""
    folder, _, image = name.replace("\\", "/").rpartition("/")
    video = folder.removeprefix("labeled-data/").strip("/").replace("/", "_") or "images"
    return f"labeled-data/{video}/{image}"


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write a project: config.yaml, and a table for each folder of images, as CSV and, with the extra, as HDF5.

    Frames are named labeled-data/FOLDER/IMAGE; the images are not copied.
    """
    skeleton, shown, lost = _assemble.pictures(found, points_only=True)
    _assemble.label_files(found, place)
    most = max((len(p.instances) for p in shown), default=1)
    individuals = [f"individual{n}" for n in range(1, most + 1)] if most > 1 else [""]
    videos: dict[str, list[tuple[str, _assemble.Picture]]] = {}
    for picture in sorted(shown, key=lambda p: _assemble.natural(p.image.file_name)):
        _, video, name = place(picture.image.file_name).split("/")
        videos.setdefault(video, []).append((name, picture))
    for video, frames in videos.items():
        values = np.full((len(frames), len(individuals), skeleton.num_keypoints, 2), np.nan)
        for row, (_, picture) in enumerate(frames):
            for n, instance in enumerate(picture.instances):
                labelled = instance.keypoints[:, 2] > 0
                values[row, n, labelled] = instance.keypoints[labelled, :2]
        columns = [(i, p, c) for i in individuals for p in skeleton.points for c in ("x", "y")]
        table = Table(columns, [f"labeled-data/{video}/{name}" for name, _ in frames], values.reshape(len(frames), -1))
        write_table(table, path / "labeled-data" / video / f"CollectedData_{SCORER}.csv")
    write_text(path / "config.yaml", _config_text(skeleton, individuals, list(videos)))
    lost.update(_assemble.lost_fields(found, shown, "boxes", "areas", "hidden", "classes"))
    return dict(lost)


def write_table(table: Table, path: Path) -> None:
    """Write a table as CSV, and beside it as HDF5 where pandas and PyTables are installed.

    Frames of three parts (labeled-data, video, image) become three columns, as current DeepLabCut writes them.
    """
    frames = [frame.split("/") for frame in table.frames]
    if not frames or any(len(parts) != 3 for parts in frames):
        frames = [[frame] for frame in table.frames]
    individuals, parts, coords = zip(*table.columns)
    heads = {"scorer": [SCORER] * len(parts), "individuals": individuals, "bodyparts": parts, "coords": coords}
    if not any(individuals):
        del heads["individuals"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    width = len(frames[0]) if frames else 1
    writer.writerows([name, *[""] * (width - 1), *cells] for name, cells in heads.items())
    writer.writerows([*f, *("" if v != v else repr(v) for v in row)] for f, row in zip(frames, table.values.tolist()))
    write_text(path, text.getvalue())
    if frames and (data := _hdf.frame_bytes(list(heads), list(zip(*heads.values())), frames, table.values)):
        write_bytes(path.with_suffix(".h5"), data)


def predictions(results: Sequence[dict[str, Any]], names: dict[int, str], points: Sequence[str]) -> Table:
    """COCO keypoint results as a table of x, y and likelihood, as DeepLabCut's own analysis gives it.

    Args:
        results: `image_id`, `keypoints` and `score` of each pose; several in one image are individuals, best first.
        names: image id -> the frame's name; images without a result have empty rows.
        points: names of the K points.
    """
    by_image: dict[int, list[dict[str, Any]]] = {number: [] for number in names}
    for result in results:
        by_image[result["image_id"]].append(result)
    most = max(map(len, by_image.values()), default=1)
    individuals = [f"individual{n}" for n in range(1, most + 1)] if most > 1 else [""]
    values = np.full((len(names), len(individuals), len(points), 3), np.nan)
    for row, found in enumerate(by_image.values()):
        for n, result in enumerate(sorted(found, key=lambda r: -r["score"])):
            values[row, n] = np.reshape(result["keypoints"], (-1, 3))
    columns = [(i, p, c) for i in individuals for p in points for c in ("x", "y", "likelihood")]
    return Table(columns, list(names.values()), values.reshape(len(names), -1))


def _column(path: Path, names: Sequence[str]) -> tuple[str, str, str]:
    """Individual, body part and coordinate from the names of a column, of which the scorer comes first."""
    if len(names) not in (3, 4) or names[-1] not in ("x", "y", "likelihood") or not names[-2]:
        raise ValueError(
            f"{path}: line 1: expected columns named by scorer, maybe individual, body part and x, y or likelihood; "
            f"got {short(str(tuple(names)))}"
        )
    return (names[1] if len(names) == 4 else "", names[-2], names[-1])


def _annotated(path: Path, tables: list[Table], project: Project) -> Annotated:
    """All frames of the tables; parts that the project does not list for its animals are counted as lost."""
    parts = project.parts or tuple(dict.fromkeys(part for _, part, _ in tables[0].columns))
    try:
        skeleton = Skeleton(path.parent.name or "animal", parts, project.bones, mirror_pairs(parts))
    except ValueError as error:
        raise ValueError(f"{path}: {short(str(error))}") from None
    images: list[coco_format.Image] = []
    instances: list[_assemble.Instance] = []
    lost: Counter[str] = Counter()
    for table in tables:
        place = {column: n for n, column in enumerate(table.columns)}
        individuals = list(dict.fromkeys(individual for individual, _, _ in table.columns))
        other = [c for c in table.columns if c[1] not in parts and c[2] == "x"]
        values = np.column_stack([table.values, np.full(len(table.frames), np.nan)])  # the last for what has no column
        lost["points of parts that belong to no animal"] += int(np.isfinite(values[:, [place[c] for c in other]]).sum())
        for frame, row in zip(table.frames, values.tolist()):
            images.append(coco_format.Image(len(images) + 1, frame))
            for individual in individuals:
                xy = np.array([[row[place.get((individual, p, c), -1)] for c in ("x", "y")] for p in parts])
                known = np.all(np.isfinite(xy), axis=1)
                triples = np.column_stack([np.where(known[:, None], xy, 0), 2 * known])
                instances.append(_assemble.Instance(len(images) - 1, triples))
    return _assemble.annotated(path, [_assemble.category(skeleton, name="animal")], images, instances, dict(+lost))


def _project(path: Path) -> Project:
    wanted = "a DeepLabCut configuration with a list of bodyparts"
    config = _assemble.read_yaml(path, wanted)
    several = config.get("multianimalproject")
    parts = config.get("multianimalbodyparts" if several else "bodyparts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: expected {wanted}, got {short(str(parts), 100)}")
    bones = config.get("skeleton")
    pairs = [tuple(b) for b in bones if isinstance(b, list)] if isinstance(bones, list) else []
    return Project(tuple(parts), tuple((a, b) for a, b in (p for p in pairs if len(p) == 2) if {a, b} <= set(parts)))


def _config_text(skeleton: Skeleton, individuals: list[str], videos: list[str]) -> str:
    """A config.yaml that DeepLabCut opens; JSON's strings and lists are YAML's too."""
    import msgspec

    def listed(values: Sequence[Any]) -> str:
        return msgspec.json.encode(list(values)).decode()

    several = len(individuals) > 1
    return f"""Task: {SCORER}
scorer: {SCORER}
date: Jan1
multianimalproject: {str(several).lower()}
identity: {"false" if several else ""}
project_path: .
engine: pytorch
video_sets: {msgspec.json.encode({f"{v}.mp4": {"crop": "0, 640, 0, 480"} for v in videos}).decode()}
individuals: {listed(individuals if several else [])}
uniquebodyparts: []
multianimalbodyparts: {listed(skeleton.points if several else [])}
bodyparts: {'"MULTI!"' if several else listed(skeleton.points)}
skeleton: {listed([list(b) for b in skeleton.bones])}
skeleton_color: black
pcutoff: 0.6
dotsize: 8
alphavalue: 0.7
colormap: jet
start: 0
stop: 1
numframes2pick: 20
TrainingFraction: [0.95]
iteration: 0
default_net_type: resnet_50
default_augmenter: imgaug
snapshotindex: -1
batch_size: 8
cropping: false
"""
