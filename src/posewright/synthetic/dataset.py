"""Drawn images and their annotations written as a data set in COCO's layout, the same for the same seed."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import files
from posewright import image as images
from posewright.skeletons import to_category
from posewright.types import Skeleton

Drawing = tuple[np.ndarray, list[dict[str, Any]], int]
"""An image [H, W, 3] uint8 RGB, its annotations without `id` and `image_id`, and its JPEG quality."""

_POOL_FROM = 48  # fewer images are drawn sooner than worker processes start


def write_split(
    folder: str | os.PathLike[str],
    count: int,
    draw: Callable[[tuple[int, int], int], Drawing],
    skeleton: Skeleton,
    made_of: dict[str, Any],
    *,
    seed: int,
    split: str,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Path:
    """Write a split of a data set, or find the same one already there; see `people.make`.

    Args:
        folder: of the data set; may hold other splits.
        count: how many images.
        draw: makes an image from the seeds of all random choices and the image's number, from 1; it must pickle.
        skeleton: what is annotated.
        made_of: what else the images depend on; kept in the annotations' `info`.
        seed: of everything random.
        split: its name.
        workers: processes; None for one per core.
        progress: called with (done, all) after each image.

    Returns:
        The annotation file.

    Raises:
        ValueError: the split is already there and was made with other parameters, or is not synthetic.
        OSError: the folder cannot be written.
    """
    if count < 1 or not split or Path(split).name != split:
        raise ValueError(f"expected one image or more and a plain name for the split, got {count} and {split!r}")
    folder = Path(folder)
    place, listing = folder / split, folder / "annotations" / f"person_keypoints_{split}.json"
    info = msgspec.to_builtins(made_of | {"images": count, "seed": seed, "split": split})
    if _already_there(place, listing, info):
        return listing
    with tempfile.TemporaryDirectory(prefix=f".{split}.", dir=files.ready_folder(folder)) as beside:
        unfinished = Path(beside) / split
        unfinished.mkdir()
        drawn = []
        write = partial(_write_one, unfinished, draw, (seed, zlib.crc32(split.encode())))
        with closing(_each(write, count, workers)) as results:
            for result in results:
                drawn.append(result)
                if progress is not None:
                    progress(len(drawn), count)
        rows = [{"image_id": d["image"]["id"]} | a for d in drawn for a in d["annotations"]]
        content = {
            "info": info,
            "licenses": [],
            "images": [d["image"] for d in drawn],
            "annotations": [{"id": i} | row for i, row in enumerate(rows, 1)],
            "categories": [to_category(skeleton)],
        }
        files.write_json(listing, content)
        if place.is_dir():
            place.rmdir()  # it is empty, and some systems do not rename onto a folder
        unfinished.replace(place)
    return listing


def _write_one(
    folder: Path, draw: Callable[[tuple[int, int], int], Drawing], seeds: tuple[int, int], number: int
) -> dict[str, Any]:
    image, annotations, quality = draw(seeds, number)
    name = f"{number:012d}.jpg"
    files.write_bytes(folder / name, images.encode(image, ".jpg", quality))
    entry = {"id": number, "file_name": name, "height": image.shape[0], "width": image.shape[1]}
    return {"image": entry, "annotations": annotations}


def _each(
    draw: Callable[[int], dict[str, Any]], count: int, workers: int | None
) -> Generator[dict[str, Any], None, None]:
    """Results of `draw` for 1..count, in order."""
    if workers is None:  # as many as the cores that this process may use
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 2 or count < _POOL_FROM:
        yield from map(draw, range(1, count + 1))
        return
    pool = ProcessPoolExecutor(workers)
    try:
        yield from pool.map(draw, range(1, count + 1), chunksize=8)
    finally:
        pool.shutdown(cancel_futures=True)


def _already_there(place: Path, listing: Path, info: dict[str, Any]) -> bool:
    """Whether this very data set is there; an error where anything else is."""
    filled = place.exists() and (not place.is_dir() or any(place.iterdir()))
    if not filled and not listing.exists():
        return False
    try:
        found = msgspec.json.decode(listing.read_bytes())["info"]
    except (OSError, ValueError, LookupError, TypeError):
        found = None
    if found == msgspec.json.decode(msgspec.json.encode(info)):
        if filled and sum(1 for _ in place.glob("*.jpg")) != info["images"]:
            raise ValueError(
                f"{place} should hold {info['images']} images, but some are missing; remove it to render it again"
            )
        return filled  # without images it is what an interrupted run left
    what = listing if listing.exists() else place
    was = f"was made of {found}" if found else "is there and was not drawn here"
    raise ValueError(f"{what} {was}; wanted {info}: choose another folder or split, or remove it")
