"""EXIF's orientation of images, as PIL writes it, and where a point of the upright image is stored."""

import numpy as np
import pytest

from posewright.data import exif

PIL = pytest.importorskip("PIL.Image")


def tagged(path, orientation):
    """A picture of 7 x 4 pixels whose file says that it is turned."""
    tags = PIL.Exif()
    tags[0x0112] = orientation
    PIL.fromarray(np.arange(84, dtype=np.uint8).reshape(4, 7, 3)).save(path, exif=tags)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_read(tmp_path, suffix, orientation):
    turning = exif.turning(tagged(tmp_path / f"a{suffix}", orientation))
    assert turning == (None if orientation == 1 else (orientation, 4, 7))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_points_are_turned_as_pil_turns_pixels(tmp_path, orientation):
    from PIL import ImageOps

    with PIL.open(tagged(tmp_path / "a.png", orientation)) as picture:
        stored, upright = np.asarray(picture), np.asarray(ImageOps.exif_transpose(picture))
    turning = exif.turning(tmp_path / "a.png")
    assert turning.upright_size == upright.shape[:2]
    rows, columns = (axis.ravel() for axis in np.indices(upright.shape[:2]))
    xy = turning.stored(np.column_stack([columns, rows]))
    np.testing.assert_array_equal(stored[xy[:, 1], xy[:, 0]], upright[rows, columns])
    np.testing.assert_array_equal(turning.upright(xy), np.column_stack([columns, rows]))


def test_what_is_no_image_or_cut_short_is_not_turned(tmp_path):
    whole = tagged(tmp_path / "a.jpg", 6).read_bytes()
    for size in range(0, 60, 3):
        (tmp_path / "cut.jpg").write_bytes(whole[:size])
        assert exif.turning(tmp_path / "cut.jpg") is None
    assert exif.turning(tmp_path / "none.jpg") is None
    assert exif.turning(tmp_path) is None
