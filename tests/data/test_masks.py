"""COCO's segmentations as masks, as pycocotools makes them."""

import json

import numpy as np
import pytest

from posewright.data import masks


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_pycocotools_own(seed):
    coco_mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    wanted = np.kron(rng.random((6, 9)) > 0.5, np.ones((7, 70))).astype(bool)  # runs of more than 5 bits
    packed = coco_mask.encode(np.asfortranarray(wanted.astype(np.uint8)))
    height, width = wanted.shape
    found = masks.mask({"size": packed["size"], "counts": packed["counts"].decode()}, height, width)
    np.testing.assert_array_equal(found, wanted)
    flat = wanted.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    np.testing.assert_array_equal(masks.mask({"size": [height, width], "counts": runs}, height, width), wanted)


def test_polygons_and_files(tmp_path):
    square = masks.mask([[2, 3, 7, 3, 7, 8, 2, 8]], 12, 10)
    assert square[3:9, 2:8].all()
    assert square.sum() == 36
    (path := tmp_path / "a.json").write_text(
        json.dumps({"annotations": [{"id": 4, "segmentation": [[1, 2]]}, {"id": 5}]})
    )
    assert masks.segmentations(path) == {4: [[1, 2]]}
    assert masks.segmentations(tmp_path / "config.yaml") == {}


@pytest.mark.parametrize(
    "segmentation",
    [7, [[1, 2, 3]], {"counts": [4]}, {"size": [2, 2], "counts": [1, -1, 4]}, {"size": [2, 2], "counts": [5]},
     {"size": [9, 9], "counts": [81]}, {"size": [2, 2], "counts": "~~~~"}, [["a", "b"]]],
)  # fmt: skip
def test_what_is_no_segmentation_is_named(segmentation):
    with pytest.raises(ValueError, match="annotation 3: expected polygons, or run lengths of 2x2 pixels"):
        masks.mask(segmentation, 2, 2, "annotation 3")
