"""Annotation formats beside COCO's, one per file.

There is no registry to fill: a new format is a new file, which offers

* `is_format(path)`: whether a file or a folder is in this format, from its content and without reading all of it;
* `read(path, images, *, allow_outside)`: its people as a `KeypointDataset`, see `data.coco`;
* a docstring, whose first line `posewright data formats` lists.

`data.sources` asks them in the order of their names and takes what no format recognises for COCO's.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from posewright.data.coco import KeypointDataset


class Format(Protocol):
    """What a file of this folder offers."""

    __doc__: str | None

    def is_format(self, path: Path) -> bool:
        """Whether a file or a folder is in this format; False also where there is nothing at that path."""
        ...

    def read(self, annotations: Path, images: Path | None = None, *, allow_outside: bool = False) -> KeypointDataset:
        """The people annotated there; errors as of `coco.read`."""
        ...


def names() -> list[str]:
    """The formats, one per file in this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def named(name: str) -> Format:
    """The format in the file of that name."""
    module: Any = importlib.import_module(f"posewright.data.formats.{name}")
    return module


def of(path: Path) -> Format | None:
    """The format that recognises a file or a folder; None means COCO's."""
    return next((f for f in map(named, names()) if f.is_format(path)), None)
