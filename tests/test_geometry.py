"""The coordinate law: crops are exactly invertible, follow the published rules, and mirror without touching pixels."""

import numpy as np
import pytest

from posewright import geometry, image
from posewright.types import Crop, CropRule

RULES: tuple[CropRule, ...] = ("standard", "dark", "udp")
SIZE = (256, 192)


def three_points(region, size, degrees, less=0.0):
    """Published construction: centre, a point half a crop width above it, and the right-angled third; solved as 6x6."""
    cx, cy, w, _ = region
    height, width = size
    turn = np.deg2rad(degrees)
    up = np.array([(w - less) / 2 * np.sin(turn), -(w - less) / 2 * np.cos(turn)])
    here = np.array([[cx, cy], [cx + up[0], cy + up[1]], [cx + up[0] + up[1], cy + up[1] - up[0]]])
    mx, my, half = (width - less) / 2, (height - less) / 2, (width - less) / 2
    there = np.array([[mx, my], [mx, my - half], [mx - half, my - half]])
    return np.linalg.solve(np.column_stack([here, np.ones(3)]), there).T


def udp_matrix(region, size, degrees):
    """UDP's x' = S (R (x - c) + half the region), R turning the other way."""
    cx, cy, w, h = region
    turn = np.deg2rad(degrees)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scale = np.diag([(size[1] - 1) / w, (size[0] - 1) / h])
    return np.column_stack([scale @ rotate, scale @ (np.array([w / 2, h / 2]) - rotate @ [cx, cy])])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("degrees", [0.0, 33.0, -120.0])
def test_matrix_is_the_published_one(rule, degrees):
    region = np.array([151.3, 87.25, 120.0, 160.0])
    expected = {
        "standard": lambda: three_points(region, SIZE, degrees),
        "dark": lambda: three_points(region, SIZE, degrees, less=1.0),
        "udp": lambda: udp_matrix(region, SIZE, degrees),
    }[rule]()
    matrix = geometry.matrix_of_region(region, SIZE, rule=rule, degrees=degrees)
    np.testing.assert_allclose(matrix, expected, atol=1e-10)


def test_udp_turns_the_other_way_than_standard():
    region = np.array([50.0, 60.0, 96.0, 128.0])
    above = np.array([50.0, 10.0])
    x = [
        Crop(geometry.matrix_of_region(region, SIZE, rule=rule, degrees=30), SIZE).to_input(above)[0] - 96
        for rule in ("standard", "udp")
    ]
    assert x[0] < -40
    assert x[1] > 40


@pytest.mark.parametrize("rule", RULES)
def test_edges_and_centre_fall_where_the_rule_says(rule):
    region = np.array([100.0, 80.0, 60.0, 80.0])
    crop = Crop(geometry.matrix_of_region(region, SIZE, rule=rule), SIZE)
    corners = {
        "standard": ([[70, 40], [130, 120]], [[0, 0], [192, 256]], [96, 128]),
        "dark": ([[70.5, 40.5], [129.5, 119.5]], [[0, -0.3729], [191, 255.3729]], [95.5, 127.5]),
        "udp": ([[70, 40], [130, 120]], [[0, 0], [191, 255]], [95.5, 127.5]),
    }[rule]
    np.testing.assert_allclose(crop.to_input(np.array(corners[0], float)), corners[1], atol=1e-4)
    np.testing.assert_allclose(crop.to_input(region[:2]), corners[2], atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_round_trip(rule):
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = np.concatenate([rng.uniform(-200, 2000, 2), rng.uniform(3, 1500, 2)])
        crop = geometry.crop_of_box(
            box, SIZE, rule=rule, padding=(1.09, 1.135), degrees=rng.uniform(-180, 180), mirror=rng.random() < 0.5
        )
        xy = rng.uniform(-500, 4000, (17, 2))
        np.testing.assert_allclose(crop.to_image(crop.to_input(xy)), xy, atol=1e-3)
        np.testing.assert_allclose(geometry.transform(geometry.invert(crop.matrix), crop.to_input(xy)), xy, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_everything_is_vectorised(rule):
    rng = np.random.default_rng(1)
    boxes = np.concatenate([rng.uniform(0, 500, (6, 2)), rng.uniform(20, 300, (6, 2))], 1).reshape(2, 3, 4)
    degrees, mirror = rng.uniform(-180, 180, (2, 3)), rng.random((2, 3)) < 0.5
    regions = geometry.region_of_box(boxes, SIZE, rule=rule)
    matrices = geometry.matrix_of_region(regions, SIZE, rule=rule, degrees=degrees, mirror=mirror)
    xy = rng.uniform(0, 500, (2, 3, 5, 2))
    moved = geometry.transform(matrices, xy)
    assert matrices.shape == (2, 3, 2, 3)
    for n in np.ndindex(2, 3):
        one = geometry.crop_of_box(boxes[n], SIZE, rule=rule, degrees=degrees[n], mirror=mirror[n])
        np.testing.assert_allclose(matrices[n], one.matrix)
        np.testing.assert_allclose(moved[n], one.to_input(xy[n]))


def test_region_grows_the_short_side():
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 30, 80], SIZE), [25, 60, 75, 100])
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 90, 80], SIZE), [55, 60, 112.5, 150])
    np.testing.assert_allclose(geometry.region_of_box([10, 20, 30, 80], SIZE, rule="dark"), [24.5, 59.5, 75, 100])


def test_unequal_padding_comes_before_the_ratio():
    # Width 60 · 1.09 = 65.4 and height 80 · 1.135 = 90.8: now the height rules, 90.8 · 3/4 = 68.1.
    region = geometry.region_of_box([0, 0, 60, 80], SIZE, padding=(1.09, 1.135))
    np.testing.assert_allclose(region, [30, 40, 68.1, 90.8])


@pytest.mark.parametrize("rule", RULES)
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
        geometry.transform(inside, xy)[flip_index],
        geometry.transform(outside, geometry.flip_xy(xy, 160, flip_index)),
        atol=1e-9,
    )


@pytest.mark.parametrize("rule", RULES)
def test_warped_pixels_lie_where_the_points_do(rule):
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[40, 90] = 255
    crop = geometry.crop_of_box(np.array([60, 10, 60, 80.0]), SIZE, rule=rule, padding=(1.0, 1.0), degrees=40)
    light = image.warp(pixels, crop.matrix, SIZE)[..., 0].astype(float)
    rows, columns = np.mgrid[:256, :192]
    centre = [(light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()]
    np.testing.assert_allclose(centre, crop.to_input(np.array([90.0, 40.0])), atol=0.02)


def test_flip_is_its_own_inverse():
    xy = np.array([[0.0, 5.0], [99.0, 6.0], [40.5, 7.0]])
    flip_index = np.array([1, 0, 2])
    flipped = geometry.flip_xy(xy, 100, flip_index)
    np.testing.assert_allclose(flipped, [[0, 6], [99, 5], [58.5, 7]])
    np.testing.assert_allclose(geometry.flip_xy(flipped, 100, flip_index), xy)
    assert xy[0, 0] == 0


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
    with pytest.raises(ValueError, match="'standard', 'dark' or 'udp', got 'square'"):
        geometry.matrix_of_region(np.array([1.0, 1, 2, 2]), SIZE, rule="square")  # type: ignore[arg-type]
