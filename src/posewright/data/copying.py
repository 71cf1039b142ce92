"""Images copied to where a data set that is written looks for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec

from posewright.data import formats
from posewright.data.formats import Annotated, _assemble
from posewright.data.image_files import find_all
from posewright.files import short, write_bytes


def copied(
    found: Annotated, images: Path | None, target: Path, name: str = "", *, allow_outside: bool = False
) -> Annotated:
    """Copy the images to where a data set written at `target` looks for them; the annotations with names that fit.

    Args:
        found: the annotations.
        images: the folder of their images; None looks around the annotations.
        target: the file or folder that will be written.
        name: of its format; by default told by the file's suffix.
        allow_outside: take images whose names lead out of their folder.

    Raises:
        FileNotFoundError: an image is not found; nothing has been copied.
        LookupError: see `formats.write`.
        ValueError: two images would have one place, or a name leads out of the folder of the images.
        OSError: an image cannot be copied.
    """
    module = formats.named(formats.written_as(target, name))
    root, place = target if not module.SUFFIX else target.parent, getattr(module, "place", str)
    names = [image.file_name for image in found.file.images]
    sources, searched = find_all(found.path, images, names, allow_outside=allow_outside)
    if absent := [name for name, source in zip(names, sources) if source is None]:
        raise FileNotFoundError(
            f"{found.path}: {len(absent)} of {len(names)} images not found, first {short(absent[0], 120)!r}; looked in "
            f"{', '.join(searched) or 'no folder that exists'}; say which folder holds the images"
        )
    inside = [_assemble.inside(name) for name in names]
    place_of, times = Counter(map(place, inside)).most_common(1)[0] if inside else ("", 0)
    if times > 1:
        raise ValueError(
            f"{found.path}: {times} images would be copied to {root / place_of}: give them names of their own"
        )
    if hasattr(module, "label_file"):
        _assemble.label_files(found, module.label_file)
    for source, name in zip(sources, inside):
        copy = root / place(name)
        if source is not None and copy.resolve() != Path(source).resolve():
            write_bytes(copy, Path(source).read_bytes())
    listed = [msgspec.structs.replace(image, file_name=name) for image, name in zip(found.file.images, inside)]
    return replace(found, file=msgspec.structs.replace(found.file, images=listed))
