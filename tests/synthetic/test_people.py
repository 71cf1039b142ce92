"""Synthetic people: labels that agree with the picture, and data sets that are the same wherever they are drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posewright import image as images
from posewright.skeletons import COCO17, from_category
from posewright.synthetic import _body, dataset
from posewright.synthetic import people as synthetic
from posewright.synthetic._figure import figure
from posewright.synthetic._solids import Blob, Limb, Look, Section, View
from posewright.synthetic.people import Scene, draw_scene, make
from posewright.synthetic.renderer import render

SMALL = Scene(height=(48, 56), width=(64, 64), stature=(30, 50))
LIGHT = np.array([0.0, 0.0, -1.0])
WHITE = Look.plain(np.full(3, 255.0))
NOSE, LEFT_EYE, RIGHT_EYE = 0, 1, 2


def camera(x: float = 60, y: float = 50, scale: float = 100, distance: float = 1e6) -> View:
    return View(np.array([x, y]), scale, distance)


def keypoints(annotation: dict) -> np.ndarray:
    return np.array(annotation["keypoints"], float).reshape(17, 3)


def alone(seed: int, **others: object) -> tuple[np.ndarray, list[dict]]:
    scene = Scene(people=(1, 1), things=(0, 0), occluders=(0, 0), cut=0.0)
    return draw_scene(np.random.default_rng(seed), replace(scene, **others))


# -- solids -------------------------------------------------------------------------------------------------------


def drawn(*solids: Limb | Blob, view: View | None = None, size=(100, 120)) -> np.ndarray:
    """Cover [H, W] of what is drawn."""
    layer = render(solids, view or camera(), LIGHT, size)
    assert layer is not None
    out = np.zeros(size, np.float32)
    height, width = layer.alpha.shape
    out[layer.top : layer.top + height, layer.left : layer.left + width] = layer.alpha
    return out


def test_a_limb_covers_the_area_of_a_capsule_around_its_axis():
    cover = drawn(Limb(np.array([-0.2, 0.1, 0]), np.array([0.2, -0.1, 0]), (0.1, 0.1), WHITE))
    assert cover.sum() == pytest.approx(2 * 10 * np.hypot(40, 20) + np.pi * 100, rel=0.015)
    rows, columns = np.nonzero(cover)
    assert (columns.mean(), rows.mean()) == pytest.approx((60, 50), abs=0.1)
    assert cover[50, 60] == 1
    assert cover[60 + 3, 40 - 5] == 1  # within the rounded end
    assert cover[35, 40] == 0


def test_a_blob_covers_the_area_of_an_ellipse():
    cover = drawn(Blob(np.zeros(3), np.diag([0.3, 0.15, 0.2]), WHITE))
    assert cover.sum() == pytest.approx(np.pi * 30 * 15, rel=0.01)
    rows, columns = np.nonzero(cover)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (30, 90, 35, 65)


@pytest.mark.parametrize(("turned", "half"), [(0, 20), (90, 5), (45, np.hypot(20, 5) / np.sqrt(2))])
def test_a_section_shows_its_width_from_the_front_and_its_thickness_from_the_side(turned, half):
    c, s = np.cos(np.deg2rad(turned)), np.sin(np.deg2rad(turned))
    section = Section.same((0.05, 0.05), np.array([[c, -s], [0, 0], [s, c]]))
    ends = np.array([(0, -0.3, 0), (0, 0.3, 0)])
    cover = drawn(Limb(ends[0], ends[1], (0.2, 0.2), WHITE, caps=(0, 0), section=section))
    assert cover[50].sum() == pytest.approx(2 * half, abs=0.6)


def test_the_nearer_solid_is_in_front_whatever_the_order():
    near = Blob(np.array([0, 0, -0.5]), np.eye(3) * 0.1, Look.plain(np.array([255.0, 0, 0])))
    far = Blob(np.array([0, 0, 0.5]), np.eye(3) * 0.2, Look.plain(np.array([0, 0, 255.0])))
    for solids in ((near, far), (far, near)):
        layer = render(solids, camera(), LIGHT, (100, 120))
        assert layer is not None
        red, _, blue = layer.colour[50 - layer.top, 60 - layer.left]
        assert red > 100 > blue
        assert layer.depth_at(np.array([[60, 50], [75, 50], [5, 5]])) == pytest.approx([-60, 50 - 13.2, 1e9], rel=0.02)


def test_perspective_enlarges_what_is_near():
    ball = [Blob(np.array([0, 0, z]), np.eye(3) * 0.1, WHITE) for z in (-0.5, 0.5)]
    near, far = (drawn(b, view=camera(distance=2.0)).sum() for b in ball)
    assert near / far == pytest.approx((2.5 / 1.5) ** 2, rel=0.05)


def test_stripes_and_the_look_past_the_cut():
    red, blue, black = (np.array(c, float) for c in ((255, 0, 0), (0, 0, 255), (0, 0, 0)))
    ends = np.array([(-0.4, 0, 0), (0.4, 0, 0)])
    limb = Limb(ends[0], ends[1], (0.1, 0.1), Look(red, black, rows=5.0), Look.plain(blue), cut=0.5)
    layer = render([limb], camera(), LIGHT, (100, 120))
    assert layer is not None
    line = layer.colour[50 - layer.top, :, :]
    at = {x: line[x - layer.left] for x in (25, 35, 45, 55, 70, 90)}
    assert at[25][0] > 100 > at[35][0]
    assert at[45][0] > 100 > at[55][0]
    assert min(at[70][2], at[90][2]) > 100


def test_what_is_outside_the_image_is_no_layer():
    assert render([Blob(np.zeros(3), np.eye(3) * 0.1, WHITE)], camera(x=-40), LIGHT, (100, 120)) is None


# -- people -------------------------------------------------------------------------------------------------------


def test_bodies_are_human():
    rng = np.random.default_rng(0)
    for _ in range(50):
        bones = _body.posed(rng, body := _body.measured(rng))
        thigh, shin = bones.knees - bones.hips, bones.ankles - bones.knees
        assert np.linalg.norm(thigh, axis=1) == pytest.approx(body.leg[0])
        assert np.linalg.norm(bones.wrists - bones.elbows, axis=1) == pytest.approx(body.arm[1])
        assert np.linalg.norm(bones.neck) == pytest.approx(body.trunk)
        # Seen from the chest's own side, left is left: (left - right) x up points forward.
        up, left = bones.chest[:, 1], bones.shoulders[0] - bones.shoulders[1]
        assert np.linalg.det(bones.chest @ np.diag([1, -1, -1])) == pytest.approx(1)
        assert left @ bones.chest[:, 0] > 0.15
        assert abs(left @ up) < 0.1
        # Knees bend one way: across the shin, the thigh comes forward to where the toes point.
        along = shin / np.linalg.norm(shin, axis=1, keepdims=True)
        thigh, toes = (v - (v * along).sum(1, keepdims=True) * along for v in (thigh, bones.toes - bones.ankles))
        assert ((thigh * toes).sum(1) > 0).all()


def test_calm_people_stand_or_walk_towards_us():
    rng = np.random.default_rng(1)
    for _ in range(40):
        bones = _body.posed(rng, _body.measured(rng), calm=True)
        assert bones.neck[1] < -0.2  # upright, y being down
        assert (bones.ankles[:, 1] > 0.2).all()
        assert not bones.seated
    ahead = np.array([_body.posed(rng, _body.measured(rng), calm=True).ground[2, 2] for _ in range(40)])
    assert (ahead < 0).mean() > 0.9  # forward is towards the camera


def test_the_face_tells_left_from_right():
    """Both eyes in view: the left one is to the image's right of the other, seen along the head's own upright."""
    told = 0
    for seed in range(60):
        points = keypoints(alone(seed)[1][0])
        if (points[[NOSE, LEFT_EYE, RIGHT_EYE], 2] == 2).all():
            eyes = points[LEFT_EYE, :2] - points[RIGHT_EYE, :2]
            down = points[NOSE, :2] - points[[LEFT_EYE, RIGHT_EYE], :2].mean(0)
            assert eyes[0] * down[1] - eyes[1] * down[0] > 0
            told += 1
    assert told > 12


def test_faces_are_hidden_from_behind_and_seen_from_the_front():
    rng = np.random.default_rng(3)
    behind = before = 0
    for _ in range(60):
        person = figure(rng)
        layer = render(person.solids, camera(100, 100, 150, 5.0), LIGHT, (220, 220))
        assert layer is not None
        spots = camera(100, 100, 150, 5.0).project(person.joints)
        visibility = layer.depth_at(spots[:, :2]) >= spots[:, 2] - person.slack * 150
        toward = person.joints[1:3].mean(0) - person.joints[3:5].mean(0)  # from the ears to the eyes: forward
        toward = toward / np.linalg.norm(toward)
        if toward[2] > 0.85:
            assert not visibility[:3].any()
            behind += 1
        elif toward[2] < -0.95:
            before += bool(visibility[:3].all())
    assert behind >= 4
    assert before >= 4  # arms may hide some


# -- scenes -------------------------------------------------------------------------------------------------------


def test_annotations_keep_cocos_rules():
    kinds = np.zeros(3, int)
    for seed in range(25):
        image, annotations = draw_scene(np.random.default_rng(seed), Scene(cut=0.5))
        height, width = image.shape[:2]
        assert image.dtype == np.uint8
        assert 216 <= height <= 264
        assert 288 <= width <= 352
        for a in annotations:
            points = keypoints(a)
            visibility = points[:, 2]
            kinds += np.bincount(visibility.astype(int), minlength=3)
            assert a["num_keypoints"] == (visibility > 0).sum()
            assert (points[visibility == 0] == 0).all()
            assert ((points[visibility > 0, :2] >= 0) & (points[visibility > 0, :2] <= (width - 1, height - 1))).all()
            x, y, w, h = a["bbox"]
            assert 0 <= x < x + w <= width
            assert 0 <= y < y + h <= height
            assert 0 < a["area"] <= w * h
            inner = points[visibility == 2, :2]
            assert ((inner > (x - 3, y - 3)) & (inner < (x + w + 3, y + h + 3))).all()
    assert (kinds > 50).all()


def person_and(monkeypatch: pytest.MonkeyPatch, *things: synthetic._Actor, at=(160.0, 115.0)) -> list[dict]:
    """Annotations of one standing person with things around, all placed by hand."""
    rng = np.random.default_rng(8)
    person = figure(rng)
    actor = synthetic._Actor(person.solids, View(np.array(at), 150, 6.0), 100.0, person)
    monkeypatch.setattr(synthetic, "_cast", lambda *_: [actor, *things])
    scene = Scene(height=(240, 240), width=(320, 320))
    return draw_scene(np.random.default_rng(0), scene)[1]


def ball(at: np.ndarray, radius: float, nearness: float) -> synthetic._Actor:
    return synthetic._Actor([Blob(np.zeros(3), np.eye(3), WHITE, body=False)], View(at, radius, 1e6), nearness)


def test_what_is_behind_a_thing_is_hidden_and_no_longer_area(monkeypatch):
    (free,) = person_and(monkeypatch)
    before = keypoints(free)
    joint = int(np.flatnonzero(before[:, 2] == 2)[-1])
    at, radius = before[joint, :2], 14.0
    (behind,) = person_and(monkeypatch, ball(at, radius, 1.0))
    assert behind == free
    (covered,) = person_and(monkeypatch, ball(at, radius, 200.0))
    after = keypoints(covered)
    assert (after[:, :2] == before[:, :2]).all()
    away = np.hypot(*(before[:, :2] - at).T)
    assert after[joint, 2] == 1
    assert (after[away > radius + 2, 2] == before[away > radius + 2, 2]).all()
    assert (after[away < radius - 2, 2] == 1).all()
    assert 0 < free["area"] - covered["area"] <= np.pi * (radius + 1) ** 2


def test_people_out_of_sight_are_not_annotated_and_hopeless_ones_have_no_keypoints(monkeypatch):
    assert person_and(monkeypatch, ball(np.array([160.0, 115.0]), 400.0, 200.0)) == []
    assert person_and(monkeypatch, at=(900.0, 115.0)) == []
    (sliver,) = person_and(monkeypatch, ball(np.array([160.0, 0.0]), 160.0, 200.0))
    assert sliver["area"] > 0
    assert (keypoints(sliver) == 0).all()
    assert sliver["num_keypoints"] == 0


def test_joints_outside_the_image_are_not_labelled(monkeypatch):
    (whole,), (cut,) = person_and(monkeypatch), person_and(monkeypatch, at=(160.0, 215.0))
    lower = keypoints(whole)[:, 1] + 100 > 239
    assert lower.any()
    assert (keypoints(cut)[lower] == 0).all()
    assert keypoints(cut)[~lower, :2] == pytest.approx(keypoints(whole)[~lower, :2] + (0, 100), abs=0.011)


def test_a_scene_is_a_function_of_the_generator():
    (a, notes), (b, same), (c, other) = (draw_scene(np.random.default_rng(s), SMALL) for s in (1, 1, 2))
    assert (a == b).all()
    assert notes == same
    assert notes != other
    assert a.shape != c.shape or (a != c).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"people": (3, 1)}, r"people must be two numbers in order, the first 0 or more, got \(3, 1\)"),
        ({"height": (4, 90)}, r"height must be two numbers in order, the first 16 or more, got \(4, 90\)"),
        ({"cut": 1.5}, "cut must be a chance between 0 and 1, got 1.5"),
    ],
)
def test_impossible_scenes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Scene(**wrong)


# -- data sets ----------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_set_is_in_cocos_layout(tmp_path):
    calls = []
    path = make(tmp_path, 4, seed=5, scene=SMALL, split="val", progress=lambda *n: calls.append(n))
    assert path == tmp_path / "annotations" / "person_keypoints_val.json"
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    truth = json.loads(path.read_text())
    assert [i["file_name"] for i in truth["images"]] == [f"{n:012d}.jpg" for n in range(1, 5)]
    for entry in truth["images"]:
        assert images.read(tmp_path / "val" / entry["file_name"]).shape == (entry["height"], entry["width"], 3)
    assert [a["id"] for a in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    assert {a["image_id"] for a in truth["annotations"]} <= {1, 2, 3, 4}
    assert {(a["category_id"], a["iscrowd"]) for a in truth["annotations"]} == {(1, 0)}
    assert from_category(truth["categories"][0], "test") == COCO17
    assert truth["info"]["seed"] == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["annotations", "val"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_and_the_number_of_images_change_nothing(tmp_path, monkeypatch):
    make(tmp_path / "one", 10, seed=1, scene=SMALL, workers=1)
    monkeypatch.setattr(dataset, "_POOL_FROM", 2)
    make(tmp_path / "two", 10, seed=1, scene=SMALL, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    make(tmp_path / "few", 3, seed=1, scene=SMALL, workers=1)
    assert contents(tmp_path / "few" / "train").items() <= contents(tmp_path / "one" / "train").items()


def test_splits_and_seeds_differ(tmp_path):
    for seed, split in ((0, "train"), (0, "val"), (1, "test")):
        make(tmp_path, 1, seed=seed, split=split, scene=SMALL)
    pictures = {p.read_bytes() for p in tmp_path.rglob("*.jpg")}
    assert len(pictures) == 3


def test_the_same_set_is_found_again_and_not_redrawn(tmp_path, monkeypatch):
    path = make(tmp_path, 2, scene=SMALL)
    monkeypatch.setattr(synthetic, "draw_scene", lambda *_: pytest.fail("drawn again"))
    assert make(tmp_path, 2, scene=SMALL) == path


@pytest.mark.parametrize("other", [{"seed": 7}, {"images": 3}, {"scene": Scene()}])
def test_another_set_in_the_same_place_is_refused(tmp_path, other):
    make(tmp_path, 2, scene=SMALL)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"person_keypoints_train.json was made of .*choose another folder or split"):
        make(tmp_path, **({"images": 2, "scene": SMALL} | other))
    assert contents(tmp_path) == before


def test_what_was_not_drawn_here_is_left_alone(tmp_path):
    for mine in (tmp_path / "a" / "train" / "holiday.jpg", tmp_path / "b/annotations/person_keypoints_train.json"):
        mine.parent.mkdir(parents=True)
        mine.write_text('{"images": []}')
        with pytest.raises(ValueError, match="is there and was not drawn here"):
            make(tmp_path / mine.relative_to(tmp_path).parts[0], 1, scene=SMALL)
        assert mine.read_text() == '{"images": []}'


def test_missing_images_are_told(tmp_path):
    make(tmp_path, 2, scene=SMALL)
    (tmp_path / "train" / "000000000002.jpg").unlink()
    with pytest.raises(ValueError, match="should hold 2 images, but some are missing"):
        make(tmp_path, 2, scene=SMALL)


def test_an_interrupted_run_leaves_nothing_and_can_be_repeated(tmp_path):
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, 3, scene=SMALL, progress=stop)
    assert contents(tmp_path) == {}
    make(tmp_path, 3, scene=SMALL)
    assert len(list((tmp_path / "train").iterdir())) == 3


def test_a_set_needs_images_and_a_plain_name(tmp_path):
    for count, split in ((0, "train"), (1, "../train"), (1, "")):
        with pytest.raises(ValueError, match="expected one image or more and a plain name for the split"):
            make(tmp_path, count, split=split)
