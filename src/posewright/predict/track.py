"""Ids and steady poses from frame to frame: which pose is whose, and where its points really are.

Times are seconds and frames may come at any spacing: every rule here is in seconds, none in frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from posewright import geometry
from posewright.types import Boxes, Poses, Skeleton

SURE = 0.15
"""A point scored above it is taken for found."""

_SIGMA = 0.08
"""Spread of a point, in square roots of its box's area, where a skeleton has no OKS sigmas: about that of a hip."""


@dataclass
class _Track:
    """One person or animal being followed.

    `state` is the box as (centre x, centre y, log width, log height) and its change per second, `covariance` how sure
    that is; both by a Kalman filter with constant velocity.
    """

    id: int
    time: float
    seen_at: float
    state: np.ndarray
    covariance: np.ndarray
    xy: np.ndarray
    score: np.ndarray
    box_score: float

    def forecast(self, time: float, drift: float) -> tuple[np.ndarray, np.ndarray]:
        """State and covariance at a later time; `drift` is the acceleration in box sides per second squared."""
        gap = max(time - self.time, 0.0)
        move = np.eye(8)
        move[:4, 4:] = gap * np.eye(4)
        side = math.exp(0.5 * (self.state[2] + self.state[3]))
        power = (drift * np.array([side, side, 0.3, 0.3])) ** 2
        noise = np.zeros((8, 8))
        for axis in range(4):
            pair = np.ix_((axis, axis + 4), (axis, axis + 4))
            noise[pair] = power[axis] * np.array([[gap**4 / 4, gap**3 / 2], [gap**3 / 2, gap**2]])
        return move @ self.state, move @ self.covariance @ move.T + noise

    def carried(self, xy: np.ndarray, score: np.ndarray) -> np.ndarray | None:
        """The last box, moved as the points that are sure now and were so then; None where they are too few to tell."""
        sure = (score > SURE) & (self.score > SURE)
        if sure.sum() < 2:
            return None
        centre = self.state[:2] + np.median(xy[sure] - self.xy[sure], axis=0)
        size = np.exp(self.state[2:4])
        return np.concatenate([centre - size / 2, size])

    def correct(self, time: float, box: np.ndarray, drift: float) -> None:
        """Take a box that was measured at a time."""
        state, covariance = self.forecast(time, drift)
        measured = _box_state(box)
        side = math.exp(0.5 * (measured[2] + measured[3]))
        error = np.diag((np.array([0.05 * side, 0.05 * side, 0.1, 0.1])) ** 2)
        gain = covariance[:, :4] @ np.linalg.inv(covariance[:4, :4] + error)
        self.state = state + gain @ (measured - state[:4])
        self.covariance = covariance - gain @ covariance[:4]
        self.time = self.seen_at = time


@dataclass
class Tracker:
    """Gives poses the same id from frame to frame: a constant-velocity Kalman filter and the Hungarian assignment.

    Similarity of a track and a pose is the mean of the IoU of their boxes and the OKS of their points (weighted by
    score), the track moved to where it is expected to be. (OKS matching: Xiao et al., "Simple Baselines for Human Pose
    Estimation and Tracking", arXiv 1804.06208, section 3; the filter: Bewley et al., SORT, arXiv 1602.00763.)

    Attributes:
        skeleton: of the poses.
        min_similarity: below it a pose is not a track's, 0..1.
        max_gap: seconds that a track may be missing and still be found again.
        drift: how fast velocities change, in box sides per second squared.
    """

    skeleton: Skeleton
    min_similarity: float = 0.2
    max_gap: float = 1.0
    drift: float = 4.0
    _tracks: list[_Track] = field(default_factory=list, repr=False)
    _next: int = 1
    _time: float = -math.inf

    def update(self, time: float, poses: Poses, *, detected: bool = True) -> np.ndarray:
        """Ids [N] of the poses of the next frame, 1 and up; a pose that is nobody's gets a new one.

        Args:
            time: of the frame, in seconds.
            poses: found in it.
            detected: whether their boxes were measured in this frame; if not, as those of `expected_boxes`, the points
                tell how a track has moved.

        Raises:
            ModuleNotFoundError: SciPy is not installed.
            ValueError: the time does not rise, or the poses are of another skeleton.
        """
        try:
            from scipy.optimize import linear_sum_assignment
        except ModuleNotFoundError:
            raise ModuleNotFoundError("tracking needs SciPy; install it with: pip install posewright[video]") from None
        if not time > self._time:
            raise ValueError(f"times of frames must rise: got {time:g} s after {self._time:g} s")
        if poses.skeleton.points != self.skeleton.points:
            raise ValueError(f"expected poses of {self.skeleton.name!r}, got {poses.skeleton.name!r}")
        self._time = time
        self._tracks = [t for t in self._tracks if time - t.seen_at <= self.max_gap]
        similarity = self._similarity(time, poses)
        ids = np.zeros(len(poses), np.int64)
        for row, column in zip(*linear_sum_assignment(-similarity)):
            if similarity[row, column] >= self.min_similarity:
                track = self._tracks[row]
                box = None if detected else track.carried(poses.xy[column], poses.score[column])
                track.correct(time, poses.boxes.xywh[column] if box is None else box, self.drift)
                track.xy, track.score = poses.xy[column], poses.score[column]
                track.box_score = float(poses.boxes.score[column])
                ids[column] = track.id
        for column in np.flatnonzero(ids == 0):
            ids[column] = self._next
            self._tracks.append(self._started(time, poses, int(column)))
            self._next += 1
        return ids

    def expected_boxes(self, time: float) -> Boxes:
        """Where the tracks that were there in the last frame are expected: boxes for a frame without a detector."""
        last = [t for t in self._tracks if t.seen_at == self._time]
        states = np.array([t.forecast(time, self.drift)[0][:4] for t in last]).reshape(-1, 4)
        size = np.exp(states[:, 2:])
        score = np.array([t.box_score for t in last])
        return Boxes(np.concatenate([states[:, :2] - size / 2, size], 1), score, "tracks")

    def _started(self, time: float, poses: Poses, n: int) -> _Track:
        state = np.concatenate([_box_state(poses.boxes.xywh[n]), np.zeros(4)])
        side = math.exp(0.5 * (state[2] + state[3]))
        spread = np.array([0.05 * side, 0.05 * side, 0.1, 0.1, 2 * side, 2 * side, 0.5, 0.5])
        return _Track(
            self._next, time, time, state, np.diag(spread**2), poses.xy[n], poses.score[n], float(poses.boxes.score[n])
        )

    def _similarity(self, time: float, poses: Poses) -> np.ndarray:
        """[tracks, N], 0..1."""
        if not self._tracks or not len(poses):
            return np.zeros((len(self._tracks), len(poses)))
        states = np.array([t.forecast(time, self.drift)[0][:4] for t in self._tracks])
        moved = states[:, :2] - np.array([t.state[:2] for t in self._tracks])
        size = np.exp(states[:, 2:])
        boxes = np.concatenate([states[:, :2] - size / 2, size], 1)
        xy = np.array([t.xy for t in self._tracks]) + moved[:, None]
        score = np.array([t.score for t in self._tracks])
        area = (size.prod(1)[:, None] + poses.boxes.xywh[:, 2:].prod(1)) / 2
        sigmas = np.array(self.skeleton.sigmas or [_SIGMA] * self.skeleton.num_keypoints)
        squared = ((xy[:, None] - poses.xy[None]) ** 2).sum(-1)
        near = np.exp(-squared / (2 * area[..., None] * (2 * sigmas) ** 2 + 1e-9))
        weight = np.clip(score[:, None] * poses.score[None], 1e-6, None)
        oks = (near * weight).sum(-1) / weight.sum(-1)
        return (geometry.box_iou(boxes, poses.boxes.xywh) + oks) / 2


@dataclass
class OneEuro:
    """The One-Euro filter of one track's points: steady when still, quick when moving; for live video.

    Casiez et al., "1 euro filter", CHI 2012. Speeds are in box sides per second, so that one setting fits people of
    any size.

    Attributes:
        min_cutoff: hertz, of a point at rest; lower is steadier.
        beta: how much a box side per second raises the cutoff, in hertz.
        speed_cutoff: hertz, of the speed itself.
    """

    min_cutoff: float = 1.5
    beta: float = 4.0
    speed_cutoff: float = 1.0
    _last: tuple[float, np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    def __call__(self, time: float, xy: np.ndarray, side: float) -> np.ndarray:
        """The points [K, 2] of a frame at `time` seconds, smoothed; `side` is the size of the box in pixels.

        Points that are not finite keep their last place.
        """
        if self._last is None:
            self._last = (time, xy, np.zeros_like(xy))
            return xy
        before, smooth, speed = self._last
        gap = time - before
        if gap <= 0:
            raise ValueError(f"times of frames must rise: got {time:g} s after {before:g} s")
        xy = np.where(np.isfinite(xy), xy, smooth)
        share = _share(self.speed_cutoff, gap)
        speed = share * (xy - smooth) / gap + (1 - share) * speed
        cutoff = self.min_cutoff + self.beta * np.linalg.norm(speed, axis=-1, keepdims=True) / max(side, 1e-9)
        share = _share(cutoff, gap)
        smooth = share * xy + (1 - share) * smooth
        self._last = (time, smooth, speed)
        return smooth


def savitzky_golay(
    time: np.ndarray,
    xy: np.ndarray,
    *,
    score: np.ndarray | None = None,
    window: float = 0.4,
    degree: int = 2,
    only: int | None = None,
) -> np.ndarray:
    """A whole track smoothed: each point from a polynomial over the frames around it; for recorded video.

    Savitzky and Golay, Analytical Chemistry 1964, for frames at any spacing: the polynomial is fitted to the real times
    by least squares, weighted by the scores. Frames at the ends use a window that lies to one side.

    Args:
        time: [T] seconds, rising.
        xy: [T, K, 2]; NaN where a point is missing, which is then filled in where its window has enough others.
        score: [T, K] weights; None weighs all alike.
        window: seconds, in all.
        degree: of the polynomial.
        only: the place of the one frame that is smoothed; None smooths all.

    Returns:
        [T, K, 2].

    Raises:
        ValueError: shapes do not belong together, or times do not rise.
    """
    if time.ndim != 1 or xy.shape[:1] != time.shape or (np.diff(time) <= 0).any():
        raise ValueError(f"expected rising times [T] and xy [T, K, 2], got {time.shape} and {xy.shape}")
    known = np.logical_and.reduce(np.isfinite(xy), axis=-1)
    weight = known * (np.ones(xy.shape[:2]) if score is None else np.maximum(np.nan_to_num(score), 1e-3))
    filled = np.where(known[..., None], xy, 0.0)
    out = xy.copy()
    for n in range(len(time)) if only is None else (only,):
        now = time[n]
        first, last = np.searchsorted(time, [now - window / 2, now + window / 2 + 1e-9])
        powers = ((time[first:last] - now) / window)[:, None] ** np.arange(degree + 1)
        usable = known[first:last].sum(0) > degree
        for k in np.flatnonzero(usable):
            root = np.sqrt(weight[first:last, k])[:, None]
            fit = np.linalg.lstsq(powers * root, filled[first:last, k] * root, rcond=None)[0]
            out[n, k] = fit[0]
    return out


def _share(cutoff: np.ndarray | float, gap: float) -> np.ndarray | float:
    """What a new value weighs in an exponential average of this cutoff frequency."""
    ratio = 2 * math.pi * cutoff * gap
    return ratio / (ratio + 1)


def _box_state(xywh: np.ndarray) -> np.ndarray:
    return np.array([xywh[0] + xywh[2] / 2, xywh[1] + xywh[3] / 2, math.log(xywh[2]), math.log(xywh[3])])
