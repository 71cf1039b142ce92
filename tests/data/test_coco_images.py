"""The images of COCO-format files: where they are found, and which are missing or refused."""

import os

import pytest

from posewright.data import coco


@pytest.mark.parametrize(
    ("name", "place", "root"),
    [
        ("annotations/person_keypoints_train2017.json", "train2017", None),
        ("annotations/person_keypoints_train2017.json", "images/train2017", None),
        ("annotations/person_keypoints_train2017.json", "images", None),
        ("annotations/person_keypoints_train2017.json", "", None),
        ("annotations/person_keypoints_train2017.json", "annotations", None),
        ("annotations/ap10k-val-split1.json", "data", None),
        ("train/_annotations.coco.json", "train", None),
        ("val.json", "images", None),
        ("val.json", "images/val", None),
        ("valid_set.json", "valid", None),
        ("annotations/instances_default.json", "images/default", None),
        ("x.json", "photos", "photos"),
        ("x_val2017.json", "photos/val2017", "photos"),
        ("x_val2017.json", "photos/images/val2017", "photos"),
        ("x_val2017.json", "photos/val", "photos"),
    ],
)
def test_image_folders_are_found(dataset, person, tmp_path, name, place, root):
    file = dataset(tmp_path, [person()], name=name, places=[place])
    people = coco.read(file, tmp_path / root if root else None)
    assert people[0].path == tmp_path / place / "a.jpg"


def test_the_folder_of_the_split_comes_first(dataset, person, tmp_path):
    file = dataset(tmp_path, [person()], name="annotations/val.json", places=["train", "val", "images"])
    assert coco.read(file)[0].path == tmp_path / "val/a.jpg"


def test_an_absolute_path_is_taken_as_it_is(dataset, person, photo, tmp_path):
    elsewhere = tmp_path / "elsewhere/a.jpg"
    file = dataset(tmp_path / "set", [person()], [photo(name=str(elsewhere))])
    assert coco.read(file, allow_outside=True)[0].path == elsewhere


@pytest.mark.parametrize("name", ["/etc/passwd.jpg", "../a.jpg", "b/../../a.jpg", "..\\a.jpg"])
def test_names_that_lead_out_of_the_images_are_refused(dataset, person, photo, tmp_path, name):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "images" / "b").mkdir(parents=True)
    file = dataset(tmp_path, [person()], [photo(name=name)], places=())
    with pytest.raises(ValueError, match=r"train.json: file_name .* leads outside .*images; .*--allow-outside"):
        coco.read(file, tmp_path / "images")
    if name != "/etc/passwd.jpg":
        assert coco.read(file, tmp_path / "images", allow_outside=True)[0].path.samefile(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["{}/images/a.jpg", "../images/a.jpg", "b..c/a.jpg"])
def test_names_that_stay_inside_are_read(dataset, person, photo, tmp_path, name):
    file = dataset(tmp_path, [person()], [photo(name=name.format(tmp_path))], places=())
    for folder in ("images", "images/b..c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
    assert coco.read(file)[0].path.samefile(tmp_path / "images" / name.removeprefix("../images/").format(tmp_path))


def test_coco_2014_names_lead_to_either_folder(dataset, person, photo, tmp_path):
    names = ["COCO_train2014_000000000009.jpg", "COCO_val2014_000000000042.jpg"]
    images = [photo(n + 1, name) for n, name in enumerate(names)]
    people = [person(1, 1), person(2, 2)]
    file = dataset(tmp_path, people, images, name="gt_json/train_val_minus_minival_2014.json", places=[])
    for folder, name in zip(("train2014", "val2014"), names):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / name).touch()
    assert [s.path.parent.name for s in coco.read(file)] == ["train2014", "val2014"]


def test_coco_2014_names_are_found_in_the_2017_release(dataset, person, photo, tmp_path):
    images = [photo(1, "COCO_val2014_000000000042.jpg")]
    file = dataset(tmp_path, [person()], images, name="annotations/minival_2014.json", places=[])
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017/000000000042.jpg").touch()
    assert coco.read(file)[0].path == tmp_path / "train2017/000000000042.jpg"


def test_each_folder_is_listed_once(dataset, person, photo, tmp_path, monkeypatch):
    images = [photo(n, f"{n}.jpg") for n in range(1, 30)]
    file = dataset(tmp_path, [person()], images, name="annotations/val.json", places=["images/val"])
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    assert len(coco.read(file).image_id) == 29
    assert len(listed) == len(set(listed)) < 29


def test_missing_images(dataset, person, photo, tmp_path):
    images = [photo(1), photo(2, "b.jpg"), photo(3, "c.jpg")]
    file = dataset(tmp_path, [person(1, 1), person(2, 2), person(3, 3)], images)
    (tmp_path / "images/b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.json: 1 of 3 images not found, first 'b.jpg' \(id 2\)") as e:
        coco.read(file)
    assert str(tmp_path / "images") in str(e.value)
    people = coco.read(file, missing="skip")
    assert people.annotation_id.tolist() == [1, 3]
    assert people.image_id.tolist() == [1, 3]
    assert people.skipped == {"images not found": 1, "on an image not found": 1}
    with pytest.raises(FileNotFoundError, match=r"3 of 3 images not found.*which does not exist"):
        coco.read(file, tmp_path / "no such folder", missing="skip")
