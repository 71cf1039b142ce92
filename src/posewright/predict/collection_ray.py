"""A collection's shards over a Ray cluster: workers that are lost are replaced, and their shards made again."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posewright.predict.collection_plan import PLAN, shard_of
from posewright.predict.collection_records import Tools, make_shard
from posewright.predict.collection_shards import ResultsFolder

_BLOCKS = 16
"""Pieces of work per worker: the more, the less is left to the slowest at the end."""

_OBJECTS = 100 << 20
"""Bytes of Ray's object store on a cluster of our own; only places in the plan go through it."""


class _Worker:
    """One process of the cluster, with a predictor of its own."""

    def __init__(self, folder: ResultsFolder, tools: Tools, at: str, threads: int) -> None:
        import torch

        if Path(at).is_dir():  # relative names are meant from where the command was given
            os.chdir(at)
        torch.set_num_threads(threads)
        self.folder = folder
        self.predictor, self.boxes = tools()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        names = list[str]()
        for start, end in zip(batch["start"].tolist(), batch["end"].tolist()):
            shard = shard_of(self.folder, self.folder.read(PLAN, start, end))
            names.append(make_shard(self.folder, shard, self.predictor, self.boxes))
        return {"name": np.array(names)}


def made(
    folder: ResultsFolder,
    places: Sequence[tuple[int, int]],
    tools: Tools,
    *,
    address: str,
    workers: int = 0,
) -> Generator[str]:
    """The names of shards as they are finished by a cluster's workers.

    A worker that is lost is replaced as often as it takes, and its shard is made again, unless it was finished.

    Args:
        folder: for the shards; every machine of the cluster must reach it under this name.
        places: of their lines in the plan.
        tools: makes the predictor in each worker.
        address: see `predict_collection`.
        workers: see `predict_collection`.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at this address.
        OSError: a worker failed by something else than being lost.
    """
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ModuleNotFoundError:
        raise ModuleNotFoundError("--ray needs Ray: pip install posewright[collection]") from None
    if not places:
        return
    _connect(ray, address, workers)
    try:
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = min(workers or gpus or max(1, cores // 2), len(places))
        each = max(1, cores // count)
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = [{"start": start, "end": end} for start, end in places]
        shards = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS * count)).map_batches(
            _Worker,
            fn_constructor_args=(folder, tools, str(Path.cwd()), each),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=each,
            num_gpus=1 if gpus else 0,
        )
        for row in shards.iter_rows():
            yield str(row["name"])
    except ray.exceptions.RayError as error:
        raise OSError(
            f"a worker failed: {reason_in(str(error))}; what is finished stays, and the same command resumes"
        ) from None
    finally:
        ray.shutdown()


def reason_in(report: str) -> str:
    """The error that a report of Ray's is about: the last line of its tracebacks that names one, if any not Ray's."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    true = [line for line in named if not line.startswith("ray.")]  # Ray's own, put around it, say "failed"
    return (true or named or lines or ["nothing was said"])[-1]


def _connect(ray: Any, address: str, workers: int) -> None:
    """Start a cluster on this machine, or connect to the one at an address."""
    quiet = {"log_to_driver": False, "logging_level": "error"}
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        cores = max(workers, os.cpu_count() or 1)
        ray.init("local", num_cpus=cores, object_store_memory=_OBJECTS, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ImportError, ConnectionError, ValueError, RuntimeError) as error:
        if "ray[client]" in str(error):
            raise ModuleNotFoundError(f'--ray {address}: such addresses need `pip install "ray[client]"`') from None
        raise ConnectionError(f"--ray {address}: no Ray cluster there ({str(error).splitlines()[0]})") from None
