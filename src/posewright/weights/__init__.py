"""Weights: read any file, load it into a network strictly, save; published ones from the registry.

`posewright.weights.load` and its neighbours come from the files of this folder on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright.weights.checkpoint import About, Loaded, convert, describe, load, load_backbone, read, save
    from posewright.weights.hub import entries, published, pull

__all__ = [
    "About",
    "Loaded",
    "convert",
    "describe",
    "entries",
    "load",
    "load_backbone",
    "published",
    "pull",
    "read",
    "save",
]

_HOMES = {"entries": "hub", "published": "hub", "pull": "hub"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'checkpoint')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
