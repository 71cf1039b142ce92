"""Progress with time left, a bar in a terminal and plain lines elsewhere; and the signals that ask a run to stop.

The only file besides cli that prints.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

Tick = Callable[[int, int], None]
"""Called with how many are done, of how many."""

Report = Callable[[int, int, str], None]
"""As `Tick`, with a few words on how it stands."""

PLAIN_SECONDS = 10.0
"""Plain lines come this far apart."""

_show = True


@contextmanager
def shown(show: bool) -> Iterator[None]:
    """Whether progress and notes appear while the block runs."""
    global _show
    before, _show = _show, show
    try:
        yield
    finally:
        _show = before


@contextmanager
def bar(title: str, unit: str = "") -> Iterator[Report]:
    """Show progress while the block runs; it yields what to call as the work goes on."""
    if not _show:
        yield lambda done, total, note="": None
    elif sys.stderr.isatty():
        with _rich() as bars:
            task = bars.add_task(title, total=None, note="")
            yield lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)
    else:
        yield _Lines(title, unit)


def say(text: str) -> None:
    """A line on stderr, where progress goes."""
    if _show:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that gets the number of the first Ctrl-C or SIGTERM; a second one acts at once, as usual."""
    asked: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for number_, handler in before.items():
            signal.signal(number_, handler)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        before.clear()  # not the main thread: signals are not ours to take
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tick(report: Report) -> Tick:
    """A `Report` for callers that have nothing to add in words."""
    return lambda done, total: report(done, total, "")


def _rich() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=4)


class _Lines:
    """One line every few seconds, and one at the end."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done  # a resumed run starts in the middle: what was done before took no time now
        if done < total and now - self.last < PLAIN_SECONDS:
            return
        self.last = now
        fresh = done - self.first
        left = (now - self.start) / fresh * (total - done) if fresh > 0 else float("nan")
        end = f"{clock(now - self.start)} elapsed, {clock(left)} left"
        say(f"{self.title}: {done}/{total} {self.unit} {end}  {note}".rstrip())


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    if seconds != seconds:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
