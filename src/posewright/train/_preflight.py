"""Whether a batch fits into memory, found out before a run begins and not hours into it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile
from math import ceil

import torch


def preflight(attempt: Callable[[int], None], people: int, accumulate: int, where: str) -> None:
    """Try a batch; where it does not fit, find out in how many parts it does.

    Args:
        attempt: works on so many people at once, or raises `torch.OutOfMemoryError`.
        people: of one process in a step.
        accumulate: parts that they are worked on in.
        where: what may be too small, in words.

    Raises:
        ValueError: they do not fit; the message says how many parts do, or that one person is too much.
    """
    if _fits(attempt, ceil(people / accumulate)):
        return
    for parts in [*takewhile(lambda n: n < people, (accumulate * 2**i for i in count(1))), people]:
        if _fits(attempt, ceil(people / parts)):
            raise ValueError(
                f"{people} people in {accumulate} parts do not fit into {where}: in {parts} parts they do, which "
                f"learns the same (--set accumulate={parts})"
            )
    raise ValueError(f"not even one person fits into {where}: choose a smaller pose system, or precision bf16")


def _fits(attempt: Callable[[int], None], people: int) -> bool:
    try:
        attempt(people)
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True
