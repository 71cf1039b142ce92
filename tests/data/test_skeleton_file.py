"""Custom skeletons are read completely or refused, and sigmas come from the stated source."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posewright.data import skeleton_file
from posewright.data.dataset import KeypointDataset
from posewright.data.image_files import Strings
from posewright.skeletons import AP10K17, COCO17
from posewright.types import Skeleton

BUG = {
    "points": ["head", "left_wing", "right_wing"],
    "bones": [["head", "left_wing"]],
    "sigmas": {"right_wing": 0.3, "head": 0.1, "left_wing": 0.2},
    "upper": ["head"],
}


def written(folder, content):
    path = folder / "bug.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_reads_all_that_a_skeleton_is(tmp_path):
    read = skeleton_file.read(written(tmp_path, BUG))
    wings = (("left_wing", "right_wing"),)
    assert read == Skeleton("bug", tuple(BUG["points"]), (("head", "left_wing"),), wings, (0.1, 0.2, 0.3), ("head",))
    plain = skeleton_file.read(written(tmp_path, {"points": ["left_a", "right_a"], "mirror": [], "name": "two"}))
    assert plain == Skeleton("two", ("left_a", "right_a"))
    assert skeleton_file.read(written(tmp_path, {"points": ["a", "b"], "sigmas": [0.1, 0.2]})).sigmas == (0.1, 0.2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a skeleton, an object with points, and maybe bones.*cut short"),
        ({"bones": []}, "missing required field `points`"),
        (BUG | {"sigma": 1}, "unknown field `sigma`"),
        (BUG | {"bones": [[1, 2]]}, r"Expected `str`, got `int` - at `\$.bones\[0\]\[0\]`"),
        (BUG | {"bones": [["head", "tail"]]}, r"names \['tail'\], not among the points"),
        (
            BUG | {"sigmas": {"head": 0.1, "tail": 1}},
            "sigmas must name every point .*; compare left_wing, right_wing, tail",
        ),
        (BUG | {"sigmas": [0.1]}, "3 points but 1 sigmas"),
        (BUG | {"sigmas": [0.1, 0, 1]}, "sigmas must be above 0"),
        ({"points": ["head", "head"]}, "points must be distinct"),
    ],
)
def test_what_is_no_skeleton_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        skeleton_file.read(written(tmp_path, content))
    assert str(error.value).startswith(str(tmp_path / "bug.json"))
    with pytest.raises(FileNotFoundError, match=r"none.json: no such JSON file"):
        skeleton_file.read(tmp_path / "none.json")


def people(xy, visibility, skeleton=COCO17, area=400.0):
    count = len(xy)
    return KeypointDataset(
        Path("people.json"),
        skeleton,
        np.array([1]),
        Strings.of(["a.jpg"]),
        np.zeros(count, np.int32),
        np.arange(count),
        np.ones(count, int),
        np.asarray(xy, np.float32),
        np.asarray(visibility, np.uint8),
        np.tile([0.0, 0, 20, 20], (count, 1)),
        np.full(count, area),
    )


def test_sources_of_sigmas():
    one = people(np.zeros((1, 17, 2)), np.ones((1, 17)))
    own = Skeleton("own", ("left_eye", "nose", "left_back_paw"))
    assert skeleton_file.with_sigmas(one, "") == COCO17
    assert skeleton_file.with_sigmas(one, "pck") == replace(COCO17, sigmas=None)
    paws = people(np.zeros((1, 3, 2)), np.ones((1, 3)), own)
    assert skeleton_file.with_sigmas(paws, "").sigmas is None
    assert skeleton_file.with_sigmas(paws, "published").sigmas == (0.025, 0.026, 0.089)
    # "neck" is .079 among CrowdPose's people and .035 among AP-10K's animals, with which it shares more.
    cat = Skeleton("cat", ("neck", "root_of_tail", "left_eye"))
    necks = people(np.zeros((1, 3, 2)), np.ones((1, 3)), cat)
    sigma = dict(zip(AP10K17.points, AP10K17.sigmas))
    assert skeleton_file.with_sigmas(necks, "published").sigmas == tuple(sigma[p] for p in cat.points)
    bug = people(np.zeros((1, 2, 2)), np.ones((1, 2)), Skeleton("bug", ("nose", "wing")))
    with pytest.raises(ValueError, match="no sigmas are published for points named wing: give them in a skeleton file"):
        skeleton_file.with_sigmas(bug, "published")


def test_sigmas_are_found_again_in_repeated_labels():
    """Two people label the same points, each off by a normal error of sigma * sqrt(area) in all."""
    rng = np.random.default_rng(0)
    skeleton, sigmas = Skeleton("three", ("a", "b", "c")), np.array([0.03, 0.1, 0.06])
    true = rng.uniform(0, 100, (4000, 3, 2))
    spread = (sigmas * np.sqrt(400) / np.sqrt(2))[:, None]
    visibility = np.ones((2, 4000, 3))
    visibility[1, :2000, 2] = 0  # a point that was not labelled again says nothing
    first, second = (people(true + rng.normal(size=true.shape) * spread, s, skeleton) for s in visibility)
    np.testing.assert_allclose(skeleton_file.estimate(first, second), sigmas, rtol=0.03)
    few = second.subset(np.arange(3000, 3010))
    np.testing.assert_allclose(skeleton_file.estimate(first, few)[:2], sigmas[:2], rtol=0.6)
    with pytest.raises(ValueError, match=r"labelled again in 10 people or more .* fewer for a, b, c"):
        skeleton_file.estimate(first, second.subset(np.arange(5)))
    with pytest.raises(ValueError, match=r"the labels are those of people.json, not new ones"):
        skeleton_file.estimate(first, first)


@pytest.mark.parametrize("content", ["[" * 100_000, {"points": ["a", "b"], "bones": [["a", "é" * 5000]]}])
def test_a_malicious_file_is_named_in_a_few_words(tmp_path, content):
    with pytest.raises(ValueError, match=r"bug\.json: ") as caught:
        skeleton_file.read(written(tmp_path, content))
    assert len(str(caught.value)) < 1000
