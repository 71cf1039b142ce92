"""Annotation formats: one file each, found by being in this folder, all read into COCO's one schema.

There is no registry to fill: a new format is a new file, which offers what `Format` lists. A file that no other format
recognises is taken for COCO's.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from posewright import coco_format


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """Annotations of any format, in COCO's schema.

    Attributes:
        path: the file that messages name; images are looked for around it.
        file: what it holds; coordinates count pixels from 0, at the centre of the first.
        filled: how many fields it lacks that were filled in by a rule, by field.
        lost: how much it holds that COCO's schema has no place for, by kind.
    """

    path: Path
    file: coco_format.AnyFile
    filled: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


class Format(Protocol):
    """What a module of this folder offers; the first line of its docstring is what lists say of it.

    One that can be written has `write(found: Annotated, path: Path) -> dict[str, int]` and `SUFFIX`, the ending of such
    a file ("" for folders); and where images are not looked for by their names alone, `place(name: str) -> str`, where
    one of that name is within the folder; and where each image has a file of labels, `label_file(name: str) -> str`,
    that file. One whose people are not what COCO's rules make of its boxes (MPII) has
    `people(path, images, allow_outside=)`, which gives a `KeypointDataset`.
    """

    __doc__: str | None

    def is_format(self, path: Path) -> bool:
        """Whether a file or a folder is in this format, by its name and first bytes; False where there is nothing."""
        ...

    def read(self, path: Path) -> Annotated:
        """What a file or folder of this format holds.

        Raises:
            FileNotFoundError: a file is missing.
            ImportError: a library is missing; the message names the extra.
            ValueError: it is malformed; the message names the file and the line or entry.
        """
        ...


def names() -> list[str]:
    """The formats, one per file in this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def named(name: str) -> Any:
    """The format in the file of that name; see `Format`.

    Raises:
        LookupError: there is no such format; the nearest is named.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names())}"
        raise LookupError(f"no annotation format {name!r}; {hint}")
    return importlib.import_module(f"posewright.data.formats.{name}")


def recognised(path: str | os.PathLike[str]) -> str:
    """The name of a file's or folder's format; "coco" where no other recognises it."""
    return next((n for n in names() if n != "coco" and named(n).is_format(Path(path))), "coco")


def read(path: str | os.PathLike[str], name: str = "") -> Annotated:
    """The annotations of a file or folder of any format.

    Args:
        path: the file or folder.
        name: of its format; by default told by its name and first bytes.

    Raises:
        FileNotFoundError, ImportError, LookupError, ValueError: see `Format.read` and `named`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return named(name or recognised(path)).read(path)


def write(found: Annotated, path: str | os.PathLike[str], name: str = "") -> dict[str, int]:
    """Write annotations in a format.

    Args:
        found: the annotations.
        path: the file, or the folder of formats that are folders.
        name: of the format; by default told by the file's suffix.

    Returns:
        What was lost, because the format has no place for it, counted by kind.

    Raises:
        LookupError: no format is named so, or none has that suffix.
        ValueError: the format is read only, or cannot hold these annotations.
        OSError: the file cannot be written.
    """
    path = Path(path)
    return named(written_as(path, name)).write(found, path)


def count_written(found: Annotated, lost: dict[str, int]) -> int:
    """How many annotations were written, by what `write` says was lost."""
    whole = ("annotations", "crowds")  # other kinds are parts of annotations that were written
    return len(found.file.annotations) - sum(n for kind, n in lost.items() if kind.startswith(whole))


def written_as(path: Path, name: str = "") -> str:
    """The format that a file or folder is written in; arguments and errors as of `write`."""
    written = [n for n in names() if hasattr(named(n), "write")]
    if not name:
        longest = sorted(written, key=lambda n: -len(named(n).SUFFIX))  # Label Studio's ends in COCO's
        name = next((n for n in longest if named(n).SUFFIX and path.name.lower().endswith(named(n).SUFFIX)), "")
        if not name:
            raise LookupError(f"{path}: say which format to write: one of {', '.join(written)}")
    if name not in written and name in names():
        raise ValueError(f"the format {name!r} is read only; it can be written as {', '.join(written)}")
    return name
