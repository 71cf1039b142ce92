"""OKS, the similarity of two poses, and the suppression of doubles, for whole data sets at once. Only numpy.

A data set's poses lie in one array, and `group` says which image each belongs to, so that no loop runs over images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

Sigmas = Sequence[float] | np.ndarray
"""[K] OKS sigmas; a keypoint's k is 2 sigma."""

SOFT_MOST = 20
"""Soft suppression keeps at most this many poses per image, as COCO evaluates no more."""


def oks(xy: np.ndarray, other: np.ndarray, area: np.ndarray | float, sigmas: Sigmas) -> np.ndarray:
    """Object keypoint similarity of poses [..., K, 2], all broadcast together: exp(-d^2 / (2 area k^2)), mean over K.

    Against an annotation, `area` is the annotation's; between two detections it is the mean of both areas.

    Args:
        xy: [..., K, 2] in pixels; only the points that count: all given points do.
        other: [..., K, 2] in pixels.
        area: [...] square pixels.
        sigmas: [..., K], k is 2 sigma.

    Returns:
        [...] float64, 0..1.
    """
    away = xy - other
    squared = away[..., 0] ** 2 + away[..., 1] ** 2
    # The order of the divisions is the official one, so that a threshold is met or missed by the same last bit.
    variance = (np.asarray(sigmas, np.float64) * 2) ** 2
    exponent = squared / variance / (np.asarray(area, np.float64)[..., None] + np.spacing(1)) / 2
    return np.exp(-exponent).sum(-1) / exponent.shape[-1]


def oks_nms(
    xy: np.ndarray,
    score: np.ndarray,
    area: np.ndarray,
    sigmas: Sigmas,
    threshold: float = 0.9,
    group: np.ndarray | None = None,
    *,
    visible: np.ndarray | None = None,
) -> np.ndarray:
    """The poses that are left when, of two with an OKS above `threshold`, the lower-scored one goes.

    Greedy from the best score down (Papandreou et al., CVPR 2017). Of equal scores the later pose goes first, as in
    the reversed ascending sort of the published code.

    Args:
        xy: [N, K, 2] pixels.
        score: [N].
        area: [N] square pixels; in the published evaluations that of the padded region around the box.
        sigmas: [K].
        threshold: 0.9 in all published evaluations.
        group: [N] integers: only poses of the same group (image) meet; None is one group.
        visible: [N, K] bool, which points of the lower-scored pose count, as in the released code where it has a
            visibility threshold; poses without any are never alike. None: all.

    Returns:
        [M] indices, group by group in rising order, and from the best score down in each.
    """
    order, start, end = _ranked(score, group)
    sigmas = np.asarray(sigmas, np.float64)
    shown = None if visible is None else visible[order]
    near = _nearness(xy[order], area[order], sigmas, threshold, shown)
    alive = np.ones(len(order), bool)
    for rank in range(int((end - start).max(initial=0)) - 1):
        going = start + rank + 1 < end
        best, stop = start[going] + rank, end[going]
        best, stop = best[alive[best]], stop[alive[best]]
        which, rest = ranges(best + 1, stop)
        which, rest = which[alive[rest]], rest[alive[rest]]
        for part in chunks(len(rest)):
            alive[rest[part][near(best[which[part]], rest[part])]] = False
    return order[alive]


def soft_oks_nms(
    xy: np.ndarray,
    score: np.ndarray,
    area: np.ndarray,
    sigmas: Sigmas,
    threshold: float = 0.9,
    group: np.ndarray | None = None,
    decay: Literal["gaussian", "linear"] = "gaussian",
    *,
    visible: np.ndarray | None = None,
) -> np.ndarray:
    """The first 20 poses of each group when every pose taken lowers the scores of those near it.

    The lowered scores only decide the order: the caller keeps the poses' own. Arguments and ties are those of
    `oks_nms`.

    Args:
        xy: see `oks_nms`, and so for the others.
        score: [N].
        area: [N].
        sigmas: [K].
        threshold: width of the Gaussian, or the OKS from which the linear decay begins.
        group: [N].
        decay: "gaussian" multiplies by exp(-OKS^2 / threshold), "linear" by 1 - OKS where OKS reaches the threshold.
        visible: [N, K].

    Returns:
        [M] indices, group by group in rising order, and in the order of being taken in each.
    """
    if decay not in ("gaussian", "linear"):
        raise ValueError(f"decay must be 'gaussian' or 'linear', got {decay!r}")
    order, start, end = _ranked(score, group)
    xy, area, sigmas = xy[order], area[order], np.asarray(sigmas, np.float64)
    shown = None if visible is None else visible[order]
    left = score[order].astype(np.float64)
    group_of = np.repeat(np.arange(len(start)), end - start)
    waiting = np.arange(len(order))
    taken: list[np.ndarray] = []
    while len(waiting) and len(taken) < SOFT_MOST:
        best = _best(left[waiting], group_of[waiting])
        taken.append(waiting[best])
        rival = np.repeat(waiting[best], np.diff(starts(group_of[waiting]), append=len(waiting)))
        keep = np.ones(len(waiting), bool)
        keep[best] = False
        waiting, rival = waiting[keep], rival[keep]
        for part in chunks(len(waiting)):
            i, j = rival[part], waiting[part]
            like = _alike(xy, area, sigmas, i, j, shown)
            far = like < threshold
            left[j] *= np.exp(-(like**2) / threshold) if decay == "gaussian" else np.where(far, 1, 1 - like)
    everyone = np.concatenate(taken) if taken else np.zeros(0, int)
    return order[everyone[np.argsort(group_of[everyone], kind="stable")]]


def _alike(
    xy: np.ndarray, area: np.ndarray, sigmas: np.ndarray, i: np.ndarray, j: np.ndarray, visible: np.ndarray | None
) -> np.ndarray:
    """OKS [P] of the poses i [P] and j [P], over the points that are visible in j."""
    between = (area[i] + area[j]) / 2
    if visible is None:
        return oks(xy[i], xy[j], between, sigmas)
    each = oks(xy[i][:, :, None], xy[j][:, :, None], between[:, None], sigmas[:, None])
    return (each * visible[j]).sum(1) / np.maximum(visible[j].sum(1), 1)


def _nearness(
    xy: np.ndarray, area: np.ndarray, sigmas: np.ndarray, threshold: float, visible: np.ndarray | None
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A test whether the OKS of the poses i [P] and j [P] is above the threshold.

    A few points decide most pairs: as no point adds more than 1, an OKS above the threshold leaves only
    (1 - threshold) K to be lost, and the points of the smallest sigmas lose theirs first.
    """
    if visible is not None:
        return lambda i, j: _alike(xy, area, sigmas, i, j, visible) > threshold
    spare = (1 - threshold) * len(sigmas)
    probe = np.argsort(sigmas, kind="stable")[: max(int(spare) + 2, 1)]
    probed = np.ascontiguousarray(xy[:, probe])

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        between = (area[i] + area[j]) / 2
        if len(probe) < len(sigmas):
            lost = 1 - oks(probed[i], probed[j], between, sigmas[probe])
            maybe = np.flatnonzero(lost * len(probe) <= spare + 1e-9)
        else:
            maybe = np.arange(len(i))
        out = np.zeros(len(i), bool)
        out[maybe] = oks(xy[i[maybe]], xy[j[maybe]], between[maybe], sigmas) > threshold
        return out

    return near


def _ranked(score: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices sorted by group and from the best score down, and where in them each group starts and ends."""
    group = np.zeros(len(score), int) if group is None else group
    order = np.lexsort((-np.arange(len(score)), -score, group))
    start = starts(group[order])
    return order, start, np.append(start, len(order))[1:]


def _best(score: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The first place [groups] of the highest score in each run of equal `of`."""
    start = starts(key)
    highest = np.repeat(np.maximum.reduceat(score, start), np.diff(start, append=len(key)))
    place = np.flatnonzero(score == highest)
    return place[starts(key[place])]


# -- runs of unequal length in flat arrays, so that no loop goes over images ------------------------------------------


def ranges(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All integers of many half-open ranges first..stop, one range after the other.

    Returns:
        which, value: the number of the range, and the integer, both [sum of stop - first].
    """
    lengths = stop - first
    which = np.repeat(np.arange(len(lengths)), lengths)
    return which, np.arange(len(which)) + (first - (np.cumsum(lengths) - lengths))[which]


def starts(sorted_key: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(sorted_key)), bool), sorted_key[1:] != sorted_key[:-1]]))


def chunks(count: int, size: int = 1 << 13) -> Iterator[slice]:
    """Slices that cover `many` items, small enough for temporaries of a few numbers per item to stay in the cache."""
    return (slice(at, at + size) for at in range(0, count, size))
