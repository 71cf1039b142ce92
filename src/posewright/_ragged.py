"""Runs of unequal length in flat arrays, so that no loop goes over images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def ranges(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All integers of many half-open ranges first..stop, one range after the other.

    Returns:
        which, value: the number of the range, and the integer, both [sum of stop - first].
    """
    many = stop - first
    which = np.repeat(np.arange(len(many)), many)
    return which, np.arange(len(which)) + (first - (np.cumsum(many) - many))[which]


def starts(sorted_key: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(sorted_key)), bool), sorted_key[1:] != sorted_key[:-1]]))


def chunks(many: int, size: int = 1 << 13) -> Iterator[slice]:
    """Slices that cover `many` items, small enough for temporaries of a few numbers an item to stay in the cache."""
    return (slice(at, at + size) for at in range(0, many, size))
