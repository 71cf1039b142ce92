"""What ruins training is found, named with its place and a way to mend it, and mended in a copy."""

import json
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.data import coco, formats, quality
from posewright.skeletons import COCO17, to_category

STANDING = {
    "nose": (50, 10), "left_eye": (52, 8), "right_eye": (48, 8), "left_ear": (54, 9), "right_ear": (46, 9),
    "left_shoulder": (60, 22), "right_shoulder": (40, 22), "left_elbow": (64, 38), "right_elbow": (36, 38),
    "left_wrist": (66, 52), "right_wrist": (34, 52), "left_hip": (56, 55), "right_hip": (44, 55),
    "left_knee": (57, 75), "right_knee": (43, 75), "left_ankle": (58, 95), "right_ankle": (42, 95),
}  # fmt: skip


def person(number, image_id=1, shift=0.0, **changes):
    triples = [[STANDING[p][0] + shift, STANDING[p][1], 2] for p in COCO17.points]
    entry = {
        "id": number, "image_id": image_id, "category_id": 1, "bbox": [30 + shift, 5, 40, 95], "area": 1800,
        "iscrowd": 0, "num_keypoints": 17, "keypoints": np.ravel(triples).tolist(),
        "segmentation": [[1, 2, 3, 4, 5, 6]],
    }  # fmt: skip
    return {k: v for k, v in (entry | changes).items() if v is not None}


@pytest.fixture
def made(tmp_path):
    """Writes a set with its images, of people; others than the sizes of the images are told by `sizes`."""

    def make(*people, name="train.json", images=2, seed=0, size=(200, 120), **content):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(seed)
        for n in range(1, images + 1):
            image.write(
                folder / f"{n}.png",
                np.kron(rng.integers(0, 255, (12, 20, 3), np.uint8), np.ones((10, 10, 1), np.uint8)),
            )
        entries = [
            {"id": n, "file_name": f"{n}.png", "width": size[0], "height": size[1]} for n in range(1, images + 1)
        ]
        whole = {
            "images": entries,
            "annotations": list(people),
            "categories": [to_category(COCO17)],
            "info": {"kept": 1},
        }
        path = folder / name
        path.write_text(json.dumps(whole | content))
        return path

    return make


def checked(*paths, **options):
    return quality.check([formats.read(path) for path in paths], **options)


def test_nothing_is_found_in_a_sound_set(made):
    (one,) = checked(made(person(1), person(2, shift=90), person(3, 2)))
    assert (one.findings, one.errors) == ((), 0)
    assert one.lines()[0].endswith("train.json: 3 annotations of 2 images: nothing found")


DAMAGED = {
    "id": ({"id": 1}, "the id 1 is used before"),
    "keypoints": ({"keypoints": [1, 2, 3] * 4}, "12 numbers, expected 51 of 17 points"),
    "no box": ({"bbox": None}, "no box"),
    "no area": ({"area": 0}, "the area is 0"),
    "missing area": ({"area": None}, "no area"),
    "count": ({"num_keypoints": 3}, "3, but 17 are labelled"),
    "outside image": ({"keypoints": [500, 50, 2] + [0] * 48, "num_keypoints": 1}, "1 points"),
    "outside box": ({"bbox": [30, 5, 40, 40]}, "points beyond it"),
    "duplicate": ({}, "is annotations[0] (id 1, image 1), 0.0 px off"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_each_problem_is_found_and_mended(made, kind, tmp_path):
    changes, detail = DAMAGED[kind]
    shift = 0 if kind == "duplicate" else 0.5
    other = person(2, 1 if kind == "duplicate" else 2, shift, **changes)
    (one,) = checked(path := made(person(1), other))
    assert one.counts == {kind: 1}
    assert one.findings[0].where == f"annotations[1] (id {other['id']}, image {other['image_id']})"
    assert one.findings[0].detail == detail
    assert one.errors == (quality.KINDS[kind].level == "error")
    assert quality.mend(one, path.parent / "mended.json") == 1
    (again,) = checked(path.parent / "mended.json")
    assert again.counts == {}
    content = json.loads((path.parent / "mended.json").read_text())
    assert content["info"] == {"kept": 1}
    assert content["annotations"][0] == json.loads(path.read_text())["annotations"][0]


def test_boxes_of_corners_are_told_and_made_sides(made):
    corners = [person(n, 1 + n % 2, 20.0 * n, bbox=[30 + 20 * n, 5, 70 + 20 * n, 100]) for n in range(1, 7)]
    (one,) = checked(path := made(*corners))
    assert one.counts == {"xyxy box": 6}
    quality.mend(one, path.parent / "mended.json")
    assert coco.read(path.parent / "mended.json").box[0].tolist() == [50, 5, 39, 94]
    (fine,) = checked(made(*(person(n, 1 + n % 2, 20.0 * n) for n in range(1, 7))))
    assert fine.counts == {}


@pytest.mark.parametrize("pair", ["elbow", "wrist"])
def test_a_swapped_pair_is_told_by_the_bones(made, pair):
    outlier = person(1)
    rows = np.reshape(outlier["keypoints"], (17, 3))
    left, right = (COCO17.points.index(f"{side}_{pair}") for side in ("left", "right"))
    rows[[left, right]] = rows[[right, left]]
    (one,) = checked(path := made(outlier | {"keypoints": rows.ravel().tolist()}, images=1))
    assert one.counts == {"swapped": 1}
    assert one.findings[0].detail == f"left_{pair} and right_{pair}"
    quality.mend(one, path.parent / "mended.json")
    assert (
        json.loads((path.parent / "mended.json").read_text())["annotations"][0]["keypoints"] == person(1)["keypoints"]
    )


def test_areas_are_made_of_the_mended_boxes(made):
    corners = [person(n, 1 + n % 2, 20.0 * n, bbox=[30 + 20 * n, 5, 70 + 20 * n, 100], area=None) for n in range(1, 7)]
    (one,) = checked(path := made(*corners))
    assert one.counts == {"xyxy box": 6, "missing area": 6}
    quality.mend(one, path.parent / "mended.json")
    first = json.loads((path.parent / "mended.json").read_text())["annotations"][0]
    assert (first["bbox"], first["area"]) == ([50, 5, 40, 95], pytest.approx(0.53 * 40 * 95))


def test_a_swapped_pair_and_a_point_outside_are_mended_together(made):
    rows = np.reshape(person(1)["keypoints"], (17, 3))
    left, right = (COCO17.points.index(f"{side}_elbow") for side in ("left", "right"))
    rows[[left, right]] = rows[[right, left]]
    rows[0] = -40, 20, 2
    (one,) = checked(path := made(person(1, keypoints=rows.ravel().tolist()), images=1))
    assert one.counts == {"outside image": 1, "swapped": 1}
    quality.mend(one, path.parent / "mended.json")
    mended = json.loads((path.parent / "mended.json").read_text())["annotations"][0]
    assert mended["num_keypoints"] == 16
    assert mended["keypoints"] == [0, 0, 0, *person(1)["keypoints"][3:]]


def numbered(path, *changes):
    """The file with other ids, names or other fields of its images."""
    content = json.loads(path.read_text())
    for entry, change in zip(content["images"], changes):
        entry |= change
    path.write_text(json.dumps(content))
    return path


def test_two_images_of_one_id_are_left_to_a_person_with_their_annotations(made):
    path = numbered(made(person(1), person(2, 2)), {}, {"id": 1})
    (one,) = checked(path)
    assert one.counts == {"id": 3}
    assert one.left == 3
    assert quality.mend(one, path.parent / "mended.json") == 0
    assert json.loads((path.parent / "mended.json").read_text()) == json.loads(path.read_text())


def test_an_image_listed_twice_is_dropped_once(made):
    path = numbered(made(person(1), person(2, 2, 50)), {"id": 2, "file_name": "2.png"})
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 2
    path.write_text(json.dumps(content))
    (one,) = checked(path)
    assert (one.counts, one.left) == ({"id": 1}, 0)
    assert quality.mend(one, path.parent / "mended.json") == 1
    (again,) = checked(path.parent / "mended.json")
    assert again.counts == {}
    assert len(again.found.file.annotations) == 2


def test_categories_that_are_missing_drop_nobody(made):
    (one,) = checked(path := made(person(1), person(2, 2), categories=[]))
    assert (one.counts, one.findings[0].detail) == ({"no points": 1}, "none of 0 lists keypoints")
    quality.mend(one, path.parent / "mended.json")
    assert len(json.loads((path.parent / "mended.json").read_text())["annotations"]) == 2


UNLABELLED = {"keypoints": [0] * 51, "num_keypoints": 0}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"images": 0, "annotations": []}, "0 images and 0 annotations"),
        ({"annotations": []}, "2 images and 0 annotations"),
        ({"annotations": [person(1, **UNLABELLED), person(2, 2, **UNLABELLED)]}, "none of 2 has a labelled point"),
        ({"annotations": [person(1, iscrowd=1)]}, "none of 1 has a labelled point"),
    ],
)
def test_sets_that_training_refuses_are_named(made, changes, detail):
    (one,) = checked(made(person(1), **changes))
    assert (one.counts, one.errors) == ({"empty": 1}, 1)
    assert one.findings[0].detail == detail


def test_images_are_read_and_dropped_where_they_cannot_be(made):
    path = made(person(1), person(2, 2), person(3, 3), images=4)
    (path.parent / "1.png").unlink()
    (path.parent / "2.png").write_bytes(b"no image")
    image.write(path.parent / "3.png", np.zeros((50, 60, 3), np.uint8))
    (one,) = checked(path)
    assert one.counts == {"missing image": 1, "unreadable image": 1, "image size": 1}
    assert [f.detail for f in one.findings if f.kind == "image size"] == ["120x200, the file has 50x60"]
    quality.mend(one, path.parent / "mended.json")
    people = coco.of_file(path, None, formats.read(path.parent / "mended.json").file, None, None, "keep")
    assert people.annotation_id.tolist() == [3]
    assert people.image_id.tolist() == [3, 4]
    (alone,) = checked(path, read_images=False)
    assert alone.counts == {}


def test_images_without_a_size_get_the_files(made):
    path = made(person(1), person(2, 2, 20))
    content = json.loads(path.read_text())
    del content["images"][0]["width"], content["images"][0]["height"]
    content["images"][1] |= {"width": 0, "height": 0}
    path.write_text(json.dumps(content))
    (one,) = checked(path)
    assert one.counts == {"no image size": 2}
    assert one.errors == 0
    quality.mend(one, path.parent / "mended.json")
    mended = json.loads((path.parent / "mended.json").read_text())["images"]
    assert [(entry["width"], entry["height"]) for entry in mended] == [(200, 120)] * 2


def test_leaks_between_splits_are_found_by_content(made):
    train, val = made(person(1)), made(person(1), name="val.json", seed=1)
    assert [one.counts for one in checked(train, val)] == [{}, {}]
    picture = image.read(train.parent / "2.png")
    image.write(val.parent / "1.png", image.resize(picture, (120, 200)))
    (val.parent / "2.png").write_bytes((train.parent / "1.png").read_bytes())
    one, two = checked(train, val)
    assert (one.counts, two.counts) == ({}, {"leak": 2})
    assert f"is images[0] (id 1, 1.png) of {train}" in {f.detail for f in two.findings}
    assert two.errors == 2


def test_a_skeleton_without_pairs_and_stray_ids_are_named(made):
    bug = {"id": 1, "name": "bug", "keypoints": [f"spot {n}" for n in range(17)]}
    (one,) = checked(made(person(1), person(2, 9), person(3, 2, 50, category_id=7), categories=[bug]))
    assert one.counts == {"id": 2, "mirror": 1}
    assert {f.detail for f in one.findings if f.kind == "id"} == {"no image has the id 9", "no category has the id 7"}


def test_a_sheet_shows_the_worst(made):
    (one,) = checked(made(person(1), person(2, 2, bbox=[30, 5, 40, 40]), person(3, 1, 1)))
    assert [f.kind for f in one.worst()] == ["outside box", "duplicate"]
    assert quality.sheet([one]).shape[2] == 3
    assert quality.sheet(checked(made(person(1)))) is None


def test_what_a_drawing_does_not_show_comes_last_on_the_sheet(made):
    (one,) = checked(made(person(1, area=0), person(2, 2, area=0), person(3, 2, 50, bbox=[30, 5, 40, 40])))
    assert [f.kind for f in one.worst()] == ["outside box", "no area", "no area"]


@pytest.mark.shared
def test_real_sets(shared):
    (mini,) = checked(shared / "data/coco_mini/annotations/person_keypoints_train2017.json")
    assert mini.errors == 0
    assert sum(mini.counts.values()) < 20
    (horse,) = checked(shared / "data/formats/horse10/test_horse10.json")
    assert horse.counts == {"mirror": 1}
    paths = sorted(Path(shared / "data/formats/ap10k").glob("*.json"))
    assert checked(paths[0])[0].errors == 0
