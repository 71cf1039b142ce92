"""What the images of annotations show: whether they are there, can be read, have their sizes, and lie in one split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posewright import image
from posewright.data.formats import Annotated
from posewright.data.image_files import find_all
from posewright.data.quality._findings import Finding
from posewright.files import short
from posewright.progress import Tick

Paths = tuple[str | None, ...]


def findings(
    sets: Sequence[Annotated], folders: Sequence[Path | None], *, allow_outside: bool, progress: Tick | None
) -> tuple[list[list[Finding]], list[Paths]]:
    """What is wrong with the images of each set, and their paths; images of two sets that are alike are leaks."""
    paths: list[Paths] = []
    for found, folder in zip(sets, folders):
        names = [i.file_name for i in found.file.images]
        paths.append(tuple(find_all(found.path, folder, names, allow_outside=allow_outside)[0]))
    total, done = sum(map(len, paths)), 0
    out: list[list[Finding]] = []
    first_of: dict[bytes, tuple[int, str]] = {}
    for number, (found, places) in enumerate(zip(sets, paths)):
        these: list[Finding] = []
        for n, (entry, path) in enumerate(zip(found.file.images, places)):
            done += 1
            if progress:
                progress(done, total)
            where = f"images[{n}] (id {entry.id}, {short(entry.file_name, 60)})"
            if path is None:
                these.append(Finding("missing image", where, "no such file", n, -1, None))
                continue
            try:
                data = Path(path).read_bytes()
                pixels = image.decode(data, path, upright=False)
            except (OSError, ValueError) as error:
                these.append(Finding("unreadable image", where, short(str(error), 120), n, -1, None))
                continue
            height, width = pixels.shape[:2]
            if (entry.height, entry.width) != (height, width):
                sized = bool(entry.height and entry.width)
                given = f"{entry.height}x{entry.width}" if sized else "no size"
                kind, mend = "image size" if sized else "no image size", {"height": height, "width": width}
                these.append(Finding(kind, where, f"{given}, the file has {height}x{width}", n, -1, mend))
            for key in (hashlib.sha256(data).digest(), _look(pixels)):
                first, name = first_of.setdefault(key, (number, where))
                if first != number:
                    these.append(Finding("leak", where, f"is {name} of {sets[first].path}", n))
                    break
        out.append(these)
    return out, paths


def _look(pixels: np.ndarray) -> bytes:
    """A hash of what an image shows, the same after it was compressed again or made smaller; unique where it is flat.

    Brightness differences between neighbours of a 16 x 17 grid, as a difference hash takes them.
    """
    grey = image.resize(pixels, (16, 17)).mean(-1)
    steps = np.diff(grey, axis=1)
    if np.abs(steps).mean() < 2:
        return hashlib.sha256(pixels.tobytes()).digest()
    return b"look" + np.packbits(steps > 0).tobytes()
