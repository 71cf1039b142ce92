"""Augmentation against a plain, one-person-at-a-time writing of the published rules."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from posewright import geometry
from posewright.data import augment
from posewright.data.augment import HRNET, LITEHRNET, MSPN, NONE, SIMPLEBASELINE, Augment
from posewright.skeletons import AP10K17, COCO17

SIZE = (256, 192)
RATIO = 192 / 256


def crowd(number=400, seed=0, labelled=0.7):
    """Boxes, points and visibility of people, and what makes their generators."""
    rng = np.random.default_rng(seed)
    box = np.concatenate([rng.uniform(0, 300, (number, 2)), rng.uniform(20, 200, (number, 2))], 1)
    xy = box[:, None, :2] + rng.random((number, 17, 2)) * box[:, None, 2:]
    visibility = rng.integers(1, 3, (number, 17)) * (rng.random((number, 17)) < labelled)
    return box, xy, visibility.astype(np.uint8)


def generators(number=400):
    return [np.random.default_rng(1000 + n) for n in range(number)]


def views(rules, people, **options):
    options = {"skeleton": COCO17, "size": SIZE} | options
    return augment.views(rules, *people, generators(len(people[0])), **options)


def grown(w, h):
    return (w, w / RATIO) if w > RATIO * h else (h * RATIO, h)


def half(xy, visibility, normal, last, more_than):
    """The upper points (up to `last`) or the lower ones."""
    upper = [p for k, p in enumerate(xy) if visibility[k] > 0 and k <= last]
    lower = [p for k, p in enumerate(xy) if visibility[k] > 0 and k > last]
    if normal < 0.5 and len(upper) > more_than:
        return upper
    return lower if len(lower) > more_than else upper


def hrnet(rules, box, xy, visibility, rng, more=0.0):
    """HRNet's sample: box, half body, scale, rotation, mirror. `more` is DARK's pixel."""
    u, z = rng.random(12), rng.standard_normal(3)
    x, y, w, h = box
    w, h = w + more, h + more
    centre = np.array([x + (w - more) / 2, y + (h - more) / 2])
    side = [1.25 * v for v in grown(w, h)]
    if (visibility > 0).sum() > 8 and u[0] < rules.half_body:
        chosen = half(xy, visibility, z[0], last=10, more_than=2)
        if len(chosen) >= 2:
            centre = np.mean(chosen, 0)
            extent = np.max(chosen, 0) - np.min(chosen, 0) + more
            side = [1.5 * v for v in grown(*extent)]
    factor = rules.scale[1] - 1
    side = np.array(side) * np.clip(1 + factor * z[1], 1 - factor, 1 + factor)
    turn = np.clip(rules.rotation * z[2], -2 * rules.rotation, 2 * rules.rotation) if u[6] < 0.6 else 0
    return [*centre, *side, turn, u[8] < 0.5]


def mspn(box, xy, visibility, rng):
    """MSPN's sample: 5 % padding, random extension, ratio, half body, scale, rotation, mirror."""
    u, z = rng.random(12), rng.standard_normal(3)
    x, y, w, h = box
    centre = np.array([x + w / 2, y + h / 2])
    side = grown(w * 1.05 * (1 + 0.6 * u[3]), h * 1.05 * (1 + 0.8 * u[4]))
    if (visibility > 0).sum() > 3 and u[0] < 0.3:
        chosen = half(xy, visibility, z[0], last=12, more_than=3)
        if len(chosen) >= 3:
            low, high = np.min(chosen, 0), np.max(chosen, 0)
            centre = (low + high) / 2
            side = grown((high - low)[0] * (1 + 0.6 * u[1]), (high - low)[1] * (1 + 0.8 * u[2]))
    side = np.array(side) * 0.8 * (0.75 + 0.5 * u[5])
    turn = 90 * u[7] - 45 if u[6] < 0.5 else 0
    return [*centre, *side, turn, u[8] < 0.5]


@pytest.mark.parametrize("labelled", [0.7, 0.3])
@pytest.mark.parametrize("rules", [HRNET, SIMPLEBASELINE])
def test_hrnet_rules(rules, labelled):
    people = crowd(labelled=labelled)
    expected = np.array([hrnet(rules, *one) for one in zip(*people, generators())])
    got = views(rules, people)
    np.testing.assert_allclose(np.column_stack(got), expected, atol=1e-9)


def test_dark_keeps_the_pixel_that_cleaning_took():
    people = crowd()
    expected = np.array([hrnet(HRNET, *one, more=1.0) for one in zip(*people, generators())])
    np.testing.assert_allclose(np.column_stack(views(HRNET, people, rule="dark")), expected, atol=1e-9)


@pytest.mark.parametrize("labelled", [0.7, 0.3])
def test_mspn_rules(labelled):
    people = crowd(labelled=labelled)
    expected = np.array([mspn(*one) for one in zip(*people, generators())])
    np.testing.assert_allclose(np.column_stack(views(MSPN, people, padding=(1.09, 1.135))), expected, atol=1e-9)


def test_lite_hrnet_shifts_three_boxes_in_ten():
    people = crowd(2000)
    box = people[0]
    got = views(replace(LITEHRNET, half_body=0.0), people)
    moved = (got.region[:, :2] - (box[:, :2] + box[:, 2:] / 2)) / box[:, 2:]
    moving = np.abs(moved).max(1) > 0
    assert moving.mean() == pytest.approx(0.3, abs=0.03)
    assert np.abs(moved).max() == pytest.approx(0.2, abs=0.01)
    assert moved[moving].mean(0) == pytest.approx([0, 0], abs=0.02)


def test_no_augmentation_is_the_plain_crop():
    people = crowd(20)
    got = views(NONE, people, padding=(1.09, 1.135))
    np.testing.assert_allclose(got.region, geometry.region_of_box(people[0], SIZE, padding=(1.09, 1.135)))
    assert not got.degrees.any()
    assert not got.flip.any()


def test_a_setting_leaves_the_others_alone():
    people = crowd(50)
    both, without = views(HRNET, people), views(replace(HRNET, rotation=0.0, flip=0.0), people)
    np.testing.assert_array_equal(both.region, without.region)
    assert not without.degrees.any()
    assert both.flip.any()


def test_half_body_needs_to_know_which_half():
    people = crowd(50)
    always = replace(HRNET, half_body=1.0)
    with_animals = views(always, people, skeleton=AP10K17)
    np.testing.assert_array_equal(with_animals.region, views(replace(HRNET, half_body=0.0), people).region)
    assert (views(always, people).region != with_animals.region).any(1).sum() > 40


def test_half_body_of_coinciding_points_changes_nothing():
    box, xy, visibility = crowd(10)
    people = box, np.full_like(xy, 50.0), np.full_like(visibility, 2)
    got = views(replace(HRNET, half_body=1.0), people)
    np.testing.assert_array_equal(got.region, views(replace(HRNET, half_body=0.0), people).region)


def test_half_body_ignores_where_unlabelled_points_are():
    box, xy, visibility = crowd(50)
    elsewhere = np.where(visibility[..., None] > 0, xy, 1e6)
    always = replace(HRNET, half_body=1.0)
    np.testing.assert_array_equal(
        views(always, (box, elsewhere, visibility)).region, views(always, (box, xy, visibility)).region
    )


def test_full_circle():
    got = views(Augment(rotation=180, rotation_draw="uniform", rotation_chance=1.0), crowd(2000))
    assert got.degrees.min() < -170
    assert got.degrees.max() > 170
    assert np.abs(got.degrees).mean() == pytest.approx(90, abs=5)


def test_arguments_are_not_written_to():
    people = crowd(20)
    before = [a.copy() for a in people]
    views(MSPN, people)
    views(HRNET, people, rule="dark")
    for a, b in zip(people, before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": 1.5}, r"flip is a probability, 0 to 1, got 1\.5"),
        ({"scale": (1.2, 0.8)}, r"scale must be two factors above 0, the smaller first, got \(1\.2, 0\.8\)"),
        ({"scale": (0.0, 1.0)}, "scale must be two factors above 0"),
        ({"rotation": -3}, "rotation must not be negative, got -3"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ValueError, match=message):
        Augment(**change)


def test_settings_survive_json():
    assert msgspec.json.decode(msgspec.json.encode(MSPN), type=Augment) == MSPN


@pytest.fixture
def crop():
    ramp = np.linspace(30, 220, 64 * 48).reshape(64, 48)
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1).astype(np.uint8)


def recoloured(rules, crop, number=200):
    return [augment.recolour(rules, crop, np.random.default_rng(n)) for n in range(number)]


def test_which_settings_touch_pixels(crop):
    assert not any(rules.recolours for rules in (NONE, HRNET, SIMPLEBASELINE, LITEHRNET, MSPN))
    for name in ("brightness", "contrast", "saturation", "hue", "grey", "blur", "erase", "cutout"):
        rules = Augment(**{name: 1.0 if name != "hue" else 30.0})
        assert rules.recolours
        assert any((out != crop).any() for out in recoloured(rules, crop, 5)), name


def test_nothing_asked_nothing_changed(crop):
    out = augment.recolour(NONE, crop, np.random.default_rng(0))
    np.testing.assert_array_equal(out, crop)
    assert out is not crop


def test_brightness_scales(crop):
    levels = np.array([out.mean() for out in recoloured(Augment(brightness=0.1), crop)]) / crop.mean()
    assert levels.min() == pytest.approx(0.9, abs=0.01)
    assert levels.max() == pytest.approx(1.1, abs=0.01)


def test_contrast_keeps_the_mean(crop):
    outs = recoloured(Augment(contrast=0.1), crop)
    assert [out.mean() for out in outs] == pytest.approx([crop.mean()] * len(outs), abs=1.5)
    spread = np.array([out.std() for out in outs]) / crop.std()
    assert spread.min() < 0.92
    assert spread.max() > 1.08


def test_grey_has_no_colour(crop):
    outs = recoloured(Augment(grey=0.3), crop)
    colourless = [np.ptp(out.astype(int), axis=2).max() <= 1 for out in outs]
    assert np.mean(colourless) == pytest.approx(0.3, abs=0.1)


def test_hue_keeps_greys_and_swaps_colours():
    red = np.full((4, 4, 3), (200, 50, 50), np.uint8)
    grey = np.full((4, 4, 3), 90, np.uint8)
    tops = {int(out[0, 0].argmax()) for out in recoloured(Augment(hue=180), red)}
    assert tops == {0, 1, 2}
    assert all(np.abs(out.astype(int) - 90).max() <= 1 for out in recoloured(Augment(hue=180), grey))


def test_blur_smooths(crop):
    noisy = np.random.default_rng(0).integers(0, 255, crop.shape, dtype=np.uint8)
    assert all(out.std() < noisy.std() for out in recoloured(Augment(blur=1.0), noisy, 20))


def painted(out):
    return (out == (124, 116, 104)).all(2)


def test_erase_paints_one_rectangle(crop):
    masks = [painted(out) for out in recoloured(Augment(erase=0.5), crop)]
    hit = [m for m in masks if m.any()]
    assert len(hit) / len(masks) == pytest.approx(0.5, abs=0.1)
    for m in hit:
        rows, columns = np.flatnonzero(m.any(1)), np.flatnonzero(m.any(0))
        assert m.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 0.01 < m.mean() < 0.21


def test_hide_paints_half(crop):
    masks = [painted(out) for out in recoloured(Augment(cutout=1.0), crop)]
    assert np.mean(masks) == pytest.approx(0.5, abs=0.06)
    assert len({m.tobytes() for m in masks}) > 150


def test_cpn_flips_or_rotates_and_cuts_large_scales():
    people = crowd()
    got = views(augment.CPN, people)
    assert got.flip.any()
    assert (got.degrees != 0).any()
    assert not (got.flip & (got.degrees != 0)).any()
    plain = views(replace(augment.CPN, scale=(1.0, 1.0)), people).region[:, 2]
    factor = got.region[:, 2] / plain
    assert factor.min() >= 0.7
    assert (np.isclose(factor, 1.25)).sum() > 1
    with pytest.raises(ValueError, match=r"flip and rotation_chance together are at most 1, got 0\.6 and 0\.5"):
        replace(augment.CPN, flip=0.6)


def test_channels_gain_each_by_itself(crop):
    rules = Augment(channel_gain=0.2)
    changed = augment.recolour(rules, np.full_like(crop, 100), np.random.default_rng(0)).reshape(-1, 3)
    assert len(np.unique(changed, axis=0)) == 1
    assert len(set(changed[0].tolist())) == 3
    assert ((changed[0] >= 80) & (changed[0] <= 120)).all()
