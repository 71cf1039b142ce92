"""Which images are meant by files, folders, lists, patterns and standard input, and what each is called in a run."""

from __future__ import annotations

import glob
import itertools
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from posewright import image
from posewright.image import READABLE, READABLE_HERE
from posewright.predict.boxes import BoxFile, image_id_of

PathLike: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of a run.

    Attributes:
        name: what results call it, unlike any other in the run: the path inside the folder that was given, with
            slashes; or, where two would be called the same, the path inside the folder that holds them all.
        path: the file.
        pixels: [H, W, 3] uint8 RGB, where it came through standard input.
    """

    name: str
    path: Path
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)

    def read(self, *, upright: bool = True) -> np.ndarray:
        """The image; see `image.read`."""
        return image.read(self.path, upright=upright) if self.pixels is None else self.pixels

    @property
    def state(self) -> list[int]:
        """What changes when the image does: the file's size and when it was written."""
        if self.pixels is not None:
            return [zlib.crc32(self.pixels.tobytes())]
        if not self.path.exists():
            return []
        about = self.path.stat()
        return [about.st_size, about.st_mtime_ns]


@dataclass(frozen=True, slots=True)
class Images:
    """The images that are meant, each once, in the order given, and the files of the folders that are not images."""

    files: list[ImageFile]
    unread: list[Path]

    def unread_words(self) -> str:
        """How many files are not images, of which kinds, and the first few by name; "" where there are none."""
        if not self.unread:
            return ""
        kinds = Counter(path.suffix.lower() or "no suffix" for path in self.unread)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
        named = ", ".join(map(str, self.unread[:5]))
        more = f" and {len(self.unread) - 5} more" if len(self.unread) > 5 else ""
        return f"{len(self.unread)} files of the folders are not images that can be read ({counted}): {named}{more}"


def images_of(inputs: Sequence[PathLike], *, recursive: bool = False, skip: Path | None = None) -> Images:
    """The images that are meant by files, folders, lists, patterns and standard input.

    Args:
        inputs: image files; folders; .txt files with one image per line, from the text file's own folder where not
            absolute (blank lines and lines that start with # do not count); patterns such as "photos/*.jpg", where no
            file is called so; "-", an encoded image on standard input.
        recursive: take the images of sub-folders too.
        skip: a folder that is not entered, for its images are drawings of this run.

    Raises:
        FileNotFoundError: something is missing; the message names it, and the list and line that it stands in.
        ValueError: a file is neither an image nor a list, or a folder, list or pattern yields no image.
    """
    found: dict[str, ImageFile] = {}
    unread: dict[Path, None] = {}
    for given in inputs:
        for file in _images_of(Path(given), unread, skip, recursive=recursive):
            found.setdefault(os.path.abspath(file.path), file)  # noqa: PTH100  # links stay what they are called
    if not found:
        raise ValueError("expected at least one image file, folder, .txt list or pattern, got none")
    files = list(found.values())
    if len({file.name for file in files}) < len(files):  # whole paths tell them apart
        paths = {file: Path(os.path.abspath(file.path)) for file in files if file.pixels is None}  # noqa: PTH100
        root = os.path.commonpath([path.parent for path in paths.values()])
        files = [ImageFile(paths[f].relative_to(root).as_posix(), f.path) if f in paths else f for f in files]
    return Images([replace(file, name=in_utf8(file.name)) for file in files], list(unread))


def in_utf8(text: str) -> str:
    """A name, or text with one, that any file can hold: bytes that are not UTF-8 become a backslash and their hex."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def drawing_names(names: Sequence[str]) -> list[str]:
    """A name for the drawing of each image, as different as the images' names are.

    "a/img.jpg" becomes "a/img_pose.jpg"; where two images differ in their suffix alone, it stays in the name.
    """
    stems = [name.rpartition(".")[0] or name for name in names]
    times = Counter(stems)
    drawings = [f"{stem if times[stem] == 1 else name}_pose.jpg" for stem, name in zip(stems, names)]
    return drawings if len(set(drawings)) == len(names) else [f"{name}_pose.jpg" for name in names]


def _images_of(given: Path, unread: dict[Path, None], skip: Path | None, *, recursive: bool) -> Iterator[ImageFile]:
    if str(given) == "-":
        if sys.stdin.isatty():
            raise ValueError("-: expected an image on standard input, such as `posewright predict - < photo.jpg`")
        yield ImageFile("stdin", Path("-"), image.decode(sys.stdin.buffer.read(), "standard input"))
    elif given.is_dir():
        yield from _in_folder(given, unread, skip, recursive=recursive)
    elif given.suffix.lower() == ".txt" and given.is_file():
        yield from _in_list(given)
    elif not given.exists() and glob.has_magic(str(given)):
        yield from _in_pattern(given, unread)
    else:
        yield ImageFile(given.name, _image_file(given))


def _in_folder(folder: Path, unread: dict[Path, None], skip: Path | None, *, recursive: bool) -> Iterator[ImageFile]:
    inside = sorted(folder.rglob("*") if recursive else folder.iterdir())
    skipped = skip.resolve() if skip is not None and skip.resolve() != folder.resolve() else None
    files = [
        path
        for path in inside
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (skipped is None or skipped not in path.resolve().parents)
    ]
    images = [path for path in files if path.suffix.lower() in READABLE_HERE]
    unread.update(dict.fromkeys(path for path in files if path.suffix.lower() not in READABLE_HERE))
    if not images:
        deeper = (
            "" if recursive or not any(map(Path.is_dir, inside)) else "; --recursive takes those of its sub-folders"
        )
        raise ValueError(f"{folder}: no images in this folder; expected {', '.join(READABLE_HERE)}{deeper}")
    for path in images:
        yield ImageFile(path.relative_to(folder).as_posix(), path)


def _in_list(text: Path) -> Iterator[ImageFile]:
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{text}: expected a text file with one image path per line, got other bytes") from None
    named = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    if not named:
        raise ValueError(f"{text}: lists no image; expected one path per line")
    for n, line in named:
        inside = not Path(line).is_absolute() and ".." not in Path(line).parts
        yield ImageFile(
            Path(line).as_posix() if inside else Path(line).name, _image_file(text.parent / line, f"{text}, line {n}: ")
        )


def _in_pattern(pattern: Path, unread: dict[Path, None]) -> Iterator[ImageFile]:
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    paths = sorted(path for path in fixed.glob(pattern.relative_to(fixed).as_posix()) if path.is_file())
    images = [path for path in paths if path.suffix.lower() in READABLE_HERE]
    unread.update(dict.fromkeys(path for path in paths if path.suffix.lower() not in READABLE_HERE))
    if not images:
        raise FileNotFoundError(f"{pattern}: no image matches this pattern")
    for path in images:
        yield ImageFile(path.relative_to(fixed).as_posix(), path)


def _image_file(path: Path, where: str = "") -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{where}{path}: no such file or folder")
    if not path.is_file() or path.suffix.lower() not in READABLE:
        raise ValueError(f"{where}{path}: not an image; expected {', '.join(READABLE)}")
    return path


def image_ids(files: Sequence[ImageFile], boxes: object = None) -> tuple[list[int], str]:
    """An id for each image, and how they came about where that needs saying.

    They are those of the box file, where there is one; the numbers that the names end in, where these are distinct,
    while names without a number get the lowest ids that are free; else the images' places in the run, from 1.

    Raises:
        LookupError: the box file names no such image.
        ValueError: two images have the same id in the box file, or it goes by numbers and a name has none.
    """
    if isinstance(boxes, BoxFile):
        ids = [boxes.id_of(file.path) for file in files]
        number, times = Counter(ids).most_common(1)[0]
        if times > 1:
            first, second = [file.path for file, i in zip(files, ids) if i == number][:2]
            raise ValueError(f"{first} and {second}: both are image {number} of the box file; predict them separately")
        return ids, ""
    numbers = [_number(file) for file in files]
    given = [number for number in numbers if number is not None]
    if len(set(given)) < len(given):
        number = Counter(given).most_common(1)[0][0]
        first, second = [file.name for file, n in zip(files, numbers) if n == number][:2]
        return list(range(1, len(files) + 1)), (
            f"image_id is each image's place in the run, for {first} and {second} end in the same number"
        )
    free = (n for n in range(1, 2 * len(files) + 1) if n not in set(given))
    ids = [next(free) if number is None else number for number in numbers]
    if given and len(given) < len(files):
        return (
            ids,
            f"image_id is the number that a name ends in; {len(files) - len(given)} images without one got free ids",
        )
    return ids, ""


def _number(file: ImageFile) -> int | None:
    try:
        number = image_id_of(file.name)
    except ValueError:
        return None
    return number if number < 2**63 else None
