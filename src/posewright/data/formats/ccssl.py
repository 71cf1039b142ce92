"""The synthetic animals of CC-SSL (Mu et al., CVPR 2020) as published: a folder of N_img.png and N_kpts.npy.

N_kpts.npy has x, y and visibility of every vertex of the animal's mesh, counted in pixels from 0; 18 of them are the
points of TigDog. Points behind something are labelled as hidden. `train_idxs.npy` and `valid_idxs.npy` beside them hold
a split, and are read as such.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import short
from posewright.skeletons import TIGDOG18

_VERTICES = {
    "horse": (1718, 1684, 1271, 1634, 1650, 1643, 1659, 925, 392, 564, 993, 726, 1585, 1556, 427, 1548, 967, 877),
    "tiger": (2753, 2679, 2032, 1451, 1287, 3085, 1632, 229, 1441, 1280, 2201, 1662, 266, 158, 270, 152, 219, 129),
}
"""Which vertices of the published meshes are the points of TigDog."""

_WIDTH, _HEIGHT = 640, 480  # of every published image
_SPLITS = ("train_idxs.npy", "valid_idxs.npy")


def is_format(path: Path) -> bool:
    """Whether it is such a folder, or one of its splits."""
    folder = path.parent if path.name in _SPLITS else path
    return folder.is_dir() and next(folder.glob("*_kpts.npy"), None) is not None


def read(path: Path) -> Annotated:
    """All images of a folder, or those of a split; the folder's name begins with the animal. See `Format.read`."""
    folder = path.parent if path.name in _SPLITS else path
    animal = folder.name.partition("_")[0]
    if animal not in _VERTICES:
        known = " or ".join(f"{name}_..." for name in _VERTICES)
        raise ValueError(f"{folder}: expected a folder named {known}, after the animal, whose vertices are known")
    files = sorted(folder.glob("*_img.png"))
    if path.name in _SPLITS:
        chosen = _array(path, "numbers of images")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not np.isin(chosen, np.arange(len(files))).all():
            raise ValueError(f"{path}: expected numbers of images, each from 0 to {len(files) - 1}")
        files = [files[n] for n in chosen.tolist()]
    images = [coco_format.Image(n, file.name, _WIDTH, _HEIGHT) for n, file in enumerate(files, 1)]
    instances = [_instance(n, file, animal) for n, file in enumerate(files)]
    category = _assemble.category(TIGDOG18, name=animal)
    return _assemble.annotated(folder / "annotations", [category], images, instances)


def _instance(place: int, image: Path, animal: str) -> Instance:
    """The points, those outside the image unlabelled, and the box of the whole mesh within the image."""
    path = image.with_name(image.name.removesuffix("img.png") + "kpts.npy")
    mesh = _array(path, "x, y and visibility of the mesh's vertices")
    rows = list(_VERTICES[animal])
    if mesh.ndim != 2 or mesh.shape[1] != 3 or len(mesh) <= max(rows) or mesh.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected [vertices, 3] of {max(rows) + 1} vertices or more, got {mesh.shape}")
    mesh = mesh.astype(np.float64)
    if not np.isfinite(mesh).all():
        raise ValueError(f"{path}: vertex {int(np.argmin(np.isfinite(mesh).all(1)))} is not finite")
    corners = np.clip([mesh[:, :2].min(0), mesh[:, :2].max(0)], 0, (_WIDTH, _HEIGHT))
    triples = np.column_stack([mesh[rows, :2], np.where(mesh[rows, 2] > 0, 2, 1)])
    triples[((triples[:, :2] < 0) | (triples[:, :2] > (_WIDTH, _HEIGHT))).any(1)] = 0
    return Instance(place, triples, [*corners[0], *(corners[1] - corners[0])])


def _array(path: Path, wanted: str) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected {wanted}") from None
    except Exception as error:  # numpy raises what its parser stumbles over: of any type, on damaged files
        raise ValueError(f"{path}: expected {wanted}: {short(str(error))}") from None
