"""SLEAP's labels: read in both versions, damaged ones end in a clear line, and SLEAP reads what is written."""

import json
import random

import numpy as np
import pytest

from posewright.data import formats, sources
from posewright.data.formats import sleap
from posewright.skeletons import ANIMALPOSE20


def test_sleap(tmp_path):
    h5py = pytest.importorskip("h5py")
    body, side = {"py/reduce": [{"py/type": "EdgeType"}, {"py/tuple": [1]}]}, {"py/reduce": [{}, {"py/tuple": [2]}]}
    metadata = {
        "nodes": [{"name": n} for n in ("unused", "tail", "ear1", "ear2")],
        "skeletons": [{
            "nodes": [{"id": 3}, {"id": 1}, {"id": 2}], "graph": {"name": "mouse"},
            "links": [
                {"source": 3, "target": 1, "type": body}, {"source": 3, "target": 2, "type": side},
                {"source": 2, "target": 3, "type": {"py/id": 2}}, {"source": 2, "target": 1, "type": {"py/id": 1}},
            ],
        }],
    }  # fmt: skip
    videos = [{"backend": {"filename": "C:\\data\\cage.mp4"}}, {"backend": {"filenames": ["a/x.png", "a/y.png"]}}]
    numbers = [("instance_id", "i8"), ("instance_type", "u1"), ("point_id_start", "u8"), ("point_id_end", "u8")]
    frames = [(0, 0, 12, 0, 2), (1, 1, 1, 2, 3)]
    names = ("frame_id", "video", "frame_idx", "instance_id_start", "instance_id_end")
    points = [(1.5, 2.5, True), (3.5, 4.5, False), (np.nan, np.nan, False)] * 2
    path = tmp_path / "labels.slp"
    for version, corner in ((1.2, 0), (1.0, 0.5)):
        with h5py.File(path, "w") as file:
            group = file.create_group("metadata")
            group.attrs["format_id"] = version
            group.attrs["json"] = np.bytes_(json.dumps(metadata))
            file["videos_json"] = [np.bytes_(json.dumps(video)) for video in videos]
            file["frames"] = np.array(frames, [(name, "i8") for name in names])
            file["instances"] = np.array([(0, 0, 0, 3), (1, 1, 0, 3), (2, 0, 3, 6)], numbers)
            file["points"] = np.array(points, [("x", "f8"), ("y", "f8"), ("visible", "?")])
        assert formats.recognised(path) == "sleap"
        found = formats.read(path)
        assert [i.file_name for i in found.file.images] == ["cage/000012.png", "a/y.png"]
        assert found.lost == {"predicted instances": 1}
        people = sources.without_images(found)
        assert people.skeleton.points == ("ear2", "tail", "ear1")
        assert people.skeleton.bones == (("ear2", "tail"), ("ear1", "tail"))
        assert people.skeleton.mirror == (("ear1", "ear2"),)
        assert people.visibility.tolist() == [[2, 1, 0]] * 2
        assert people.xy[0, 1].tolist() == [3.5 - corner, 4.5 - corner]
    rng, text = random.Random(0), json.dumps(metadata)
    complaints = 0
    for _ in range(200):
        at = rng.randrange(len(text))
        damaged = text[:at] + rng.choice(["", "{", "[", "9", "-1", "null", '"a"', "]]"]) + text[at + rng.randrange(9) :]
        with h5py.File(path, "r+") as file:
            file["metadata"].attrs["json"] = np.bytes_(damaged)
        message = ""
        try:
            sources.without_images(formats.read(path))
        except ValueError as error:
            message = str(error)
        if message:
            complaints += 1
            assert "labels.slp" in message
            assert len(message) < 1500
    assert complaints > 100
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"labels.slp: expected SLEAP's labels"):
        formats.read(path)


@pytest.mark.parametrize(
    ("filenames", "name"),
    [
        (["a/1.png", "b/1.png"], "b/1.png"),
        (["/home/x/a/1.png", "/home/x/b/1.png"], "b/1.png"),
        (["C:\\x\\0.png", "C:\\x\\1.png"], "1.png"),
    ],
)
def test_images_of_sleap_keep_the_folders_that_tell_them_apart(filenames, name):
    assert sleap._name([{"backend": {"filenames": filenames}}], 0, 1) == name


def test_what_sleap_reads_itself(animal_pose, tmp_path):
    """The tables of format 1.2, in SLEAP's own types; sleap-io 0.9.5 reads the file with these points and edges."""
    h5py = pytest.importorskip("h5py")
    (path := tmp_path / "keypoints.json").write_text(json.dumps(animal_pose))
    assert formats.write(formats.read(path), tmp_path / "dog.slp") == {"boxes": 1}
    with h5py.File(tmp_path / "dog.slp") as file:
        assert file["metadata"].attrs["format_id"] == 1.2
        assert file["points"].dtype.names == ("x", "y", "visible", "complete")
        assert file["points"][0].tolist() == (7.0, 8.0, True, False)
        assert np.isnan(file["points"]["x"][1:]).all()
        assert [len(file[name]) for name in ("frames", "instances", "points", "pred_points")] == [2, 1, 20, 0]
        metadata = json.loads(bytes(file["metadata"].attrs["json"]))
    assert [node["name"] for node in metadata["nodes"]] == list(ANIMALPOSE20.points)
    kinds = [link["type"]["py/reduce"][1]["py/tuple"][0] for link in metadata["skeletons"][0]["links"]]
    assert (kinds.count(1), kinds.count(2)) == (len(ANIMALPOSE20.bones), len(ANIMALPOSE20.mirror))
