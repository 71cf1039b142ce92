"""The coordinate law: crops are exactly invertible, follow the published rules, and mirror without touching pixels."""

from fractions import Fraction

import numpy as np
import pytest

from posewright import geometry, image
from posewright.types import Boxes, Crop, CropRule

RULES: tuple[CropRule, ...] = ("standard", "dark", "udp", "cpn")
SIZE = (256, 192)


def crop_of_box(box, size=SIZE, *, padding=(1.25, 1.25), rule="standard", cleaned=False, degrees=0.0, mirror=False):
    """One crop, turned and mirrored as training does."""
    region = geometry.region_of_box(np.reshape(box, (1, 4)), size, padding=padding, rule=rule, cleaned=cleaned)
    return crop_of_region(region, size, rule=rule, degrees=degrees, mirror=mirror)


def crop_of_region(region, size=SIZE, *, rule="standard", degrees=0.0, mirror=False):
    matrix = geometry.matrix_of_region(np.reshape(region, (-1, 4)), size, rule=rule, degrees=degrees, mirror=mirror)
    return Crop(matrix, size, rule)


def to_input(crop, xy):
    """Points [K, 2] through the one crop."""
    return crop.to_input(np.asarray(xy, float).reshape(1, -1, 2))[0].reshape(np.shape(xy))


def to_image(crop, xy):
    return crop.to_image(np.asarray(xy, float).reshape(1, -1, 2))[0].reshape(np.shape(xy))


def flip_xy(xy, width, flip_index):
    """Keypoints [K, 2] of the mirrored image."""
    return np.stack([width - 1 - xy[flip_index, 0], xy[flip_index, 1]], 1)


def three_points(region, size, degrees, less=0.0):
    """Published construction: centre, a point half a crop width above it, and the right-angled third; solved as 6x6."""
    cx, cy, w, _ = region
    height, width = size
    turn = np.deg2rad(degrees)
    up = np.array([(w - less) / 2 * np.sin(turn), -(w - less) / 2 * np.cos(turn)])
    corners = np.array([[cx, cy], [cx + up[0], cy + up[1]], [cx + up[0] + up[1], cy + up[1] - up[0]]])
    mx, my, half = (width - less) / 2, (height - less) / 2, (width - less) / 2
    moved = np.array([[mx, my], [mx, my - half], [mx - half, my - half]])
    return np.linalg.solve(np.column_stack([corners, np.ones(3)]), moved).T


def udp_matrix(region, size, degrees):
    """UDP's x' = S (R (x - c) + half the region), R turning the other way."""
    cx, cy, w, h = region
    turn = np.deg2rad(degrees)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scale = np.diag([(size[1] - 1) / w, (size[0] - 1) / h])
    return np.column_stack([scale @ rotate, scale @ (np.array([w / 2, h / 2]) - rotate @ [cx, cy])])


def cpn_matrix(region, size, degrees):
    """CPN's x' = (x - x_min) W / (x_max - x_min), turned about the window's middle."""
    cx, cy, w, h = region
    low = np.floor([cx - w / 2, cy - h / 2])
    high = np.floor([cx + w / 2, cy + h / 2])
    turn = np.deg2rad(degrees)
    rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    scale = np.diag([size[1], size[0]] / (high - low))
    return np.column_stack([scale @ rotate, scale @ ((high - low) / 2 - rotate @ ((low + high) / 2))])


def cpn_window(xywh, image_size, size, padding):
    """As published: the corners x_min, y_min, x_max, y_max, in an image widened by its longer side all around.

    In fractions: in float32, as published, one corner in 1,500 comes out a pixel lower, by rounding.
    """
    height, width = size
    x1, y1, x2, y2 = (Fraction(int(v)) for v in (xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3]))
    add = max(image_size)
    cx, cy = (x1 + x2) / 2 + add, (y1 + y2) / 2 + add
    crop_w, crop_h = (x2 - x1) * Fraction(padding[0]), (y2 - y1) * Fraction(padding[1])
    side, ref = (crop_h, height) if crop_h / height > crop_w / width else (crop_w, width)
    for room, share in (
        (cx, width),
        (image_size[1] + 2 * add - cx, width),
        (cy, height),
        (image_size[0] + 2 * add - cy, height),
    ):
        side = min(side, room / share * ref * 2 - 1)
    half_w, half_h = side / 2 / ref * width, side / 2 / ref * height
    return [int(v) - add for v in (cx - half_w, cy - half_h, cx + half_w, cy + half_h)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("degrees", [0.0, 33.0, -120.0])
def test_matrix_is_the_published_one(rule, degrees):
    region = np.array([151.3, 87.25, 120.0, 160.0])
    expected = {
        "standard": lambda: three_points(region, SIZE, degrees),
        "dark": lambda: three_points(region, SIZE, degrees, less=1.0),
        "udp": lambda: udp_matrix(region, SIZE, degrees),
        "cpn": lambda: cpn_matrix(region, SIZE, degrees),
    }[rule]()
    matrix = geometry.matrix_of_region(region, SIZE, rule=rule, degrees=degrees)
    np.testing.assert_allclose(matrix, expected, atol=1e-10)


def test_udp_turns_the_other_way_than_standard():
    region = np.array([50.0, 60.0, 96.0, 128.0])
    above = np.array([50.0, 10.0])
    x = [to_input(crop_of_region(region, rule=rule, degrees=30), above)[0] - 96 for rule in ("standard", "udp")]
    assert x[0] < -40
    assert x[1] > 40


@pytest.mark.parametrize("rule", RULES)
def test_edges_and_centre_fall_where_the_rule_says(rule):
    region = np.array([100.0, 80.0, 60.0, 80.0])
    crop = crop_of_region(region, rule=rule)
    corners = {
        "standard": ([[70, 40], [130, 120]], [[0, 0], [192, 256]], [96, 128]),
        "dark": ([[70.5, 40.5], [129.5, 119.5]], [[0, -0.3729], [191, 255.3729]], [95.5, 127.5]),
        "udp": ([[70, 40], [130, 120]], [[0, 0], [191, 255]], [95.5, 127.5]),
        "cpn": ([[70, 40], [130, 120]], [[0, 0], [192, 256]], [96, 128]),
    }[rule]
    np.testing.assert_allclose(to_input(crop, np.array(corners[0], float)), corners[1], atol=1e-4)
    np.testing.assert_allclose(to_input(crop, region[:2]), corners[2], atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_round_trip(rule):
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = np.concatenate([rng.uniform(-200, 2000, 2), rng.uniform(3, 1500, 2)])
        crop = crop_of_box(
            box, SIZE, rule=rule, padding=(1.09, 1.135), degrees=rng.uniform(-180, 180), mirror=rng.random() < 0.5
        )
        xy = rng.uniform(-500, 4000, (17, 2))
        np.testing.assert_allclose(to_image(crop, to_input(crop, xy)), xy, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_everything_is_vectorised(rule):
    rng = np.random.default_rng(1)
    boxes = np.concatenate([rng.uniform(0, 500, (6, 2)), rng.uniform(20, 300, (6, 2))], 1)
    degrees, mirror = rng.uniform(-180, 180, 6), rng.random(6) < 0.5
    regions = geometry.region_of_box(boxes, SIZE, rule=rule)
    crops = crop_of_region(regions, rule=rule, degrees=degrees, mirror=mirror)
    xy = rng.uniform(0, 500, (6, 5, 2))
    moved = crops.to_input(xy)
    assert (len(crops), len(crops[1:3])) == (6, 2)
    np.testing.assert_array_equal(crops[1:3].to_input(xy[1:3]), moved[1:3])
    for n in range(6):
        one = crop_of_box(boxes[n], rule=rule, degrees=degrees[n], mirror=mirror[n])
        np.testing.assert_allclose(crops.matrix[n], one.matrix[0])
        np.testing.assert_allclose(moved[n], to_input(one, xy[n]))


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_crops_of_boxes_are_made_in_one_go(rule, cleaned):
    boxes = Boxes.of([[10, 20, 30, 80], [-3.5, 20.75, 30.25, 40.5]], cleaned=cleaned)
    crops = geometry.crop(boxes, SIZE, padding=(1.09, 1.135), rule=rule)
    assert (crops.size, crops.rule) == (SIZE, rule)
    for one, box in zip(crops.matrix, boxes.xywh):
        expected = crop_of_box(box, padding=(1.09, 1.135), rule=rule, cleaned=cleaned)
        np.testing.assert_array_equal(one, expected.matrix[0])
    assert len(geometry.crop(Boxes.of([]), SIZE, rule=rule)) == 0


def test_region_grows_the_short_side():
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 30, 80], SIZE), [25, 60, 75, 100])
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 90, 80], SIZE), [55, 60, 112.5, 150])
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 30, 80], SIZE, rule="dark"), [24.5, 59.5, 75, 100])


def test_boxes_are_measured_as_each_rule_s_code_does():
    box = np.array([-3.5, 20.75, 30.25, 40.5])  # to 26.75, 61.25
    np.testing.assert_array_equal(geometry.box_by_rule(box, "cpn"), [-3, 20, 29, 41])
    np.testing.assert_array_equal(geometry.box_by_rule(box, "cpn", cleaned=True), [-3, 20, 29, 41])
    np.testing.assert_array_equal(geometry.box_by_rule(box, "dark"), box)
    np.testing.assert_array_equal(geometry.box_by_rule(box, "dark", cleaned=True), [-3.5, 20.75, 31.25, 41.5])
    for rule in ("standard", "udp"):
        np.testing.assert_array_equal(geometry.box_by_rule(box, rule, cleaned=True), box)
    # DARK's centre is that of the box's first and last pixel, so for a whole box from 10 to 40 it is 25.
    region = geometry.region_of_box([10, 20, 30, 80], SIZE, rule="dark", cleaned=True)
    np.testing.assert_allclose(region, [25, 60, 75.9375, 101.25])
    dark = crop_of_box([10, 20, 30, 80.0], rule="dark", cleaned=True)
    assert to_input(dark, np.array([25.0, 60.0])) == pytest.approx([95.5, 127.5])


def test_cpn_cuts_out_whole_pixels():
    # 60 x 80 of image: 72 x 104 padded, 78 x 104 with the ratio, from 40 - 39 = 1 and 50 - 52 = -2.
    crop = crop_of_box(np.array([10, 10, 60, 80.0]), SIZE, padding=(1.2, 1.3), rule="cpn")
    np.testing.assert_allclose(to_image(crop, np.array([[0, 0], [192, 256.0]])), [[1, -2], [79, 102]], atol=1e-9)
    # 61 x 81: 105.3 high, 78.975 wide; the middle is (40.5, 50.5), so x from 1.0125 to 79.9875, y from -2.15 to 103.15.
    crop = crop_of_box(np.array([10.9, 10.2, 60.5, 80.9]), SIZE, padding=(1.2, 1.3), rule="cpn")
    np.testing.assert_allclose(to_image(crop, np.array([[0, 0], [192, 256.0]])), [[1, -3], [79, 103]], atol=1e-9)
    # Less than a pixel wide is a pixel.
    crop = crop_of_box(np.array([10.9, 10.2, 0.05, 0.05]), SIZE, padding=(1.2, 1.3), rule="cpn")
    np.testing.assert_allclose(to_image(crop, np.array([[0, 0], [192, 256.0]])), [[10, 10], [11, 11]], atol=1e-9)


@pytest.mark.parametrize("size", [(256, 192), (384, 288)])
@pytest.mark.parametrize("padding", [("1.2", "1.3"), ("1.5", "1.625")])
def test_cpn_s_windows_are_the_published_ones(size, padding):
    """For boxes in the image, with or without its size, and for those that reach beyond it as well as its border."""
    rng = np.random.default_rng(3)
    factors = (float(padding[0]), float(padding[1]))
    for spread, image_size in ((0, None), (0, (427, 640)), (900, (427, 640))):
        low, high = np.sort(rng.uniform((-spread, -spread), (640 + spread, 427 + spread), (400, 2, 2)), 1).swapaxes(
            0, 1
        )
        boxes = np.concatenate([low, high - low], 1)[(high - low > 2).all(1) & (high > 0).all(1) & (low < 427).all(1)]
        crop = geometry.crop(Boxes.of(boxes), size, padding=factors, rule="cpn", image_size=image_size)
        ends = crop.to_image(np.broadcast_to(np.array([[0, 0], size[::-1]], float), (len(boxes), 2, 2)))
        expected = [cpn_window(box, (427, 640), size, padding) for box in boxes]
        np.testing.assert_allclose(ends.reshape(-1, 4), expected, atol=1e-6)
        assert (np.array(expected) > np.array([-640, -640, 0, 0])).all() == (spread == 0)


def test_cpn_s_regions_end_where_the_widened_image_does():
    # An image of 100 x 60 is widened by 100. From the middle of the box, at 50, 30, it is 130 to the top: 2 * 130 / 256
    # - 1 / 256 of a box that is too high for its width, - 1 / 192 of one that is too wide.
    expected = {(-20, -600, 140, 1260): 259 / 256, (-600, -20, 1300, 100): 260 / 256 - 1 / 192}
    for box, scale in expected.items():
        region = geometry.region_of_box(box, SIZE, padding=(1.2, 1.3), rule="cpn", image_size=(60, 100))
        np.testing.assert_allclose(region, [50, 30, 192 * scale, 256 * scale])
        unbounded = geometry.region_of_box(box, SIZE, padding=(1.2, 1.3), rule="cpn")
        assert unbounded[2] > 1000
        standard = geometry.region_of_box(box, SIZE, padding=(1.2, 1.3), image_size=(60, 100))
        assert standard[2] > 1000


def test_cpn_s_training_crops_of_boxes_in_the_image_are_in_the_widened_one():
    # The largest for its place: as wide as the image, at its upper edge, padded by 1.25 more than in prediction.
    for image_size in (None, (60, 100)):
        region = geometry.region_of_box([0, 0, 100, 2], SIZE, padding=(1.5, 1.625), rule="cpn", image_size=image_size)
        np.testing.assert_allclose(region, [50, 1, 150, 200])


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("padding", [(0.5, 0.65), (1.2, 1.3), (4.0, 4.0)])
def test_cpn_s_pixels_are_those_of_its_window_resized(padding, inside):
    """Half-pixel centres; outside the image it is of one colour; the window's outermost pixels are repeated."""
    rng = np.random.default_rng(4)
    pixels, colour = image.resize(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8), (100, 120)), (123, 116, 103)
    box = np.array([45, 40, 30, 30.0]) if inside else np.array([80, 60, 40, 40.0])
    crop = crop_of_box(box, SIZE, padding=padding, rule="cpn")
    got = image.warp_all(pixels, crop, colour)[0]
    (x1, y1), (x2, y2) = np.rint(to_image(crop, np.array([[0, 0], [192, 256.0]]))).astype(int)
    wide = np.full((300, 320, 3), colour, np.uint8)
    wide[100:200, 100:220] = pixels
    window = wide[y1 + 100 : y2 + 100, x1 + 100 : x2 + 100].astype(float)
    expected = resized(resized(window, 256).swapaxes(0, 1), 192).swapaxes(0, 1)
    assert np.abs(got - expected).max() <= 1


def resized(rows, length):
    """Bilinear along the first axis, centres at half pixels, the ends repeated."""
    at = np.clip((np.arange(length) + 0.5) * len(rows) / length - 0.5, 0, len(rows) - 1)
    low = np.minimum(at.astype(int), len(rows) - 2)
    share = (at - low)[:, None, None]
    return rows[low] * (1 - share) + rows[low + 1] * share


def test_a_mirrored_cpn_crop_is_the_crop_mirrored():
    pixels = np.random.default_rng(2).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    region = np.array([71.3, 55.8, 60.2, 80.4])
    crops = [crop_of_region(region, rule="cpn", mirror=mirror) for mirror in (False, True)]
    plain, mirrored = (image.warp_all(pixels, crop)[0].astype(int) for crop in crops)
    assert np.abs(mirrored - plain[:, ::-1])[2:-2, 2:-2].max() <= 1  # prediction alone repeats the window's edge
    xy = np.array([[50.0, 60.0], [90.0, 30.0]])
    plain, mirrored = (to_input(crop, xy) for crop in crops)
    np.testing.assert_allclose(mirrored, np.array([192, 0]) + [-1, 1] * plain)


def test_pixels_move_as_points_do_in_all_other_crops():
    for rule in RULES[:3]:
        crop = crop_of_region([71.3, 55.8, 60.2, 80.4], rule=rule)
        assert crop.pixel_matrix is crop.matrix


def animal_transform(p, c, s, res, degrees):
    """As published for animals: points counted from 1, the middle c not, h = 200 s; turned about the crop's middle."""
    h = 200 * s
    t = res / h * (p - 1) + res * (0.5 - c / h)
    turn = np.deg2rad(-degrees)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotate @ (t - res / 2) + res / 2


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_the_crop_of_animals_is_the_standard_one(degrees):
    """But for the middle: measured from points that are counted from 1, it lies one pixel further."""
    box, p = np.array([20.0, 30.0, 60.0, 90.0]), np.array([41.0, 88.0])
    region = geometry.region_of_box(box, (256, 256), padding=(1.5, 1.5))
    np.testing.assert_allclose(region, [50, 75, 135, 135])
    expected = animal_transform(p, region[:2], 135 / 200, 256, degrees)
    if not degrees:
        np.testing.assert_allclose(expected, [109.037, 150.756], atol=1e-3)  # 256 / 135 * (40 - 50) + 128
    crop = crop_of_region(region, (256, 256), degrees=degrees)
    np.testing.assert_allclose(to_input(crop, p - 1), expected)


def test_unequal_padding_comes_before_the_ratio():
    # Width 60 · 1.09 = 65.4 and height 80 · 1.135 = 90.8: now the height rules, 90.8 · 3/4 = 68.1.
    region = geometry.region_of_box([0, 0, 60, 80], SIZE, padding=(1.09, 1.135))
    np.testing.assert_allclose(region, [30, 40, 68.1, 90.8])


@pytest.mark.parametrize("rule", RULES[:3])
@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_mirror_in_the_matrix_is_the_crop_of_the_mirrored_image(rule, degrees):
    rng = np.random.default_rng(2)
    pixels = image.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (120, 160))
    xy = rng.uniform(10, 110, (4, 2))
    region = np.array([71.0, 55.0, 60.0, 80.0])
    flipped_region = np.array([160 - 1 - 71.0, 55.0, 60.0, 80.0])
    flip_index = np.array([1, 0, 2, 3])
    inside = geometry.matrix_of_region(region, SIZE, rule=rule, degrees=degrees, mirror=True)
    outside = geometry.matrix_of_region(flipped_region, SIZE, rule=rule, degrees=degrees)

    expected = image.warp(np.ascontiguousarray(pixels[:, ::-1]), outside, SIZE).astype(int)
    # One grey level for the rounding of the bilinear sum, which runs the other way round.
    assert np.abs(image.warp(pixels, inside, SIZE).astype(int) - expected).max() <= 1
    np.testing.assert_allclose(
        to_input(Crop(inside[None], SIZE, rule), xy)[flip_index],
        to_input(Crop(outside[None], SIZE, rule), flip_xy(xy, 160, flip_index)),
        atol=1e-9,
    )


@pytest.mark.parametrize("rule", RULES[:3])
def test_warped_pixels_lie_where_the_points_do(rule):
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[40, 90] = 255
    crop = crop_of_box(np.array([60, 10, 60, 80.0]), SIZE, rule=rule, padding=(1.0, 1.0), degrees=40)
    light = image.warp_all(pixels, crop)[0, ..., 0].astype(float)
    rows, columns = np.mgrid[:256, :192]
    centre = [(light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()]
    np.testing.assert_allclose(centre, to_input(crop, np.array([90.0, 40.0])), atol=0.02)


@pytest.mark.parametrize(
    ("box", "clean"),
    [
        ((10, 20, 30, 40), (10, 20, 29, 39)),  # one pixel is lost in width and height
        ((-5, 20, 30, 40), (0, 20, 29, 39)),  # a negative x moves the box instead of trimming it
        ((80, 20, 30, 40), (80, 20, 19, 39)),  # trimmed to the last pixel's centre, 99
        ((10, -8, 30, 200), (10, 0, 29, 69)),
        ((99, 69, 5, 5), (99, 69, 0, 0)),
        ((10, 20, 0, 40), (10, 20, 0, 39)),
    ],
)
def test_annotated_boxes_are_cleaned_as_published(box, clean):
    np.testing.assert_allclose(geometry.sanitise_box(np.array(box, float), height=70, width=100), clean)


@pytest.mark.parametrize("box", [(100, 10, 5, 5), (10, 70, 5, 5), (150, 90, 5, 5)])
def test_boxes_outside_the_image_are_nothing(box):
    assert geometry.sanitise_box(np.array(box, float), height=70, width=100) is None


def test_unknown_rule():
    with pytest.raises(ValueError, match="'standard', 'dark', 'udp' or 'cpn', got 'square'"):
        geometry.matrix_of_region(np.array([1.0, 1, 2, 2]), SIZE, rule="square")  # type: ignore[arg-type]
