"""What is drawn, where and in which colour; anti-aliased edges are not compared."""

from __future__ import annotations

import numpy as np
import pytest

from posewright import draw as drawing
from posewright.draw import LEFT, MIDDLE, RIGHT, bone_colours, draw, draw_truth, point_colours, sheet
from posewright.skeletons import AP10K17, COCO17
from posewright.types import Boxes, Poses, Skeleton

GREY = 90
BENT = Skeleton("bent", ("left_wrist", "left_elbow", "right_wrist", "nose"), (("left_wrist", "left_elbow"),))


def canvas(height: int = 200, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def one(xy: list, score: list, skeleton: Skeleton = BENT, box=(10, 20, 150, 160), of_pose: float = 0.875) -> Poses:
    return Poses(
        np.array([xy], float), np.array([score], float), np.array([of_pose]), Boxes.of([box], source="test"), skeleton
    )


POINTS = [(40, 60), (120, 60), (60, 150), (100, 120)]


def test_points_and_bones_have_the_fields_colours_at_their_places():
    out = draw(canvas(), one(POINTS, [1, 1, 1, 1]), boxes=False, scores=False)
    for (x, y), colour in zip(POINTS, (LEFT, LEFT, RIGHT, MIDDLE)):
        assert tuple(out[y, x]) == colour
    assert tuple(out[60, 80]) == LEFT  # on the bone
    assert (out[100:110, 20:40] == GREY).all()


def test_keypoints_at_or_below_the_threshold_and_their_bones_are_left_out():
    out = draw(canvas(), one(POINTS, [0.3, 1, 0.31, 0.1]), threshold=0.3, boxes=False, scores=False)
    assert (out[60, 40] == GREY).all()
    assert (out[60, 80] == GREY).all()
    assert (out[120, 100] == GREY).all()
    assert tuple(out[60, 120]) == LEFT
    assert tuple(out[150, 60]) == RIGHT


def test_faint_keypoints_are_shown_in_part_of_their_colour():
    poses = one(POINTS, [1, 0.1, 0.2, 1], box=(0, 0, 600, 600))
    out = draw(canvas(), poses, threshold=0.3, boxes=False, scores=False, faint=True)
    assert tuple(out[60, 40]) == LEFT
    assert tuple(out[120, 100]) == MIDDLE
    for (x, y), colour in ((POINTS[1], LEFT), (POINTS[2], RIGHT)):
        np.testing.assert_allclose(out[y, x], 0.55 * GREY + 0.45 * np.array(colour), atol=1)
    assert tuple(out[60, 80]) == tuple(out[60, 120])  # a bone is as its weaker end


def test_hidden_keypoints_are_rings():
    poses = one(POINTS, [1, 1, 1, 1], box=(0, 0, 600, 600))
    hidden = np.array([[False, False, True, False]])
    out = draw(canvas(), poses, boxes=False, scores=False, hidden=hidden)
    row = (out[150] == RIGHT).all(1)
    assert not row[60]
    assert row[:60].any()
    assert row[61:].any()


def test_box_and_score_are_drawn_unless_switched_off():
    poses = one(POINTS, [0, 0, 0, 0])
    plain = draw(canvas(), poses, boxes=False, scores=False)
    assert (plain == GREY).all()
    boxed = draw(canvas(), poses, scores=False)
    for x, y in ((10, 100), (160, 100), (80, 20), (80, 180)):
        assert np.abs(boxed[y, x].astype(int) - drawing.BOX).max() < 40  # one pixel wide, so smoothed
    assert (boxed[40:160, 30:140] == GREY).all()
    written = draw(canvas(), poses, boxes=False)
    assert (written[2:20, 10:60] > 180).all(2).any()  # nearly white: OpenCV 4 smooths its letters
    assert (written[40:] == GREY).all()


def test_boxes_have_a_colour_of_their_own():
    assert min(np.abs(np.subtract(drawing.BOX, colour)).sum() for colour in (LEFT, RIGHT, MIDDLE)) > 200


def test_scores_do_not_cover_each_other(monkeypatch):
    written = []
    monkeypatch.setattr(drawing.images, "draw_text", lambda image, text, origin, *more: written.append((text, origin)))
    boxes = [(50, 60, 80, 80), (52, 62, 80, 80), (70, 60, 80, 80), (50, 0, 80, 80), (50, 2, 90, 90), (180, 60, 20, 20)]
    count = len(boxes)
    poses = Poses(
        np.zeros((count, 4, 2)), np.zeros((count, 4)), np.linspace(0.9, 0.1, count), Boxes.of(boxes, source="x"), BENT
    )
    draw(canvas(), poses)
    width, height = drawing.images.text_size("0.90")
    places = np.array([origin for _, origin in written])
    separate = np.abs(places[:, None] - places) >= (width, height)
    assert (separate.any(2) | np.eye(count, dtype=bool)).all()
    assert (places[:, 0] + width <= 200).all()
    assert (places[:, 1] >= height).all()
    assert written[0] == ("0.90", (52, 56))  # the best stands where it should


def test_a_larger_person_has_wider_lines():
    def ink(side: float) -> int:
        poses = one([(50, 100), (150, 100), (0, 0), (0, 0)], [1, 1, 0, 0], box=(0, 0, side, side))
        return int((draw(canvas(), poses, boxes=False, scores=False)[:, 100] != GREY).any(1).sum())

    assert 1 <= ink(40) < ink(200) < ink(900)


def test_the_best_pose_is_on_top():
    xy = np.array([POINTS, POINTS], float)
    side = {name: Skeleton("s", (f"{name}_wrist",)) for name in ("left", "right")}
    two = Skeleton("two", (*side["left"].points, *side["right"].points))
    score = np.array([[1.0, 0], [0, 1.0]])
    boxes = Boxes.of([(0, 0, 90, 90)] * 2)
    for best, colour in ((0, LEFT), (1, RIGHT)):
        of_pose = np.where(np.arange(2) == best, 0.9, 0.2)
        poses = Poses(np.broadcast_to(xy[:, :1], (2, 2, 2)), score, of_pose, boxes, two)
        assert tuple(draw(canvas(), poses, boxes=False, scores=False)[60, 40]) == colour


def test_nothing_given_is_written_into():
    image, poses = canvas(), one(POINTS, [1, 1, 1, 1])
    image.setflags(write=False)
    for array in (poses.xy, poses.score, poses.boxes.xywh):
        array.setflags(write=False)
    assert draw(image, poses) is not image
    assert (image == GREY).all()


def test_wild_coordinates_draw_nothing_and_do_not_fail():
    wild = [(np.nan, 5), (np.inf, 5), (1e30, -1e30), (-1e12, 1e12)]
    out = draw(canvas(), one(wild, [1, 1, 1, 1]), boxes=False, scores=False)
    assert (out == GREY).all()


def test_no_poses_is_the_same_image():
    none = Poses(np.zeros((0, 4, 2)), np.zeros((0, 4)), np.zeros(0), Boxes.of([]), BENT)
    out = draw(image := canvas(), none)
    assert (out == image).all()
    assert out is not image


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_other_arrays_than_images_are_refused(image):
    with pytest.raises(ValueError, match=r"expected an image \[H, W, 3\] of uint8, got"):
        draw(image, one(POINTS, [1, 1, 1, 1]))


def test_hidden_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"hidden must be \[1, 4\].*got \[4\]"):
        draw(canvas(), one(POINTS, [1, 1, 1, 1]), hidden=np.zeros(4, bool))


def test_truth_shows_what_is_labelled():
    xy, visibility = np.array([POINTS], float), np.array([[2, 0, 1, 2]], np.uint8)
    out = draw_truth(canvas(), xy, visibility, np.array([[0, 0, 600, 600.0]]), BENT, boxes=False)
    assert tuple(out[60, 40]) == LEFT
    assert (out[60, 120] == GREY).all()
    assert tuple(out[150, 60]) != RIGHT
    assert (out[150, 50:60] == RIGHT).all(1).any()
    assert tuple(out[120, 100]) == MIDDLE


def test_coco_has_the_colours_of_mmpose_and_rtmlib():
    points = dict(zip(COCO17.points, point_colours(COCO17)))
    assert all(points[p] == MIDDLE for p in COCO17.points[:5])
    assert all(points[p] == (LEFT if p.startswith("left") else RIGHT) for p in COCO17.points[5:])
    bones = dict(zip(COCO17.bones, bone_colours(COCO17)))
    assert len(bones) == 19
    assert {bone for bone, colour in bones.items() if colour == LEFT} == {
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
    }  # fmt: skip
    assert sum(colour == RIGHT for colour in bones.values()) == 4
    assert sum(colour == MIDDLE for colour in bones.values()) == 11


def test_sides_are_told_by_names_of_animals_too():
    points = dict(zip(AP10K17.points, point_colours(AP10K17)))
    assert points["left_back_paw"] == LEFT
    assert points["right_elbow"] == RIGHT
    assert points["left_eye"] == points["root_of_tail"] == MIDDLE
    assert point_colours(Skeleton("s", ("l_rear_paw", "R knee"))) == [LEFT, RIGHT]
    assert point_colours(Skeleton("s", ("handL", "handR", "paw.L", "paw.R", "tail"))) == [
        LEFT, RIGHT, LEFT, RIGHT, MIDDLE,
    ]  # fmt: skip


def test_a_skeleton_without_sides_has_a_hue_a_point():
    hand = Skeleton("hand", ("wrist", "thumb", "index", "ring"), (("wrist", "thumb"), ("wrist", "ring")))
    points = point_colours(hand)
    assert len(set(points)) == 4
    assert bone_colours(hand) == [points[1], points[3]]


def test_sheet_keeps_ratios_and_order():
    red, blue = np.zeros((2, 10, 20, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    out = sheet([red, blue, red], 2, (40, 40))
    assert out.shape == (80, 80, 3)
    assert (out[12:28, 2:38] == (255, 0, 0)).all()
    assert (out[12:28, 42:78] == (0, 0, 255)).all()
    assert (out[52:68, 2:38] == (255, 0, 0)).all()
    assert (out[:10] == out[0, 0]).all()  # the letterbox
    assert (out[40:, 40:] == out[0, 0]).all()  # no fourth picture


def test_sheet_writes_captions_under_the_pictures():
    picture = np.full((30, 30, 3), 200, np.uint8)
    out = sheet([picture, picture], 5, (30, 60), ["one", "two"])
    assert out.shape == (30 + 18, 120, 3)
    assert (out[:30, 15:45] == 200).all()
    assert out[30:, :60].max() > 220
    assert out[30:, 60:].max() > 220


def test_a_sheet_s_legend_stands_below_in_as_many_lines_as_it_takes():
    legend = drawing.legend(COCO17)
    assert [(colour, words) for colour, _, words in legend] == [
        (LEFT, "left"), (RIGHT, "right"), (MIDDLE, "face and middle"),
    ]  # fmt: skip
    assert drawing.legend(Skeleton("hand", ("wrist", "thumb"))) == []
    wide = sheet([canvas()] * 4, 4, (100, 100), legend=legend)
    assert wide.shape == (118, 400, 3)
    for colour in (LEFT, RIGHT, MIDDLE):
        assert (wide[100:] == colour).all(2).any()
    narrow = sheet([canvas()], 1, (100, 100), legend=legend)
    assert narrow.shape == (100 + 3 * 18, 100, 3)


@pytest.mark.parametrize(("count", "columns", "captions"), [(0, 2, ()), (2, 0, ()), (2, 2, ("one",))])
def test_sheets_that_cannot_be_laid_out_are_refused(count, columns, captions):
    with pytest.raises(ValueError, match="expected pictures, a column or more and a caption each or none"):
        sheet([canvas()] * count, columns, (10, 10), captions)
