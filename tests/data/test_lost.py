"""What a conversion keeps, says that it loses, or refuses: classes, segmentations, points, people, names."""

import json

import numpy as np
import pytest

from posewright.data import exif, formats
from posewright.data.formats import _assemble

CAT = {"id": 2, "name": "moth", "keypoints": ["head", "left_wing", "right_wing"], "skeleton": [[1, 2], [1, 3]]}


@pytest.fixture
def made(dataset, tmp_path, photo, category):
    """Reads a set of annotations of as many images as they name."""

    def make(*annotations, categories=(category,), names=("a.jpg", "b.jpg"), **fields):
        images = [photo(n, name) for n, name in enumerate(names, 1)]
        path = dataset(tmp_path, list(annotations), images, categories)
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return formats.read(path)

    return make


def classes(found):
    names = {category.id: category.name for category in found.file.categories}
    return [names[a.category_id] for a in found.file.annotations]


def test_an_annotation_without_keypoints_is_written(made, person, tmp_path):
    found = made(person(1), person(2, 2, keypoints=None, num_keypoints=None))
    formats.write(found, tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert first["keypoints"] == person()["keypoints"]
    assert "keypoints" not in second


def test_other_fields_of_a_coco_file_are_kept(made, person, tmp_path, category):
    segment, info = [[1, 2, 3, 4, 5, 6.5]], {"year": 2024}
    found = made(
        person(1), person(2, segmentation=segment), categories=[category | {"supercategory": "insect"}], info=info
    )
    assert formats.write(found, tmp_path / "out.json") == {}
    content = json.loads((tmp_path / "out.json").read_text())
    assert (content["info"], content["categories"][0]["supercategory"]) == (info, "insect")
    assert [a.get("segmentation") for a in content["annotations"]] == [None, segment]


def test_annotations_of_one_id_keep_their_own_segmentations(made, person, tmp_path):
    found = made(person(1, segmentation=[[1]]), person(1, 2, segmentation=[[2]]), person(1, segmentation=[[3]]))
    formats.write(found, tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [a["segmentation"] for a in content["annotations"]] == [[[1]], [[2]], [[3]]]


@pytest.mark.parametrize("name", ["cvat", "yolo", "labelme", "labelstudio", "sleap", "deeplabcut"])
def test_segmentations_that_a_format_cannot_hold_are_said(made, person, tmp_path, name):
    found = made(person(1, segmentation=[[1, 2, 3, 4, 5, 6]]), person(2, 2, segmentation=[]))
    assert formats.write(found, tmp_path / "out", name)["segmentations"] == 1


@pytest.mark.parametrize("name", ["labelme", "yolo"])
def test_images_that_would_share_a_label_file_are_refused(made, person, tmp_path, name):
    found = made(person(1), person(2, 2), names=("a.jpg", "a.png"))
    with pytest.raises(ValueError, match=r"train\.json: images 'a\.jpg' and 'a\.png' would share the labels"):
        formats.write(found, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["labelme", "labelstudio", "cvat"])
def test_classes_are_read_back(made, person, tmp_path, name, category):
    found = made(person(1, category_id=2), person(2, 2), categories=[category, CAT])
    formats.write(found, tmp_path / "out.json", name)
    assert classes(formats.read(tmp_path / "out.json", name)) == ["moth", "bug"]


@pytest.mark.parametrize("name", ["sleap", "deeplabcut"])
def test_classes_that_a_format_cannot_hold_are_said(made, person, tmp_path, name, category):
    found = made(person(1, category_id=2), person(2, 2), categories=[category, CAT])
    assert formats.write(found, tmp_path / "out", name)["classes (written as one)"] == 2


def test_classes_that_labelme_has_no_box_for_are_said(made, person, tmp_path, category):
    found = made(person(1, category_id=2), person(2, 2, bbox=None), categories=[category, CAT])
    assert formats.write(found, tmp_path / "out", "labelme")["classes of annotations without a box"] == 1
    assert classes(formats.read(tmp_path / "out")) == ["moth", "moth"]  # the only class that is labelled


def test_somebody_without_a_label_is_of_no_other_class(made, person, tmp_path, category):
    found = made(person(1, category_id=2), person(2), person(3, 2, bbox=None), categories=[category, CAT])
    formats.write(found, tmp_path / "out", "labelme")
    assert classes(formats.read(tmp_path / "out")) == ["moth", "bug", "object"]


@pytest.mark.parametrize("name", ["labelme", "labelstudio"])
def test_points_that_only_labels_would_name_are_said(made, person, tmp_path, name):
    assert formats.write(made(person(1)), tmp_path / "out", name)["points that nobody has"] == 1


@pytest.mark.parametrize("name", ["labelme", "yolo", "labelstudio", "sleap", "deeplabcut"])
def test_somebody_without_a_box_and_a_point_is_left_out_and_said(made, person, tmp_path, name):
    found = made(person(1), person(2, 2, bbox=None, keypoints=[0] * 9, num_keypoints=0))
    lost = formats.write(found, tmp_path / "out", name)
    assert [n for kind, n in lost.items() if kind.startswith("annotations without")] == [1]
    assert formats.count_written(found, lost) == 1


@pytest.mark.parametrize("name", ["sleap", "deeplabcut"])
def test_boxes_alone_are_no_people_of_a_format_of_points(made, person, tmp_path, name):
    lost = formats.write(made(person(1), person(2, 2, keypoints=[0] * 9)), tmp_path / "out", name)
    assert (lost["annotations without a labelled point"], lost["boxes"]) == (1, 1)


def test_crowds_that_a_format_cannot_hold_do_not_count_as_written(made, person, tmp_path):
    found = made(person(1), person(2, 2, iscrowd=1))
    assert formats.count_written(found, formats.write(found, tmp_path / "out.xml")) == 1
    assert formats.count_written(found, formats.write(found, tmp_path / "out.json")) == 2


def test_sleap_needs_an_image(made, tmp_path):
    with pytest.raises(ValueError, match=r"train\.json: no images, and SLEAP's labels are of a list of images"):
        formats.write(made(names=()), tmp_path / "out.slp")


def test_label_studio_is_told_by_its_whole_suffix(made, person, tmp_path):
    formats.write(made(person(1)), tmp_path / "out.labelstudio.json")
    assert formats.recognised(tmp_path / "out.labelstudio.json") == "labelstudio"


def test_yolo_leaves_out_the_path_that_ultralytics_takes_from_elsewhere(made, person, tmp_path):
    formats.write(made(person(1)), tmp_path / "out", "yolo")
    assert "path" not in (tmp_path / "out" / "data.yaml").read_text()


# -- Labelme's photographs, which it turns upright ---------------------------------------------------------------------


def labelled(folder, orientation, size=(200, 100)):
    """A photograph stored as 200 x 100 pixels, of which Labelme shows and labels the upright one."""
    pil = pytest.importorskip("PIL.Image")
    tags = pil.Exif()
    tags[0x0112] = orientation
    pil.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / "p.jpg", exif=tags)
    shapes = [{"label": "tip", "points": [[30, 20]], "shape_type": "point", "group_id": 1},
              {"label": "bug", "points": [[10, 5], [50, 40]], "shape_type": "rectangle", "group_id": 1}]  # fmt: skip
    sizes = {"imageWidth": size[0], "imageHeight": size[1]}
    (folder / "p.json").write_text(json.dumps({"shapes": shapes, "imagePath": "p.jpg", **sizes}))
    return formats.read(folder)


PLACES = {
    1: (30, 20), 2: (169, 20), 3: (169, 79), 4: (30, 79), 5: (20, 30), 6: (20, 69), 7: (179, 69), 8: (179, 30),
}  # fmt: skip


@pytest.mark.parametrize("orientation", PLACES)
def test_labels_of_turned_photographs_become_stored_pixels(tmp_path, orientation):
    found = labelled(tmp_path, orientation, (200, 100) if orientation < 5 else (100, 200))
    (one,), (photo,) = found.file.annotations, found.file.images
    assert one.keypoints == [*PLACES[orientation], 2]
    assert (photo.width, photo.height) == (200, 100)
    x, y, w, h = one.bbox
    assert x < one.keypoints[0] < x + w
    assert y < one.keypoints[1] < y + h


def test_labels_of_the_stored_size_are_not_turned(tmp_path):
    found = labelled(tmp_path, 6, (200, 100))
    assert found.file.annotations[0].keypoints == [30, 20, 2]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_photographs_are_written_as_labelme_shows_them(tmp_path, orientation):
    found = labelled(tmp_path, orientation, (200, 100) if orientation < 5 else (100, 200))
    formats.write(found, tmp_path / "out", "labelme")
    content = json.loads((tmp_path / "out" / "p.json").read_text())
    assert content["shapes"][0]["points"] == [[30, 20]]
    turning = exif.turning(tmp_path / "p.jpg")
    assert (content["imageHeight"], content["imageWidth"]) == turning.upright_size
    (tmp_path / "p.jpg").rename(tmp_path / "out" / "p.jpg")
    before, after = (_assemble.pictures(f)[1][0].instances[0] for f in (found, formats.read(tmp_path / "out")))
    np.testing.assert_array_equal(before.keypoints, after.keypoints)
    assert before.box == after.box
