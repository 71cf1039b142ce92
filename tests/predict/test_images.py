"""Which images are meant, what they are called, and the ids that they get."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.predict import boxes as detect
from posewright.predict.images import ImageFile, drawing_names, image_ids, images_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/c.jpg"):
        image.write(tmp_path / name, np.zeros((4, 5, 3), np.uint8))
    (tmp_path / "notes.md").write_text("no image")
    return tmp_path


def paths(*given, **options) -> list[Path]:
    return [file.path for file in images_of(given, **options).files]


def names(*given, **options) -> list[str]:
    return [file.name for file in images_of(given, **options).files]


def named(*names: str) -> list[ImageFile]:
    return [ImageFile(name, Path(name)) for name in names]


def test_images_are_files_folders_and_lists(folder):
    a, b, c = folder / "a.PNG", folder / "b.jpg", folder / "sub/c.jpg"
    (folder / "sub/list.txt").write_text(f"# two images\nc.jpg\n\n  {a}  \n../b.jpg\n")
    assert paths(folder) == [a, b]
    assert paths(str(c), folder, b) == [c, a, b]
    assert [p.resolve() for p in paths(folder / "sub/list.txt")] == [c, a, b]
    assert names(folder / "sub/list.txt") == ["c.jpg", "a.PNG", "b.jpg"]


def test_sub_folders_are_taken_on_request_but_for_hidden_ones_and_the_output(folder):
    image.write(folder / "out" / "b_pose.jpg", np.zeros((4, 5, 3), np.uint8))
    image.write(folder / ".thumbnails" / "b.jpg", np.zeros((4, 5, 3), np.uint8))
    assert names(folder, recursive=True, skip=folder / "out") == ["a.PNG", "b.jpg", "sub/c.jpg"]
    assert names(folder / "out", skip=folder / "out") == ["b_pose.jpg"]


def test_patterns_are_taken_where_no_file_is_called_so(folder):
    assert names(folder / "*.jpg") == ["b.jpg"]
    assert names(folder / "**" / "*.jpg") == ["b.jpg", "sub/c.jpg"]
    with pytest.raises(FileNotFoundError, match=r"\*\.bmp: no image matches this pattern"):
        images_of([folder / "*.bmp"])
    image.write(folder / "x[1].jpg", np.zeros((4, 5, 3), np.uint8))
    assert names(folder / "x[1].jpg") == ["x[1].jpg"]


def test_files_that_are_not_read_are_counted_and_named(folder):
    for name in ("1.psd", "2.PSD", "3.tga"):
        (folder / name).write_bytes(b"")
    found = images_of([folder, folder])
    words = found.unread_words()
    assert words.startswith("4 files of the folders are not images that can be read (2 .psd, 1 .tga, 1 .md): ")
    assert f"{folder / '3.tga'}" in words
    assert images_of([folder / "b.jpg"]).unread_words() == ""


def test_images_of_equal_names_are_told_apart_by_their_folders(folder):
    image.write(folder / "other" / "c.jpg", np.zeros((4, 5, 3), np.uint8))
    assert names(folder / "sub", folder / "b.jpg") == ["c.jpg", "b.jpg"]
    assert names(folder / "sub", folder / "other", folder / "b.jpg") == ["sub/c.jpg", "other/c.jpg", "b.jpg"]
    assert names(folder / "sub" / "c.jpg", folder / "sub") == ["c.jpg"]  # the same file


def test_drawings_of_different_images_differ():
    assert drawing_names(["a/img.jpg", "b/img.jpg"]) == ["a/img_pose.jpg", "b/img_pose.jpg"]
    assert drawing_names(["photo.bmp", "photo.webp", "x.jpg"]) == [
        "photo.bmp_pose.jpg", "photo.webp_pose.jpg", "x_pose.jpg",
    ]  # fmt: skip
    tricky = ["photo.bmp", "photo.webp", "photo.bmp.jpg", "stdin"]
    assert len(set(drawing_names(tricky))) == 4


def test_ids_are_the_numbers_of_names_where_these_differ():
    assert image_ids(named("785.jpg", "a/COCO_val2014_000000000042.jpg")) == ([785, 42], "")
    assert image_ids(named("b.jpg", "a.jpg")) == ([1, 2], "")
    ids, words = image_ids(named("2.jpg", "a.jpg", "1.jpg", "b.jpg", "99999999999999999999.jpg"))
    assert ids == [2, 3, 1, 4, 5]
    assert "3 images without one got free ids" in words
    ids, words = image_ids(named("a/7.jpg", "x.jpg", "b/7.jpg"))
    assert ids == [1, 2, 3]
    assert "each image's place in the run, for a/7.jpg and b/7.jpg end in the same number" in words


def test_ids_of_a_box_file_must_differ():
    none = np.zeros((0, 4))
    boxes = detect.BoxFile("det.json", np.zeros(0, int), none, none[:, 0], {}, {})
    assert image_ids(named("a/7.jpg", "8.jpg"), boxes) == ([7, 8], "")
    with pytest.raises(ValueError, match=r"a/7\.jpg and b/7\.jpg: both are image 7 of the box file"):
        image_ids(named("a/7.jpg", "b/7.jpg"), boxes)


def test_images_that_are_not_there_are_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg: no such file or folder"):
        images_of([folder / "gone.jpg"])
    (folder / "list.txt").write_text("\nb.jpg\ngone.jpg\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt, line 3: .*gone\.jpg: no such file"):
        images_of([folder / "list.txt"])
    with pytest.raises(ValueError, match=r"notes\.md: not an image; expected \.jpg"):
        images_of([folder / "notes.md"])
    with pytest.raises(ValueError, match="expected at least one image file"):
        images_of([])


def test_a_list_may_begin_with_a_byte_order_mark(folder):
    (folder / "list.txt").write_text("b.jpg\n", encoding="utf-8-sig")
    assert names(folder / "list.txt") == ["b.jpg"]


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 by the system's rule")
def test_names_that_are_not_utf_8_can_be_written_down(folder):
    image.write(folder / os.fsdecode(b"caf\xe9.jpg"), np.zeros((4, 5, 3), np.uint8))
    assert "caf\\xe9.jpg" in names(folder)


def test_empty_folders_and_lists_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no images in this folder"):
        images_of([tmp_path])
    (tmp_path / "list.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"list\.txt: lists no image"):
        images_of([tmp_path / "list.txt"])
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"list\.txt: expected a text file"):
        images_of([tmp_path / "list.txt"])
    (tmp_path / "deep").mkdir()
    with pytest.raises(ValueError, match="--recursive takes those of its sub-folders"):
        images_of([tmp_path])
