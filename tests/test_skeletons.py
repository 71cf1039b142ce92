"""Published skeletons, mapping by name, and skeletons read from COCO categories."""

import json
from dataclasses import replace

import numpy as np
import pytest

from posewright import skeletons
from posewright.skeletons import AIC14, AP10K17, COCO17, CROWDPOSE14, LSP14, MPII16, SKELETONS, common
from posewright.types import Skeleton


def test_mirror_pairs_are_the_published_ones():
    expected = {
        "coco17": [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)],
        "mpii16": [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)],
        "lsp14": [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)],
        "crowdpose14": [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)],
        "aic14": [(0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)],
        "animalpose20": [(0, 1), (2, 3), (8, 9), (10, 11), (12, 13), (14, 15), (16, 17), (18, 19)],
        "ap10k17": [(0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16)],
        "tigdog18": [(0, 1), (3, 4), (5, 6), (8, 9), (10, 11), (12, 13), (14, 15), (16, 17)],
    }
    assert expected.keys() == SKELETONS.keys()
    for name, pairs in expected.items():
        index = np.arange(SKELETONS[name].num_keypoints)
        for a, b in pairs:
            index[[a, b]] = b, a
        np.testing.assert_array_equal(SKELETONS[name].flip_index, index)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_flipping_twice_changes_nothing(skeleton):
    np.testing.assert_array_equal(skeleton.flip_index[skeleton.flip_index], np.arange(skeleton.num_keypoints))


def test_sigmas_and_upper_half_of_coco():
    assert [round(s * 1000) for s in COCO17.sigmas or ()] == [
        26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89,
    ]  # fmt: skip
    assert np.flatnonzero(COCO17.upper_mask).tolist() == list(range(11))
    assert AIC14.sigmas is not None
    assert AIC14.sigmas[:3] == (0.01388152, 0.01515228, 0.01057665)
    assert MPII16.sigmas is None
    assert LSP14.sigmas is None


@pytest.mark.parametrize(
    ("points", "pairs"),
    [
        (("Left Hip", "Right Hip", "Neck"), (("Left Hip", "Right Hip"),)),
        (("L_Eye", "R_Eye", "L_F_Paw", "R_F_Paw"), (("L_Eye", "R_Eye"), ("L_F_Paw", "R_F_Paw"))),
        (("paw_left", "paw_right"), (("paw_left", "paw_right"),)),
        (("l ear", "r ear", "lip"), (("l ear", "r ear"),)),
        (("left_ear", "nose"), ()),
        (("rightear", "leftear"), (("leftear", "rightear"),)),
    ],
)
def test_mirror_pairs_from_names(points, pairs):
    assert skeletons.mirror_pairs(points) == pairs


def test_shared_points():
    a, b = skeletons.shared_points(COCO17, CROWDPOSE14)
    assert [COCO17.points[i] for i in a] == [CROWDPOSE14.points[i] for i in b]
    assert len(a) == 12
    assert skeletons.shared_points(Skeleton("x", ("x",)), COCO17)[0].shape == (0,)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_published_skeletons_survive_a_file(skeleton):
    assert skeletons.from_category(skeletons.to_category(skeleton), "here") == skeleton


def test_own_skeleton_survives_a_file():
    own = Skeleton(
        "bug3", ("head", "left_wing", "right_wing"), (("head", "left_wing"),), (("left_wing", "right_wing"),)
    )
    assert skeletons.from_category(skeletons.to_category(own, 4, "bug"), "here") == own
    sure = skeletons.to_category(own, 4, "bug") | {"sigmas": [0.1, 0.2, 0.2]}
    assert skeletons.from_category(sure, "here").sigmas == (0.1, 0.2, 0.2)


def test_nothing_of_a_skeleton_is_lost_in_a_category():
    odd = Skeleton("odd", ("left_a", "right_a", "b"), (), (("left_a", "b"),), None, ("b", "right_a"))
    for skeleton in (odd, replace(COCO17, sigmas=None, mirror=(), upper=(), name="mine")):
        entry = json.loads(json.dumps(skeletons.to_category(skeleton)))
        assert skeletons.from_category(entry, "here") == skeleton
    broken = skeletons.to_category(odd) | {"posewright": {"name": "odd"}}
    with pytest.raises(ValueError, match=r"here: expected a skeleton as this version of Posewright writes it.*mirror"):
        skeletons.from_category(broken, "here")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_hip", "right_hip"), ("Left Hip", "Right Hip"), ("hip_left", "hip_right"), ("LeftHip", "RightHip"),
        ("l_hip", "r_hip"), ("L.Hip", "R.Hip"), ("hip-l", "hip-r"), ("hand_L", "hand_R"), ("eye.L", "eye.R"),
        ("handL", "handR"), ("LHip", "RHip"), ("LShoulder", "RShoulder"), ("lHip", "rHip"), ("L_F_Paw", "R_F_Paw"),
    ],
)  # fmt: skip
def test_mirror_pairs_are_recognised_in_the_usual_spellings(left, right):
    assert skeletons.mirror_pairs(("nose", right, left)) == ((left, right),)


@pytest.mark.parametrize(
    "points",
    [
        ("l", "r"), tuple("abcdefghijklmnopqrst"), tuple(f"p_{c}" for c in "jklmnopqrs"), ("lip", "rip"),
        ("leg", "reg"), ("tail", "tair"), ("left_hip", "right_knee"), ("heal", "hear"), ("L1", "R1"),
    ],
)  # fmt: skip
def test_names_that_only_look_alike_are_no_mirror_pairs(points):
    assert skeletons.mirror_pairs(points) == ()


def test_the_points_of_a_published_skeleton_mean_that_skeleton():
    # CrowdPose's own files list COCO's bones, up to point 17 of 14.
    entry = {"name": "person", "keypoints": list(CROWDPOSE14.points), "skeleton": [[16, 14], [17, 15]]}
    assert skeletons.from_category(entry, "here") == CROWDPOSE14
    spelled = [p.replace("_", " ").capitalize() for p in AIC14.points]  # as AI Challenger's files do
    assert skeletons.from_category({"name": "person", "keypoints": spelled}, "here") == AIC14
    own_sigmas = skeletons.from_category({"keypoints": list(AP10K17.points), "sigmas": [0.05] * 17}, "here")
    assert own_sigmas.sigmas == (0.05,) * 17


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "here: expected a list of point names under 'keypoints', got None"),
        ({"keypoints": []}, r"got \[\]"),
        ({"keypoints": [1, 2]}, r"got \[1, 2\]"),
        ({"keypoints": ["a", "b"], "skeleton": [[0, 1]]}, r"here: 'skeleton' must be pairs of point numbers 1\.\.2"),
        ({"keypoints": ["a", "b"], "skeleton": [[1, 3]]}, r"got \[\[1, 3\]\]"),
        ({"keypoints": ["a", "b"], "skeleton": [1]}, r"got \[1\]"),
        ({"keypoints": ["a", "a"]}, "here: skeleton 'custom2': points must be distinct"),
        ({"keypoints": ["a", "b"], "sigmas": [1]}, "here: skeleton 'custom2': 2 points but 1 sigmas"),
    ],
)
def test_impossible_categories(entry, message):
    with pytest.raises(ValueError, match=message):
        skeletons.from_category(entry, "here")


@pytest.mark.parametrize(
    "changes", [{"keypoints": ["a"] * 5000}, {"skeleton": [[1]] * 5000}, {"keypoints": [1] * 5000}]
)
def test_messages_stay_short_whatever_the_file_holds(changes):
    with pytest.raises(ValueError, match="here: ") as caught:
        skeletons.from_category({"name": "bug", "keypoints": ["a", "b"]} | changes, "here")
    assert len(str(caught.value)) < 1500


def test_common_points_keep_what_the_first_skeleton_says_of_them():
    both = common(LSP14, COCO17)
    assert both.points == LSP14.points[:12]
    assert both.bones == tuple(b for b in LSP14.bones if not {"neck", "head_top"} & set(b))
    assert len(both.mirror) == 6
    assert both.sigmas is None
    assert common(COCO17, LSP14).sigmas == COCO17.sigmas[5:]
    with pytest.raises(ValueError, match="at least one"):
        common(LSP14, Skeleton("cat", ("tail",)))
