"""PCK and related metrics against values computed by hand and by plain loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posewright.evaluate import distances
from posewright.evaluate import pck as metrics
from posewright.skeletons import COCO17, LSP14, MPII16


def test_pck_by_hand():
    annotated = np.zeros((3, 2, 2))
    predicted = np.array([[[3, 4], [0, 1]], [[0, 0], [6, 8]], [[0, 0], [0, 0]]], float)
    visibility = np.array([[1, 2], [2, 1], [0, 2]])
    share = metrics.pck(predicted, annotated, visibility, np.array([10.0, 20.0, 10.0]), 0.5)
    # point 0: 5 of 10 is not below 0.5, 0 of 20 is; not annotated in the third. Point 1: 1/10, 10/20, 0/10.
    np.testing.assert_array_equal(share.value, [0.5, 2 / 3])
    np.testing.assert_array_equal(share.count, [2, 3])
    assert share.mean == pytest.approx((0.5 + 2 / 3) / 2)
    assert share.pooled == pytest.approx(3 / 5)
    assert share.left_out == 0


def test_pck_with_a_norm_for_each_axis():
    annotated, visibility = np.zeros((1, 1, 2)), np.ones((1, 1))
    predicted = np.array([[[3.0, 4.0]]])
    for norm in (np.array([[6.0, 8.0]]), [[6, 8]]):
        assert metrics.pck(predicted, annotated, visibility, norm, 0.71).mean == 1  # sqrt(0.25 + 0.25) = 0.7071
        assert metrics.pck(predicted, annotated, visibility, norm, 0.70).mean == 0
    assert metrics.pck(predicted, annotated, visibility, 10, 0.51).mean == 1


def test_samples_without_a_length_are_left_out_and_counted():
    xy = np.zeros((4, 2, 2))
    visibility = np.array([[1, 1], [1, 1], [1, 1], [0, 0]])
    share = metrics.pck(xy, xy, visibility, np.array([np.nan, 0.0, 5.0, np.nan]), 0.1)
    assert share.count.tolist() == [1, 1]
    assert share.left_out == 2  # the fourth has no annotated points anyway
    none = metrics.pck(xy, xy, np.zeros((4, 2)), 1.0, 0.1)
    assert (none.mean, none.pooled, none.value.tolist()) == (-1, -1, [-1, -1])


def test_a_point_that_was_not_found_is_a_miss():
    annotated, visibility = np.zeros((1, 2, 2)), np.ones((1, 2))
    predicted = np.array([[[np.nan, np.nan], [0.0, 0.0]]])
    assert metrics.pck(predicted, annotated, visibility, 1.0, 0.5).value.tolist() == [0, 1]
    assert metrics.epe(predicted, annotated, visibility) == math.inf
    assert metrics.epe(predicted, annotated, np.array([[0, 1]])) == 0


def test_table_has_a_row_for_each_point():
    share = metrics.Pck(np.array([0.5, -1.0]), np.array([4, 0]), 0.2, left_out=3)
    assert share.markdown(["nose", "tail"]).splitlines() == [
        "| point | PCK@0.2 | annotated |",
        "|---|---:|---:|",
        "| nose | 0.500 | 4 |",
        "| tail | – | 0 |",
        "| **mean of points** | 0.500 | |",
        "| **mean of annotations** | 0.500 | 4 |",
        "",
        "3 samples left out: the length to measure by is not annotated.",
    ]


def test_shapes_are_checked():
    xy, visibility = np.zeros((3, 2, 2)), np.ones((3, 2))
    with pytest.raises(
        ValueError, match=r"expected predicted and annotated \[N, K, 2\] and visibility \[N, K\], got \(3, 2, 2\)"
    ):
        metrics.pck(xy, xy[:2], visibility, 1.0, 0.5)
    with pytest.raises(ValueError, match=r"expected norm \[3\], \[3, 2\], \[1, 2\] or one number, got \(2,\)"):
        metrics.pck(xy, xy, visibility, np.ones(2), 0.5)


def test_auc_epe_nme_by_hand():
    annotated, visibility = np.zeros((2, 1, 2)), np.ones((2, 1))
    predicted = np.array([[[3.0, 4.0]], [[0.0, 0.0]]])
    assert metrics.epe(predicted, annotated, visibility) == 2.5
    assert metrics.nme(predicted, annotated, visibility, np.array([10.0, 10.0])) == 0.25
    # thresholds 0, 0.25, 0.5, 0.75 of a norm of 10: none, one, one (5 is not below 5), both
    assert metrics.auc(predicted, annotated, visibility, 10.0, steps=4) == (0 + 0.5 + 0.5 + 1) / 4
    nothing = np.zeros((2, 1))
    assert metrics.auc(predicted, annotated, nothing, 10.0) == -1
    assert metrics.epe(predicted, annotated, nothing) == -1


def test_auc_is_the_mean_of_pck():
    rng = np.random.default_rng(0)
    annotated, visibility = rng.random((9, 4, 2)), rng.integers(0, 2, (9, 4))
    predicted = annotated + rng.normal(0, 0.3, annotated.shape)
    want = np.mean([metrics.pck(predicted, annotated, visibility, 1.0, n / 20).mean for n in range(20)])
    assert metrics.auc(predicted, annotated, visibility, 1.0) == pytest.approx(want, rel=1e-14)


def plain_accuracy(output, target, threshold=0.5):
    """One joint of one sample after the other, with the height under x and the width under y."""
    number, joints, height, width = output.shape
    shares = []
    for k in range(joints):
        hits = []
        for n in range(number):
            places = []
            for maps in (output, target):
                y, x = divmod(int(maps[n, k].argmax()), width)
                places.append((x, y) if maps[n, k].max() > 0 else (0, 0))
            (px, py), (tx, ty) = places
            if tx > 1 and ty > 1:
                away = math.hypot(px / (height / 10) - tx / (height / 10), py / (width / 10) - ty / (width / 10))
                hits.append(away < threshold)
        shares.append(np.mean(hits) if hits else -1.0)
    return np.array(shares)


@pytest.mark.parametrize("kind", ["numpy", "torch", "bfloat16"])
def test_accuracy_of_maps(kind):
    rng = np.random.default_rng(1)
    target = rng.random((30, 5, 16, 12)).astype(np.float32) ** 8
    target[:, 4] = -1.0  # never above 0, so never counted
    output = target + rng.random(target.shape).astype(np.float32) * 0.3
    if kind != "numpy":
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        as_torch = torch.from_numpy(output).to(dtype).requires_grad_(), torch.from_numpy(target).to(dtype)
        share = metrics.accuracy(*as_torch)
        output, target = (t.detach().float().numpy() for t in as_torch)
    else:
        share = metrics.accuracy(output, target)
    want = plain_accuracy(output, target)
    np.testing.assert_array_equal(share.value, want)
    assert share.mean == pytest.approx(want[:4].mean())
    assert 0 < share.mean < 1
    assert (share.count > 0).sum() == 4


def test_accuracy_confuses_height_and_width_as_published():
    target, output = np.zeros((2, 1, 1, 64, 48), np.float32)
    target[0, 0, 10, 10] = 1
    output[0, 0, 10, 13] = 1  # 3 pixels in x: 3 / 6.4 = 0.47 by the height; by the width it would be 0.63
    assert metrics.accuracy(output, target).mean == 1
    output[:] = 0
    output[0, 0, 13, 10] = 1  # 3 pixels in y: 3 / 4.8 = 0.63
    assert metrics.accuracy(output, target).mean == 0


def mpii_world(seed):
    rng = np.random.default_rng(seed)
    annotated = rng.uniform(0, 200, (20, 16, 2))
    visibility = (rng.random((20, 16)) < 0.8).astype(int)
    head = metrics.head_size(np.column_stack([np.zeros((20, 2)), rng.uniform(20, 40, (20, 2))]))
    return annotated + rng.normal(0, 8, annotated.shape), annotated, visibility, head


def test_pckh_by_loops():
    predicted, annotated, visibility, head = mpii_world(0)

    def share(points, threshold):
        hits = [
            np.linalg.norm(predicted[n, k] - annotated[n, k]) / head[n] <= threshold
            for k in points
            for n in range(20)
            if visibility[n, k]
        ]
        return 100 * np.mean(hits), len(hits)

    values = metrics.pckh(predicted, annotated, visibility, head)
    assert list(values) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean", "Mean@0.1"]
    assert values["Head"] == pytest.approx(share([9], 0.5)[0])
    for part, left, right in (("Shoulder", 13, 12), ("Wrist", 15, 10), ("Hip", 3, 2), ("Ankle", 5, 0)):
        assert values[part] == pytest.approx((share([left], 0.5)[0] + share([right], 0.5)[0]) / 2)
    limbs = [k for k in range(16) if k not in (6, 7)]
    assert values["Mean"] == pytest.approx(share(limbs, 0.5)[0])
    assert values["Mean@0.1"] == pytest.approx(share(limbs, 0.11)[0])


def test_pckh_reads_points_by_name_and_takes_the_threshold_itself():
    annotated, visibility, head = np.zeros((1, 16, 2)), np.ones((1, 16)), np.array([10.0])
    at_half = annotated.copy()
    at_half[..., 0] = 5.0
    values = metrics.pckh(at_half, annotated, visibility, head)
    assert values["Mean"] == 100
    assert values["Mean@0.1"] == 0
    at_half[0, 6:8] = 1e3  # pelvis and thorax
    assert metrics.pckh(at_half, annotated, visibility, head) == values
    visibility[:, MPII16.points.index("head_top")] = 0
    assert metrics.pckh(at_half, annotated, visibility, head)["Head"] == -1


def test_lengths_to_measure_by():
    xy, visibility = np.zeros((2, 14, 2)), np.full((2, 14), 2)
    xy[:, LSP14.points.index("right_shoulder")] = 3, 4
    visibility[1, LSP14.points.index("left_hip")] = 0
    torso = metrics.segment(xy, visibility, LSP14, "right_shoulder", "left_hip")
    assert torso[0] == 5
    assert np.isnan(torso[1])
    assert metrics.box_size(np.array([[1, 2, 30, 40], [0, 0, 9, 8]])).tolist() == [40, 9]
    assert metrics.head_size(np.array([[10, 10, 13, 14]])).tolist() == [3]
    with pytest.raises(LookupError, match=r"skeleton 'coco17' has no point \['head_top'\]; its points are"):
        metrics.segment(np.zeros((1, 17, 2)), np.ones((1, 17)), COCO17, "nose", "head_top")


def dots(places, size=(64, 64)):
    """Maps [1, K, h, w] that are highest at given (x, y), and nowhere above 0 for None."""
    maps = np.full((1, len(places), *size), -1.0)
    for k, place in enumerate(places):
        if place:
            maps[0, k, place[1], place[0]] = 1
    return maps


def test_animals_by_hand():
    # Half of a tenth of 64 is 3.2: 3 pixels off is a hit, (2.4, 2.4) = 3.39 is not; row and column 0 are not counted.
    target = dots([(10, 10), (20, 20), (30, 30), (1, 1), (0, 9), (9, 0), None])
    output = dots([(13, 10), (20, 23), (33, 33), (1, 1), (0, 9), (9, 0), (5, 5)])
    share = metrics.animal_accuracy(output, torch.from_numpy(target))
    assert share.value.tolist() == [1, 1, 0, 1, -1, -1, -1]
    assert share.mean == 0.75
    # Both axes are measured by the width.
    wide = metrics.animal_accuracy(dots([(10, 13)], (32, 64)), dots([(10, 10)], (32, 64)))
    assert wide.value.tolist() == [1]


def test_the_index_of_animals_is_applied_twice_as_released():
    target = dots([(10, 10), (20, 20), (30, 30)])
    output = dots([(30, 30), (0, 60), (20, 20)])  # the second is wrong
    assert metrics.animal_accuracy(output, target[:, [2, 0, 1]]).value.tolist() == [1, 0, 1]
    share = metrics.animal_accuracy(output, target, [2, 0, 1])
    assert share.value.tolist() == [1, 1, 0]  # entries 2, 0 and 1 of that
    assert share.mean == pytest.approx(2 / 3)


def test_the_table_of_animals_depends_on_the_batches():
    batches = [metrics.Pck(np.array(v), np.array(n), 0.5) for v, n in (
        ([1.0, 0.5, -1], [4, 4, 0]), ([0.0, -1, -1], [1, 0, 0]), ([-1.0, -1, -1], [0, 0, 0]),
    )]  # fmt: skip
    by_point, total = metrics.animal_table(batches, [4, 1, 4])
    assert by_point.tolist() == [0.5, 0.5, -1]
    assert total == pytest.approx((0.75 * 4 + 0 * 1) / 5)
    assert metrics.animal_table(batches[2:], [4])[1] == -1


def test_the_area_of_animals():
    assert metrics.animal_auc(np.zeros(3)) == 100
    assert metrics.animal_auc(np.array([0.81, 2.0])) == 0
    assert (
        metrics.animal_auc(np.array([0.0, 0.5])) == 69.38
    )  # 80 thresholds are above 0, the 31 from 50 / 99 on above 0.5


def test_pck_of_animals_is_of_one_and_a_half_extents_of_the_labelled_points():
    """As `eval --metric animal`: 0.05 of 1.5 times 100 pixels is 7.5 pixels; what is not labelled does not count."""
    xy = np.array([[[0.0, 0.0], [100.0, 60.0], [500.0, 500.0]], [[10.0, 10.0], [10.0, 50.0], [0.0, 0.0]]])
    visibility = np.array([[2, 1, 0], [2, 2, 0]])  # the second animal's extent is 40 pixels, and 3 of them a hit
    people = SimpleNamespace(xy=xy, visibility=visibility)
    off = np.array([[[7.4, 0.0], [0.0, 7.6], [99.0, 99.0]], [[0.0, 2.9], [3.1, 0.0], [0.0, 0.0]]])
    values, share, rule = distances.measured("animal", xy + off, people)  # pyright: ignore[reportArgumentType]
    assert share.value.tolist() == [1, 0, -1]
    assert values["PCK"] == 0.5
    assert rule.startswith("PCK@0.05 of the crop's side, 1.5 times the longest extent")
