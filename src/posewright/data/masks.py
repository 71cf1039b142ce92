"""COCO's segmentations: polygons, and run lengths as lists or packed as text, made into masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from posewright import image
from posewright.files import read_json, short

_PIXELS = 200_000_000  # of a mask; larger ones are refused before they are made


def segmentations(path: Path) -> dict[int, Any]:
    """Annotation id -> its segmentation, of a COCO-format file; nothing of files in other formats."""
    if path.suffix.lower() != ".json":
        return {}
    content = read_json(path, Any, "COCO annotations")
    entries = content.get("annotations", []) if isinstance(content, dict) else []
    return {e["id"]: e["segmentation"] for e in entries if isinstance(e, dict) and e.get("segmentation") and "id" in e}


def mask(segmentation: Any, height: int, width: int, where: str = "segmentation") -> np.ndarray:
    """A segmentation as a mask [height, width] of bool.

    Args:
        segmentation: a list of polygons x, y, x, y, ..., or {"size": [height, width], "counts": runs or packed runs}.
        height: of the image.
        width: of the image.
        where: what messages call it.

    Raises:
        ValueError: it is neither, or of another size.
    """
    try:
        if isinstance(segmentation, dict):
            counts = segmentation["counts"]
            runs = _unpacked(counts) if isinstance(counts, str) else [int(n) for n in counts]
            if list(segmentation["size"]) != [height, width] or min(runs, default=0) < 0 or height * width > _PIXELS:
                raise ValueError(f"size {segmentation['size']}")
            if sum(runs) != height * width:
                raise ValueError(f"{sum(runs)} pixels")
            flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
            return flat.reshape(width, height).T
        canvas = np.zeros((height, width, 3), np.uint8)
        for polygon in segmentation:
            image.draw_polygon(canvas, np.reshape(np.asarray(polygon, np.float64), (-1, 2)), (255, 255, 255))
        return canvas[..., 0] > 127  # its edges are smoothed
    except (KeyError, TypeError, ValueError) as error:
        wanted = f"polygons, or run lengths of {height}x{width} pixels"
        raise ValueError(f"{where}: expected {wanted}: {short(str(error), 100)}") from None


def _unpacked(text: str) -> list[int]:
    """COCO's packed run lengths: 6 bits per character from "0" on, 5 of the number and 1 that says it goes further.

    From the third run on they are differences to the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("packed runs with other characters")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
