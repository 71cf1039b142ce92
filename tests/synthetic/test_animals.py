"""Synthetic animals: exact points, sequences in which one animal moves, and what is refused."""

import json
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from posewright.data import coco
from posewright.image import read
from posewright.synthetic import _rodent, animals
from posewright.synthetic._solids import Blob, Limb
from posewright.synthetic.animals import RODENT4, SPECIES, AnimalScene, draw_scene, make
from posewright.synthetic.composition import cast
from posewright.synthetic.renderer import Layer

PLAIN = {"things": (0, 0), "plain": 1.0, "noise": (0.0, 0.0), "height": (120, 120), "width": (160, 160)}
SMALL = AnimalScene(length=(30.0, 45.0), **PLAIN)


def points(scene, number=1, seed=0):
    """Points [K, 2], visibility [K] and the image of the one animal in it."""
    image, (annotation,), _ = draw_scene(scene, (seed, 0), number)
    triples = np.reshape(annotation["keypoints"], (-1, 3))
    return triples[:, :2], triples[:, 2], image


@pytest.mark.parametrize("seed", range(6))
def test_a_rodents_ears_are_on_their_sides_and_its_snout_ahead(seed):
    xy, visibility, _ = points(SMALL, seed=seed)
    snout, left, right, tail = xy
    assert (visibility > 0).all()
    ears = (left + right) / 2
    ahead = snout - ears
    across = left - right
    assert ahead @ (ears - tail) > 0
    assert ahead[0] * across[1] - ahead[1] * across[0] < 0  # from above, left is to the left of what lies ahead


def test_a_rodents_tail_begins_where_it_leaves_the_fur():
    for seed in range(4):
        solids, joints, _ = _rodent.posed(_rodent.build(np.random.default_rng(seed)), 0.0)
        rear = solids[0]
        assert isinstance(rear, Limb)
        back = joints["tailbase"] - rear.start
        assert back @ (rear.end - rear.start) < 0
        assert 0.5 * rear.radii[0] < np.linalg.norm(back) < rear.radii[0]


def test_a_rodents_ear_is_just_outside_of_where_its_front_edge_meets_the_head():
    for seed in range(4):
        animal = _rodent.build(np.random.default_rng(seed))
        solids, joints, _ = _rodent.posed(animal, 0.0)
        leaves = [s.centre for s in solids if isinstance(s, Blob)]
        middle = (joints["leftear"] + joints["rightear"]) / 2
        assert len(leaves) == 2
        assert 1.15 < np.linalg.norm(joints["leftear"] - middle) / animal.ears[1] < 1.35
        for leaf, ear in zip(leaves, (joints["leftear"], joints["rightear"])):
            assert (leaf - ear) @ (ear - middle) > 0
            assert (leaf - ear) @ (joints["snout"] - middle) < 0


def test_a_rodents_ear_comes_to_the_middle_as_its_head_leans_away():
    upright = replace(_rodent.build(np.random.default_rng(0)), head=0.0, bend=0.0, roll=0.0)
    gaps = []
    for roll in (-30.0, 0.0, 30.0):
        _, joints, _ = _rodent.posed(replace(upright, roll=roll), 0.0)
        assert joints["leftear"][1] < joints["rightear"][1]
        gaps.append(joints["snout"][1] - joints["leftear"][1])
    assert gaps[0] > gaps[1] > gaps[2]


def test_a_rodents_snout_comes_back_under_or_over_its_head_as_that_turns_down_or_up():
    straight = replace(_rodent.build(np.random.default_rng(0)), head=0.0, bend=0.0, roll=0.0, phase=0.0)
    ahead, depth = {}, {}
    for pitch in (-60.0, 0.0, 60.0):
        solids, joints, _ = _rodent.posed(replace(straight, pitch=pitch), 0.0)
        (head,) = [s for s in solids if isinstance(s, Limb) and s.cut < 1]
        beyond = joints["snout"] - head.end
        assert np.linalg.norm(beyond) < head.radii[-1]  # on the tip
        assert beyond @ (head.end - head.start) > 0
        ahead[pitch], depth[pitch] = joints["snout"][0] - head.start[0], joints["snout"][2] - head.start[2]
    assert ahead[-60.0] == pytest.approx(ahead[0.0] / 2)
    assert ahead[60.0] == pytest.approx(ahead[0.0] / 2)
    assert depth[-60.0] > depth[0.0] > depth[60.0]  # down is away from the camera


def test_a_shadow_only_darkens_and_stays_near():
    layer = Layer(40, 40, np.zeros((20, 20, 3), np.float32), *np.ones((3, 20, 20), np.float32))
    picture = np.full((100, 100, 3), 200, np.float32)
    cast(np.random.default_rng(2), picture, layer)
    assert picture.max() == 200
    assert picture[40:60, 40:60].mean() < 195
    assert (picture[:10] == 200).all()
    assert (picture[-10:] == 200).all()


@pytest.mark.parametrize("species", [s for s in SPECIES if s != "rodent"])
def test_a_quadruped_from_the_side_stands_on_its_hooves(species):
    scene = AnimalScene(species=(species,), length=(40.0, 45.0), side=1.0, **PLAIN)
    xy, visibility, _ = points(scene)
    at = dict(zip(scene.points.points, xy))
    assert len(at) == 18
    assert visibility.max() == 2
    assert min(at[f"{side}_{end}_hoof"][1] for side in ("left", "right") for end in ("front", "back")) > at["tail"][1]
    forward = np.sign(at["left_shoulder"][0] - at["tail"][0])
    assert forward * (at["chin"][0] - at["left_shoulder"][0]) > 0
    twenty = AnimalScene(species=(species,), length=(40.0, 45.0), side=1.0, skeleton="animalpose20", **PLAIN)
    more, _, _ = points(twenty)
    assert more.shape == (20, 2)
    assert more[twenty.points.points.index("L_F_Paw")] == pytest.approx(at["left_front_hoof"])


def test_visible_points_lie_in_the_box_of_what_is_drawn():
    scene = AnimalScene(species=("dog",), length=(40.0, 45.0), side=1.0, **PLAIN)
    for seed in range(3):
        _, (annotation,), _ = draw_scene(scene, (seed, 0), 1)
        triples = np.reshape(annotation["keypoints"], (-1, 3))
        left, top, width, height = annotation["bbox"]
        visible = triples[triples[:, 2] == 2, :2]
        assert len(visible) > 5
        assert ((visible >= (left - 1, top - 1)) & (visible <= (left + width, top + height))).all()
        assert 0.1 * width * height < annotation["area"] < 0.9 * width * height


def test_a_sequence_shows_one_animal_that_moves(tmp_path):
    scene = AnimalScene(species=("rodent",), frames=3, length=(30.0, 45.0), **PLAIN)
    frames = [points(scene, number)[0] for number in (1, 2, 3, 4)]
    steps = [np.linalg.norm(b - a, axis=1).mean() for a, b in pairwise(frames)]
    assert 0 < max(steps[:2]) < 8
    assert steps[2] > 2 * max(steps[:2])  # the fourth is of another animal
    content = json.loads(make(tmp_path, 4, scene=scene, workers=1).read_text())
    assert [(a["sequence"], a["frame"]) for a in content["annotations"]] == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_a_set_is_read_like_any_other_and_the_same_again(tmp_path):
    path = make(tmp_path, 3, scene=SMALL, workers=1)
    people = coco.read(path)
    assert people.skeleton.points == RODENT4.points
    assert people.skeleton.mirror == (("leftear", "rightear"),)
    image, (annotation,), _ = draw_scene(SMALL, (0, zlib.crc32(b"train")), 1)
    assert people[0].xy == pytest.approx(np.reshape(annotation["keypoints"], (-1, 3))[:, :2], abs=0.01)
    assert read(people[0].path).shape == image.shape
    assert make(tmp_path, 3, scene=SMALL, workers=1) == path
    with pytest.raises(ValueError, match="choose another folder or split"):
        make(tmp_path, 3, seed=1, scene=SMALL, workers=1)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"species: expected some of rodent, horse, .*, got unicorn"):
        AnimalScene(species=("unicorn",))
    with pytest.raises(ValueError, match="rodents have points of their own"):
        AnimalScene(species=("rodent", "horse"))
    with pytest.raises(ValueError, match="skeleton: expected tigdog18 or animalpose20"):
        AnimalScene(species=("horse",), skeleton="coco17")
    assert animals.VERSION == 5
