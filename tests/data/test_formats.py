"""Every annotation format: recognised, read, written, read back; 200 mutations of each file end in a clear line."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.data import coco, formats, sources
from posewright.data.formats import _assemble
from posewright.skeletons import to_category
from posewright.types import Skeleton

ANT = Skeleton("ant", ("head", "left_foot", "right_foot"), (("head", "left_foot"),), (("left_foot", "right_foot"),))


@pytest.fixture
def found(tmp_path):
    """Three images, one of them without anybody and one with two ants, as COCO has them."""
    (tmp_path / "ants").mkdir()
    images = []
    for number in (1, 2, 3):
        image.write(tmp_path / "ants" / f"img{number}.png", np.full((60, 80, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"ants/img{number}.png", "width": 80, "height": 60})
    annotations = []
    for number, keypoints in enumerate(
        ([30, 20, 2, 10.5, 40.25, 2, 50, 41, 2], [60, 30, 2, 0, 0, 0, 70, 50.5, 2], [5, 9, 2, 15, 15, 2, 25, 29, 2]), 1
    ):
        shown = np.reshape(keypoints, (3, 3))
        low, high = (f(shown[shown[:, 2] > 0, :2], axis=0) for f in (np.min, np.max))
        annotations.append({
            "id": number, "image_id": (1, 1, 3)[number - 1], "category_id": 1, "iscrowd": 0, "area": 99.0,
            "bbox": [*low.tolist(), *(high - low).tolist()], "keypoints": keypoints,
        })  # fmt: skip
    path = tmp_path / "ants.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [to_category(ANT, 1, "ant")]})
    )
    return formats.read(path)


def written(found, name, folder):
    """The annotations written in a format; where they are, and what was lost."""
    path = folder / f"out{formats.named(name).SUFFIX}"
    lost = formats.write(found, path, name)
    if place := {"deeplabcut": "labeled-data/ants", "yolo": "images/ants"}.get(name):
        shutil.copytree(folder / "ants", path / place, dirs_exist_ok=True)
    return path, lost


def poses(found):
    """File name -> keypoints of its instances, in order."""
    _, shown, _ = _assemble.pictures(found)
    return {Path(p.image.file_name).name: [i.keypoints.tolist() for i in p.instances] for p in shown if p.instances}


WRITABLE = [name for name in formats.names() if hasattr(formats.named(name), "write")]


@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_written_is_recognised_and_read_back(found, name, tmp_path):
    path, lost = written(found, name, tmp_path)
    assert formats.recognised(path) == name
    again = formats.read(path)
    mine, theirs = poses(found), poses(again)
    assert mine.keys() == theirs.keys()
    for file_name, rows in mine.items():
        np.testing.assert_allclose(theirs[file_name], rows, atol=1e-4)
    assert set(lost) <= {"boxes", "areas", "bones"}
    skeleton, _, _ = _assemble.pictures(again)
    assert (skeleton.points, skeleton.mirror) == (ANT.points, ANT.mirror)


@pytest.mark.parametrize("name", WRITABLE)
def test_every_format_is_training_data(found, name, tmp_path):
    path, _ = written(found, name, tmp_path)
    people = sources.read_all([path], [tmp_path if path.is_file() or name == "labelme" else ""], ANT)
    assert len(people) == 3
    assert len(people.image_id) == 3
    assert people.xy[0, 1].tolist() == [10.5, 40.25]


def test_unknown_formats_are_refused(found, tmp_path):
    with pytest.raises(LookupError, match=r"no annotation format 'deeplabkut'; did you mean 'deeplabcut'\?"):
        formats.read(found.path, "deeplabkut")
    with pytest.raises(LookupError, match=r"out.xyz: say which format to write: one of coco, cvat, deeplabcut"):
        formats.write(found, tmp_path / "out.xyz")
    with pytest.raises(FileNotFoundError, match=r"none.json: no such file or folder"):
        formats.read(tmp_path / "none.json")


def complaint(path, damaged):
    """What the reader says of a damaged file; nothing where it can be read."""
    try:
        coco.of_file(damaged, None, formats.read(path).file, None, None, "keep")
    except (ValueError, OSError, LookupError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", WRITABLE)
def test_two_hundred_mutations_of_each_file_end_in_a_clear_line(found, name, tmp_path, mutated):
    path, _ = written(found, name, tmp_path)
    files = [f for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file() and f.suffix != ".png"]
    rng = random.Random(0)
    complaints = 0
    for file in files:
        good = file.read_bytes()
        for _ in range(200):
            file.write_bytes(mutated(good, rng))
            if said := complaint(path, file):
                assert file.name in said or path.name in said
                assert len(said) < 1500
                assert "\n" not in said
                complaints += 1
        file.write_bytes(good)
    assert formats.read(path).file.annotations
    assert complaints > 0
