"""A video in; an annotated video, JSON Lines and a table out, written as they come."""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import draw
from posewright.files import ready_folder, unwritten
from posewright.predict.frames import Frames, read_ahead
from posewright.predict.predictor import Predictor
from posewright.predict.video import Detector, Smoothing, VideoPoses, follow
from posewright.predict.video_file import VideoFile
from posewright.progress import bar, stop_signals

CSV_COLUMNS = ("frame", "time", "id", "point", "x", "y", "score")


@dataclass(slots=True)
class VideoSummary:
    """What came of a video.

    Attributes:
        source: what was read.
        frames: how many frames were read.
        length: the time of the last one, in seconds.
        people: how many ids there were.
        poses: how many poses in all.
        best: the highest score of a keypoint.
        seconds: it took.
        files: what was written.
        notes: what was broken, or could not be kept.
        stopped: the number of the signal that ended it early, or 0.
    """

    source: str
    frames: int = 0
    length: float = 0.0
    people: int = 0
    poses: int = 0
    best: float = 0.0
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: int = 0

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds else 0.0
        notes = "".join(f"{self.source}: {note}\n" for note in self.notes)
        stopped = "stopped: " if self.stopped else ""
        written = ", ".join(map(str, self.files))
        return (
            f"{notes}{self.source}: {stopped}{self.frames} frames, {self.length:.2f} s, {self.poses} poses of "
            f"{self.people} people ({rate:.1f} frames/s); {written}"
        )


def predict_video(
    frames: Frames,
    predictor: Predictor,
    out: Path,
    detector: Detector | None = None,
    *,
    every: int | None = None,
    smooth: Smoothing = "none",
    keypoint_threshold: float = 0.3,
    score_threshold: float = 0.0,
) -> VideoSummary:
    """Find, draw and write the poses in a video.

    Each frame is written when it is done: `<name>_pose.mp4`, with the sound of the video; `<name>_poses.jsonl`, one
    line {"frame", "time", "poses": [{"id", "score", "bbox", "keypoints"}]} per frame; and `<name>_poses.csv`, one row
    per keypoint under `CSV_COLUMNS`. What is there plays and can be read after an interruption or a kill. Where PyAV is
    not installed, there is no annotated video. Reading, the network, and drawing and writing run side by side.

    Args:
        frames: of the video, open.
        predictor: finds the poses.
        out: folder for the files.
        detector: finds the boxes; see `video`.
        every: see `video`.
        smooth: see `video`.
        keypoint_threshold: only keypoints scored above it are drawn.
        score_threshold: only poses scored at least this are drawn.

    Raises:
        ValueError: no frame can be decoded.
        OSError: the folder or a file in it cannot be written; what was written until then stays.
    """
    summary, ids = VideoSummary(frames.name), set[int]()
    start = time.monotonic()
    found = read_ahead(follow(frames, predictor, detector, every=every, smooth=smooth))
    with ExitStack() as open_files, bar(f"predicting {frames.stem}", "frames") as report, stop_signals() as asked:
        open_files.callback(found.close)
        first = next(found, None)
        if first is None:
            raise ValueError(f"{frames.name}: holds no frame")
        ready_folder((out / frames.stem).parent)
        tables = open_files.enter_context(_tables(out / f"{frames.stem}_poses", predictor, summary))
        drawing = open_files.enter_context(_drawing(out / f"{frames.stem}_pose.mp4", frames, first, summary))
        for each in itertools.chain([first], found):
            tables(each)
            if drawing is not None:
                shown = each.poses.instance_score >= score_threshold
                labels = [str(i) for i in each.ids[shown]]
                drawing.add(
                    each.time, draw.draw(each.frame, each.poses[shown], threshold=keypoint_threshold, labels=labels)
                )
            ids.update(each.ids.tolist())
            summary.frames, summary.length = each.number + 1, each.time
            summary.poses, summary.people = summary.poses + len(each.poses), len(ids)
            summary.best = max(summary.best, float(each.poses.score.max(initial=0.0)))
            report(summary.frames, max(frames.total or summary.frames + 1, summary.frames), f"{len(ids)} people")
            if asked:
                summary.stopped = asked[0]
                break
    summary.seconds = time.monotonic() - start
    summary.notes[:0] = frames.notes
    if not summary.poses:
        summary.notes.append("nothing was drawn: no boxes of people were found")
    elif summary.best <= keypoint_threshold:
        summary.notes.append(
            f"nothing but boxes was drawn: the best keypoint scores {summary.best:.2f}, and --keypoint-threshold is "
            f"{keypoint_threshold:g}"
        )
    return summary


@contextmanager
def _tables(path: Path, predictor: Predictor, summary: VideoSummary) -> Iterator[Any]:
    """A function that writes what was found in a frame, to the end of both tables."""
    lines, table = path.with_name(f"{path.name}.jsonl"), path.with_name(f"{path.name}.csv")
    summary.files += [lines, table]
    points = predictor.spec.skeleton.points
    with lines.open("wb", buffering=0) as json_file, table.open("wb", buffering=0) as csv_file:
        _append(csv_file, table, _rows_of_text([CSV_COLUMNS]))

        def write(found: VideoPoses) -> None:
            _append(json_file, lines, msgspec.json.encode(_line(found)) + b"\n")
            _append(csv_file, table, _rows_of_text(_rows(found, points)))

        yield write


def _append(file: FileIO, path: Path, data: bytes) -> None:
    """Write whole lines, or where the disk is full none of them."""
    place = file.tell()
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        file.truncate(place)
        raise unwritten(path, error, "what was written until then stays") from None


def _rows_of_text(rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@contextmanager
def _drawing(path: Path, frames: Frames, first: VideoPoses, summary: VideoSummary) -> Iterator[VideoFile | None]:
    """The annotated video, open; None where nothing here can write one."""
    try:
        drawing = VideoFile(path, first.frame.shape[:2], frames.rate, sound=frames.file)
    except (ModuleNotFoundError, ValueError) as error:
        summary.notes.append(f"no annotated video is written: {error}")
        yield None
        return
    summary.files.insert(0, path)
    try:
        yield drawing
    finally:
        drawing.close()
        summary.notes += drawing.notes


def _line(found: VideoPoses) -> dict[str, Any]:
    poses = [
        {
            "id": int(i),
            "score": round(float(pose_score), 4),
            **({} if probability is None else {"calibrated": round(float(probability), 4)}),
            "bbox": np.round(box, 2).tolist(),
            "keypoints": np.round(np.concatenate([xy, score[:, None]], 1), 4).ravel().tolist(),
        }
        for i, pose_score, probability, box, xy, score in zip(
            found.ids,
            found.poses.instance_score,
            [None] * len(found.poses) if found.poses.calibrated is None else found.poses.calibrated,
            found.poses.boxes.xywh,
            found.poses.xy,
            found.poses.score,
        )
    ]
    return {"frame": found.number, "time": round(found.time, 6), "poses": poses}


def _rows(found: VideoPoses, points: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    at = round(found.time, 6)
    for i, xy, score in zip(found.ids.tolist(), np.round(found.poses.xy, 4), np.round(found.poses.score, 4)):
        for point, (x, y), value in zip(points, xy.tolist(), score.tolist()):
            yield found.number, at, i, point, x, y, value
