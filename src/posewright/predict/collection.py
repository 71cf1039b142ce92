"""Very large collections: images of any number to shards of results, in constant memory, resumable after a kill.

A run first lists its sources, into `plan.jsonl`: one line per shard of results, with the names of its images or of its
tar shard. Then it writes the shards, one by one or over a cluster; each appears atomically under a name made of its
number and its line. So what is there is finished, whatever ended a run, and the next one makes what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from posewright.predict import collection_ray
from posewright.predict.ahead import in_order
from posewright.predict.collection_plan import Plan, Shard, placed_shards, planned
from posewright.predict.collection_records import BoxSource, Tools, make_shard
from posewright.predict.collection_shards import Counts, ResultsFolder, ShardFormat, read_counts
from posewright.predict.folder import settings_of
from posewright.predict.images import in_utf8
from posewright.predict.predictor import Predictor
from posewright.progress import bar, stop_signals

MANIFEST = "manifest.json"


@dataclass(slots=True)
class CollectionSummary:
    """The outcome of a run over a collection, with what earlier runs into the same folder did.

    Attributes:
        out: the folder.
        shards: how many there are to be.
        finished: how many are finished.
        kept: how many of these earlier runs had finished.
        counts: what is in the finished ones.
        seconds: it took.
        notes: what else there is to know, one line each.
        stopped: the number of the signal that ended the run early, or 0.
    """

    out: str
    shards: int
    finished: int = 0
    kept: int = 0
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    stopped: int = 0

    def __str__(self) -> str:
        c = self.counts
        lines = [*self.notes, *(f"could not be read: {reason}" for reason in c.reasons)]
        if c.failed > len(c.reasons):
            lines.append(f"... {c.failed} images in all could not be read; the shards say why")
        if self.kept:
            lines.append(f"{self.kept} shards had been finished before")
        if self.stopped:
            lines.append(f"interrupted: {self.finished} of {self.shards} shards are finished; the same command resumes")
        lines.append(f"{c.images} images, {c.poses} poses in {self.finished} of {self.shards} shards in {self.out}")
        return "\n".join(lines)


def predict_collection(
    tools: Tools,
    sources: Sequence[str],
    out: str,
    *,
    recursive: bool = False,
    shard_format: ShardFormat = "parquet",
    shard_size: int = 1000,
    ray: str | None = None,
    workers: int = 0,
) -> CollectionSummary:
    """Find the poses in a collection and write them in shards.

    Memory does not grow with the number of images. A run that was interrupted or killed resumes with the same call: it
    makes the shards that are missing, of the images that the first run listed.

    Args:
        tools: makes the predictor and the source of its boxes.
        sources: folders, lists, patterns and tar shards; see `collection_sources.names_of`.
        out: folder for the shards, or its address in an object store.
        recursive: take the images of sub-folders too.
        shard_format: "parquet", one row per image; or "coco", a COCO JSON with images and annotations.
        shard_size: images per shard of results; a tar shard becomes one, whatever its size.
        ray: None runs here; "local" on a Ray cluster started for this run, any other on the one at this address.
        workers: processes of that cluster that predict; 0: one per GPU, or where there is none per two cores.

    Raises:
        FileNotFoundError: a source is missing.
        ValueError: sources list nothing, or the folder is of a run with other settings or sources.
        BlockingIOError: another run on this machine writes there.
        OSError: images cannot be read or results not written; what is finished stays.
        ModuleNotFoundError: the extra `collection` is not installed.
    """
    if shard_size < 1:
        raise ValueError(f"expected at least 1 image per shard, got {shard_size}")
    if shard_format == "parquet":
        _require_pyarrow()
    folder, start = ResultsFolder(out.rstrip("/") or out, shard_format), time.monotonic()
    predictor, boxes = tools()
    settings = settings_of(predictor, boxes) | {
        "sources": f"{', '.join(sources)}{', recursive' if recursive else ''}",
        "shards": f"{shard_format}, {shard_size} images",
    }
    settings = {name: in_utf8(text) for name, text in settings.items()}
    with folder.held():
        plan, note = planned(folder, settings, sources, recursive=recursive, shard_size=shard_size)
        summary = CollectionSummary(out, plan.shards, notes=[words for words in (note, _unread(plan)) if words])
        done = {name for name in folder.names() if name.startswith("part-") and name.endswith(folder.suffix)}
        summary.kept = summary.finished = len(done)
        todo = ((place, shard) for place, shard in placed_shards(folder, plan) if shard.name(folder.suffix) not in done)
        with bar("predicting", "shards") as report, stop_signals() as asked:
            if ray is None:
                made = _made_here(folder, (shard for _, shard in todo), predictor, boxes, asked)
            else:
                made = collection_ray.made(folder, [place for place, _ in todo], tools, address=ray, workers=workers)
            with closing(made):
                for _ in made:
                    summary.finished += 1
                    report(summary.finished, plan.shards, "")
                    if asked:
                        break
            summary.stopped = asked[0] if asked else 0
        summary.counts = _write_manifest(folder, plan)
    summary.seconds = time.monotonic() - start
    return summary


def _made_here(
    folder: ResultsFolder, todo: Iterable[Shard], predictor: Predictor, boxes: BoxSource, asked: Sequence[int]
) -> Generator[str]:
    """Makes one shard after the other in this process, until asked to stop."""
    for shard in todo:
        try:
            yield make_shard(folder, shard, predictor, boxes, asked)
        except KeyboardInterrupt:
            if not asked:
                raise
            return


def _unread(plan: Plan) -> str:
    """How many files were neither images nor tar shards, and the first few by name; "" where there are none."""
    if not plan.unread:
        return ""
    more = ", ..." if plan.unread > len(plan.unread_first) else ""
    return f"{plan.unread} files are neither images nor tar shards: {', '.join(plan.unread_first)}{more}"


def _write_manifest(folder: ResultsFolder, plan: Plan) -> Counts:
    """Write what is in each finished shard, and the sums, which are returned."""
    present, total = folder.names(), Counts()
    named = ((shard.name(folder.suffix), shard.tar) for _, shard in placed_shards(folder, plan))
    finished = ((name, tar) for name, tar in named if name in present)

    def counted(shard: tuple[str, str]) -> tuple[str, str, Counts]:
        return *shard, read_counts(folder, shard[0])

    def fill(file: BinaryIO) -> None:
        file.write(b'{"settings":' + msgspec.json.encode(plan.settings) + b',\n"shards":[')
        separator = b"\n"
        for name, tar, counts in in_order(counted, finished):
            entry = {"file": name, "images": counts.images, "poses": counts.poses, "failed": counts.failed}
            file.write(separator + msgspec.json.encode(entry | ({"tar": tar} if tar else {})))
            separator = b",\n"
            total.images, total.poses = total.images + counts.images, total.poses + counts.poses
            total.failed, total.reasons = total.failed + counts.failed, [*total.reasons, *counts.reasons][:5]
        file.write(b'],\n"total":' + msgspec.json.encode(total) + b"}\n")

    folder.write(MANIFEST, fill)
    return total


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "shards in Parquet need pyarrow: pip install posewright[collection]; --shard-format coco does not need it"
        ) from None
