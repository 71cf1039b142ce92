"""Poses in videos: boxes from a detector now and then and from the last poses between, ids, and steady points."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from posewright.predict.boxes import suppressed, two_pass_boxes
from posewright.predict.frames import Frames, VideoSource, open_frames, read_ahead
from posewright.predict.predictor import Predictor, load
from posewright.predict.track import SURE, OneEuro, Tracker, savitzky_golay
from posewright.types import Boxes, Poses

Detector: TypeAlias = Callable[[np.ndarray], Boxes]

Smoothing: TypeAlias = Literal["none", "one-euro", "savitzky-golay"]

_SAME = 0.9
"""Boxes from tracks that overlap by more are of one person."""


@dataclass(frozen=True, slots=True)
class VideoPoses:
    """The poses in one frame; unpacks into `frame, time, poses`.

    Attributes:
        frame: [H, W, 3] uint8 RGB, upright.
        time: seconds since the start.
        poses: N of them.
        ids: [N] int64, the same for the same person from frame to frame, from 1.
        number: the frame's place in the video, from 0.
    """

    frame: np.ndarray = field(repr=False)
    time: float
    poses: Poses
    ids: np.ndarray
    number: int

    def __iter__(self) -> Iterator[np.ndarray | float | Poses]:
        return iter((self.frame, self.time, self.poses))


def video(
    source: VideoSource,
    predictor: Predictor | None = None,
    detector: Detector | None = None,
    *,
    every: int | None = None,
    smooth: Smoothing = "none",
    rate: float = 25.0,
) -> Iterator[VideoPoses]:
    """The poses in each frame of a video, as it is read: `for frame, time, poses in pw.video("x.mp4")`.

    Memory does not grow with the video's length. Boxes come from the detector in every `every`-th frame and whenever
    nobody is followed, and from the last poses, moved on, in the frames between.

    Args:
        source: a video file or the address of a stream; a camera's number; a folder or pattern of frames.
        predictor: finds the poses; None loads the default model.
        detector: finds the boxes; None takes the video for one of one person, found by two-pass inference.
        every: frames from one call of the detector to the next, 1 or more; None takes a third of a second.
        smooth: "one-euro" steadies the points of each track as they come (`track.OneEuro`); "savitzky-golay" looks a
            fifth of a second ahead, too (`track.savitzky_golay`); "none" leaves them as found.
        rate: frames per second of a folder of frames.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, none of its frames can be decoded, there is no such camera, or a setting is out
            of its range.
        ModuleNotFoundError: SciPy is not installed.
    """
    return follow(open_frames(source, rate=rate), predictor or load(), detector, every=every, smooth=smooth)


def follow(
    frames: Frames,
    predictor: Predictor,
    detector: Detector | None,
    *,
    every: int | None = None,
    smooth: Smoothing = "none",
) -> Iterator[VideoPoses]:
    """The poses in frames that are open; see `video`."""
    every = max(1, round(frames.rate / 3)) if every is None else every
    if every < 1:
        raise ValueError(f"every must be at least 1 frame, got {every}")
    if smooth not in get_args(Smoothing):
        raise ValueError(f"smooth must be one of {', '.join(get_args(Smoothing))}, got {smooth!r}")
    found = _follow(frames, predictor, detector or two_pass_boxes(predictor), every, smooth)
    return _smoothed(found) if smooth == "savitzky-golay" else found


def _follow(
    frames: Frames, predictor: Predictor, detector: Detector, every: int, smooth: Smoothing
) -> Iterator[VideoPoses]:
    tracker, steady, since = Tracker(predictor.spec.skeleton), _Steady(), every
    for frame in read_ahead(frames.frames, latest=frames.live):
        expected = tracker.expected_boxes(frame.time)
        detect = since >= every or not len(expected)
        since = 1 if detect else since + 1
        boxes = detector(frame.image) if detect else _inside(suppressed(expected, _SAME), frame.image)
        poses = predictor(frame.image, boxes)
        if not detect:  # those without enough sure points have left, or are hidden
            enough = min(4, max(1, poses.skeleton.num_keypoints // 2))
            poses = poses[(poses.score > SURE).sum(1) >= enough]
        ids = tracker.update(frame.time, poses, detected=detect)
        if smooth == "one-euro":
            poses = replace(poses, xy=steady(frame.time, ids, poses))
        yield VideoPoses(frame.image, frame.time, poses, ids, frame.number)


def _smoothed(found: Iterator[VideoPoses], window: float = 0.4) -> Iterator[VideoPoses]:
    """The poses, each from the frames up to half a window (seconds) before and after; only these are held."""
    held: deque[VideoPoses] = deque()
    place = 0  # in `held`, of the next to yield
    for newest in found:
        held.append(newest)
        while held[place].time + window / 2 <= newest.time:
            yield _from_around(held, place)
            place += 1
            while held[0].time < held[place].time - window / 2:
                held.popleft()
                place -= 1
    for n in range(place, len(held)):
        yield _from_around(held, n)


def _from_around(held: Sequence[VideoPoses], place: int) -> VideoPoses:
    """The poses of one frame, each track's points smoothed over the frames held."""
    middle = held[place]
    xy = middle.poses.xy.copy()
    for n, i in enumerate(middle.ids.tolist()):
        track = [(v, int(np.flatnonzero(v.ids == i)[0])) for v in held if i in v.ids]
        times = np.array([v.time for v, _ in track])
        points, score = (np.array([getattr(v.poses, name)[k] for v, k in track]) for name in ("xy", "score"))
        only = [v is middle for v, _ in track].index(True)
        xy[n] = savitzky_golay(times, points, score=score, only=only)[only]
    return replace(middle, poses=replace(middle.poses, xy=xy))


class _Steady:
    """A One-Euro filter for each track that was there in the last second."""

    def __init__(self) -> None:
        self._filters: dict[int, tuple[float, OneEuro]] = {}

    def __call__(self, time: float, ids: np.ndarray, poses: Poses) -> np.ndarray:
        """The points [N, K, 2], smoothed."""
        self._filters = {i: (last, f) for i, (last, f) in self._filters.items() if time - last < 1}
        out = poses.xy.copy()
        for n, i in enumerate(ids.tolist()):
            one = self._filters[i][1] if i in self._filters else OneEuro()
            out[n] = one(time, poses.xy[n], float(np.sqrt(poses.boxes.xywh[n, 2:].prod())))
            self._filters[i] = (time, one)
        return out


def _inside(boxes: Boxes, image: np.ndarray) -> Boxes:
    """Boxes cut off at the image's edges; those outside are left out."""
    near = np.clip(boxes.xywh[:, :2], 0, None)
    far = np.minimum(boxes.xywh[:, :2] + boxes.xywh[:, 2:], (image.shape[1], image.shape[0]))
    kept = (far - near > 2).all(1)
    return Boxes(np.concatenate([near, far - near], 1)[kept], boxes.score[kept], boxes.source)
