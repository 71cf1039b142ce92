"""The tables of published weights (`registry.csv`), of published metrics (`published.csv`) and of the terms of the data
that they were trained on (`datasets.csv`).
"""

from __future__ import annotations

import csv
import difflib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Literal
from urllib.parse import urlsplit

from posewright.models import counted

Access = Literal["direct", "browser-only", "unavailable"]
BoxSource = Literal["gt", "detected", "unstated"]

BROWSER_ONLY = ("drive.google.com", "1drv.ms", "onedrive.live.com", "pan.baidu.com", "www.dropbox.com")
"""Hosts that give a program a web page instead of the file."""

COCO_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_ACCESS: tuple[Access, ...] = ("direct", "browser-only", "unavailable")


@dataclass(frozen=True, slots=True)
class Published:
    """What was published about a pose system on one source of boxes.

    Attributes:
        spec: the pose system; empty where Posewright does not have it.
        weights: the id of the weights that were evaluated; empty where they were not published.
        boxes: "gt" (the annotated boxes), "detected", or "unstated".
        detector: which detections, such as "det 56.4" (the detector's AP for people).
        metrics: 0..1 by name: some of the ten of COCO, or "PCKh" and "PCKh@0.1".
        source: where it is published.
    """

    spec: str
    weights: str
    boxes: BoxSource
    detector: str
    metrics: dict[str, float]
    source: str

    def summary(self) -> str:
        """The main metric and its boxes, such as "AP 0.744 (det 56.4)"."""
        name = "AP" if "AP" in self.metrics else "PCKh"
        return f"{name} {self.metrics[name]:.3f} ({self.detector or self.boxes})"


@dataclass(frozen=True, slots=True)
class Terms:
    """By which terms a data set may be used.

    Attributes:
        data: what `Entry.data` calls it.
        name: its name.
        terms: what its authors allow, in a few words.
        source: where they say so.
    """

    data: str
    name: str
    terms: str
    source: str

    def summary(self) -> str:
        """Such as "AP-10K: CC BY 4.0"."""
        return f"{self.name}: {self.terms}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One published file.

    Attributes:
        id: its name in the table.
        spec: the pose system; empty where Posewright does not have it.
        data: what it was trained on.
        size: the input as HxW.
        urls: where it can be downloaded, best first; what follows a "#" is its path in the zip archive that is there.
        sha256: the checksum in hex, or as many leading digits of it as were published; empty where none was.
        file: its name, within the folder where a URL leads to a folder.
        source: who published it.
        licence: of the repository that published it, as an SPDX identifier where there is one; empty where not known.
            What it was trained on may allow less.
        note: what else to know.
    """

    id: str
    spec: str
    data: str
    size: str
    urls: tuple[str, ...]
    sha256: str
    file: str
    source: str
    licence: str
    note: str

    @property
    def fetchable(self) -> tuple[str, ...]:
        """The URLs that a program can fetch."""
        return tuple(url for url in self.urls if urlsplit(url).netloc not in BROWSER_ONLY)

    @property
    def access(self) -> Access:
        """Whether a program can fetch it, only a person with a browser can, or it is not available."""
        return "direct" if self.fetchable else "browser-only" if self.urls else "unavailable"

    @property
    def published(self) -> tuple[Published, ...]:
        """What was published about these weights, in the table's order."""
        return tuple(p for p in results() if p.weights == self.id)

    def by_hand(self) -> str:
        """How to get the file where a program cannot: the page, what to expect there, and the command to run then."""
        name = self.file or "FILE"
        megabytes = counted().get(self.spec, (0, 0))[0] * 4 / 1e6  # float32
        size = f"about {megabytes:.0f} MB or more, " if megabytes else ""
        where = f"open {' or '.join(self.urls)} in a browser" if self.urls else "find it (no address is known)"
        expected = f"sha256 {self.sha256}…" if self.sha256 else "no checksum was published"
        return (
            f"{self.id}: {where}, download {name} ({size}{expected}), then `posewright weights import {self.id} {name}`"
        )


def entries(pattern: str = "*") -> list[Entry]:
    """The entries whose id or pose system matches a shell pattern: direct ones first, else in the table's order."""
    found = [e for e in table().values() if fnmatchcase(e.id, pattern) or fnmatchcase(e.spec, pattern)]
    return sorted(found, key=lambda e: _ACCESS.index(e.access))


def entry(id: str) -> Entry:
    """The entry of that id.

    Raises:
        LookupError: there is none; the message names the nearest, or those of the pose system of that name.
    """
    if found := table().get(id):
        return found
    near = [e.id for e in entries(id)][:5] or difflib.get_close_matches(id, table(), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise LookupError(f"no published weights are named {id!r:.80}{hint} (`posewright weights list` lists all)")


def published(spec: str, boxes: BoxSource = "detected") -> Published | None:
    """What was published about a pose system, by name, on that source of boxes; None where nothing was."""
    return next((p for p in results() if p.spec == spec and p.boxes == boxes), None)


def terms(data: str) -> Terms:
    """The terms of a data set; "not known" where the table lacks it."""
    return datasets().get(data, Terms(data, data, "not known", ""))


@functools.cache
def datasets() -> dict[str, Terms]:
    """All data sets by what `Entry.data` calls them."""
    return {r["data"]: Terms(**r) for r in _rows("datasets.csv")}


@functools.cache
def table() -> dict[str, Entry]:
    """All entries by id."""
    rows = _rows("registry.csv")
    return {r["id"]: Entry(**(r | {"urls": tuple(r["urls"].split())})) for r in rows}  # pyright: ignore[reportArgumentType]


@functools.cache
def results() -> tuple[Published, ...]:
    """All published results."""
    return tuple(
        Published(
            **{k: r[k] for k in ("spec", "weights", "boxes", "detector", "source")},  # pyright: ignore[reportArgumentType]
            metrics={k: float(r[k]) for k in (*COCO_METRICS, "PCKh", "PCKh@0.1") if r[k]},
        )
        for r in _rows("published.csv")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    return csv.DictReader((files("posewright.weights") / name).read_text(encoding="utf-8").splitlines())
