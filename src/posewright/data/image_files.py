"""Image files of an annotation file: found in whatever layout they lie, and their names packed into one array."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posewright.files import short


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """Strings in two arrays.

    Worker processes share arrays with their parent. A list of strings they would copy bit by bit, because reading an
    object writes its reference count.

    Attributes:
        data: [bytes] uint8, UTF-8, all strings in a row.
        ends: [M] int64, where each ends.
    """

    data: np.ndarray
    ends: np.ndarray

    @staticmethod
    def of(strings: Iterable[str]) -> Strings:
        """Packed from any strings."""
        encoded = [os.fsencode(s) for s in strings]
        ends = np.cumsum([len(s) for s in encoded], dtype=np.int64)
        return Strings(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        start = self.ends[row - 1] if row else 0
        return os.fsdecode(self.data[start : self.ends[row]].tobytes())


class Finder:
    """Finds images by the names that an annotation file gives them.

    Each folder that may hold images is listed once; after that an image costs a look into a set. Folders that carry
    the name of the split come first, for a sibling split may hold another image of the same name.
    """

    def __init__(self, annotations: Path, images: Path | None, *, allow_outside: bool = False) -> None:
        self.annotations, self.allow_outside = annotations, allow_outside
        self.roots = [images] if images is not None else [annotations.parent, annotations.parent.parent]
        self.hints = _hints(annotations.stem)
        self._listed: dict[str, frozenset[str]] = {}
        self._searched: dict[tuple[str, str], list[str]] = {}

    def __call__(self, name: str) -> str | None:
        """The path of an image, or None.

        Raises:
            ValueError: the name leads out of the folders of the images.
        """
        if not (self.allow_outside or self._stays_inside(name.replace("\\", "/"))):
            roots = " and ".join(map(str, self.roots))
            raise ValueError(
                f"{self.annotations}: file_name {short(name, 120)!r} leads outside {roots}; expected a name inside "
                "the folder of the images; if you trust the file, --allow-outside (allow_outside=True) reads it"
            )
        folder, base = os.path.split(name.replace("\\", "/"))
        official = re.match(r"COCO_((?:train|val|test)20\d\d)_(\d{12}\.\w+)$", base)
        found = self._find(folder, base, official[1] if official else "")
        if found is None and official:  # the 2017 release holds the images of 2014 named by number alone
            places = (self._find(folder, official[2], year) for year in ("train2017", "val2017"))
            found = next(filter(None, places), None)
        return found

    @property
    def searched(self) -> list[str]:
        """All folders that were looked into and exist."""
        return [folder for folder, names in self._listed.items() if names]

    def _stays_inside(self, name: str) -> bool:
        if not (name.startswith("/") or ".." in name):
            return True
        roots = [os.path.abspath(root) for root in self.roots]  # noqa: PTH100  # links are the user's own
        places = [os.path.normpath(f"{root}/{name}" if name[0] != "/" else name) for root in roots]
        return any(os.path.commonpath([root, place]) == root for root in roots for place in places)

    def _find(self, folder: str, base: str, split: str) -> str | None:
        for place in self._places(folder, split):
            if base in self._listing(place):
                return os.path.join(place, base)  # noqa: PTH118  # plain strings: there are a hundred thousand
        return None

    def _places(self, folder: str, split: str) -> list[str]:
        key = (folder, split)
        if key not in self._searched:
            hints = ([split] if split else []) + self.hints
            places = []
            for root in self.roots:
                places += [root / middle / hint for hint in hints for middle in ("", "images")]
                places += [root, root / "images", root / "data"]
            self._searched[key] = list(dict.fromkeys(str(place / folder) for place in places))
        return self._searched[key]

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))  # noqa: PTH208  # names only, no Path each
            except (FileNotFoundError, NotADirectoryError):
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _hints(stem: str) -> list[str]:
    """Folder names that an annotation file's name suggests: person_keypoints_train2017 -> train2017, ..., train."""
    words = re.split(r"[_\-. ]", stem)
    years = re.findall(r"(?:train|valid|val|test)(?:20\d\d)?", stem)
    plain = [re.sub(r"20\d\d$", "", word) for word in years]
    return [word for word in dict.fromkeys([*years, stem, words[-1], *plain]) if word]


def find_all(
    annotations: Path, images: Path | None, names: Sequence[str], *, allow_outside: bool = False
) -> tuple[list[str | None], list[str]]:
    """The path of each named image, or None, and the folders that were looked into.

    Raises:
        ValueError: a name is absolute or has ".." and leads out of these folders, and `allow_outside` is not set.
    """
    finder = Finder(annotations, images, allow_outside=allow_outside)
    return [finder(name) for name in names], finder.searched
