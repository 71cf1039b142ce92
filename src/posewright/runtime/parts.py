"""Batches in parts: each core computes some of the images by itself, so none waits for another, and caches suffice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeAlias

import numpy as np

Run: TypeAlias = Callable[[np.ndarray], list[np.ndarray]]
"""What a network yields for an array [N, ...]: arrays [N, ...]. May be called by several threads at once."""

_MOST = 4
"""Images in a part: larger ones leave the caches, smaller ones make poor use of vectors."""
_BUSY = 0.7
"""The share of its time that a core must have images for."""


class Parts:
    """A network that splits large batches. Safe to call from several threads.

    Args:
        together: computes an array on all threads: as fast as can be for a few images.
        make_single: makes what computes an array on the thread that calls it; asked when the first large batch comes.
        threads: how many compute.
    """

    def __init__(self, together: Run, make_single: Callable[[], Run], threads: int) -> None:
        self._together, self._make_single, self._threads = together, make_single, threads
        self._run: Run | None = together if threads == 1 else None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __call__(self, array: np.ndarray) -> list[np.ndarray]:
        """What the network yields for an array [N, ...]."""
        count, threads = len(array), self._threads
        rounds = -(-count // (_MOST * threads))
        longest = -(-count // (threads * max(rounds, 1))) * rounds  # images that one of the threads computes
        if count <= 1 or rounds * threads == 1 or count < _BUSY * threads * longest:
            return self._together(array)
        edges = np.linspace(0, count, rounds * threads + 1).round().astype(int).tolist()
        run, pool = self._ready()
        parts = list(pool.map(run, (array[start:stop] for start, stop in pairwise(edges))))
        return [np.concatenate(outputs) for outputs in zip(*parts)]

    def _ready(self) -> tuple[Run, ThreadPoolExecutor]:
        with self._lock:
            if self._run is None:
                self._run = self._make_single()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "posewright-part")
            return self._run, self._pool
