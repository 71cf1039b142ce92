"""Work done by threads a little ahead of who takes its results, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_THREADS = 8


def in_order(
    function: Callable[[_In], _Out], items: Iterable[_In], *, threads: int = _THREADS, ahead: int = 8
) -> Generator[_Out]:
    """The function of each item, in the items' order, computed by threads up to `ahead` items before it is taken.

    Items are taken from their iterator by the caller's thread; errors of the function are raised at their item's place.
    Where the items end with an error, it comes after what was computed of those before it.

    Args:
        function: called by several threads.
        items: however many; at most `ahead` of them and their results are held.
        threads: at most; no more than there are cores, or four.
        ahead: how many results are waited for or wait.
    """
    waiting: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(min(threads, max(4, os.cpu_count() or 1)), "posewright-ahead")
    source, error = iter(items), None
    try:
        while error is None:
            try:
                waiting.append(pool.submit(function, next(source)))
            except StopIteration:
                break
            except Exception as raised:
                error = raised
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if error is not None:
            raise error
    finally:
        pool.shutdown(cancel_futures=True)
