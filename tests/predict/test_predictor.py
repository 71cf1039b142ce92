"""Predictor: images and boxes in, poses out, one image or many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from posewright import image
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.predict.boxes import two_pass_boxes
from posewright.predict.inputs import as_image
from posewright.predict.predictor import Predictor
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

DOTS = Skeleton("dots", ("red", "green", "blue"))
SIZE = (64, 48)
SPEC = Spec(
    "dots-64x48", lambda channels: torch.nn.Identity(), GaussianHeatmap(SIZE, (16, 12)), DOTS, SIZE, mean=(0, 0, 0),
    std=(255, 255, 255),
)  # fmt: skip


def brightness(images: torch.Tensor) -> torch.Tensor:
    """A network that finds dots of pure colour: the middle of each map pixel's surroundings, blurred."""
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2)), 5, 4, count_include_pad=False)[..., :16, :12]


def dots(*people: tuple[float, float], height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of people of three dots, their boxes [N, 4] and their points [N, 3, 2]."""
    pixels = np.zeros((height, width, 3), np.uint8)
    xy = np.array([[(x + 6, y + 6), (x + 17, y + 14), (x + 8, y + 25)] for x, y in people]).reshape(-1, 3, 2)
    for person in xy:
        for point, colour in zip(person, np.eye(3) * 255):
            image.draw_disc(pixels, point, 2, tuple(int(c) for c in colour))
    boxes = np.array([(x, y, 24.0, 32.0) for x, y in people]).reshape(-1, 4)
    return pixels, boxes, xy


@pytest.fixture
def predictor():
    return Predictor(SPEC, brightness)


@pytest.mark.parametrize("flip", [False, True])
def test_points_are_found_in_image_pixels(flip):
    pixels, boxes, xy = dots((10, 8), (60, 40))
    poses = Predictor(SPEC, brightness, flip=flip)(pixels, boxes)
    # A map pixel is 4 input pixels, 2.5 image pixels; the quarter rule, and the flip's known shift, come on top.
    np.testing.assert_allclose(poses.xy, xy, atol=2)
    assert poses.skeleton is DOTS
    assert poses.boxes.source == "caller"


@pytest.mark.parametrize("flip", [False, True])
def test_cpn_s_crop_is_cut_out_and_resized(flip):
    """Its points are measured as if a window's edge were its first pixel's centre: half an image pixel."""

    def pooled(images: torch.Tensor) -> torch.Tensor:
        return 255 * F.avg_pool2d(F.pad(images, (2, 2, 2, 2)), 8, 4)  # centred at 4 i + 1.5

    spec = replace(SPEC, codec=CpnMultiScaleHeatmap(SIZE, (16, 12), blur=5), crop_rule="cpn")
    rng = np.random.default_rng(0)
    off = []
    for _ in range(40):
        pixels, boxes, xy = dots(rng.uniform((2, 2), (90, 55)))
        off.append(Predictor(spec, pooled, flip=flip)(pixels, boxes).xy - xy)
    np.testing.assert_allclose(np.mean(off, (0, 1, 2)), [0.5, 0.5], atol=0.2)
    assert np.abs(np.array(off)).max() < 2


def test_outside_the_image_lies_the_spec_s_border():
    spec = replace(SPEC, codec=CpnMultiScaleHeatmap(SIZE, (16, 12), blur=5), crop_rule="cpn", mean=(10.0, 20.4, 30.6))
    assert (spec.border, replace(spec, colour="bgr").border, SPEC.border) == ((10, 20, 31), (31, 20, 10), (0, 0, 0))
    batches = []

    def net(images: torch.Tensor) -> torch.Tensor:
        batches.append(images)
        return brightness(images)

    list(Predictor(spec, net, batch=1, flip=False).many([(np.full((9, 9, 3), 99, np.uint8), [[-5, -5, 9, 9]] * 2)]))
    assert len(batches) == 2
    assert all((images[:, :, 0, 0].abs() < 0.5 / 255).all() for images in batches)


def test_dark_gives_annotated_boxes_their_pixel_back():
    batches = []

    def net(images: torch.Tensor) -> torch.Tensor:
        batches.append(images)
        return brightness(images)

    dark = replace(SPEC, codec=DarkHeatmap(SIZE, (16, 12)), crop_rule="dark")
    for spec, box, cleaned in (
        (dark, (10, 8, 23, 31), True),
        (dark, (10, 8, 24, 32), False),
        (SPEC, (10, 8, 23, 31), True),
        (SPEC, (10, 8, 23, 31), False),
    ):
        # The source, in which "gt" once said so, says nothing.
        found = Boxes.of([box], source="detector" if cleaned else "gt", cleaned=cleaned)
        poses = Predictor(spec, net, flip=False)(dots((10, 8))[0], found)
        assert poses.boxes.xywh.tolist() == [list(box)]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[2], batches[3])


def test_a_file_and_its_pixels_give_the_same(tmp_path, predictor):
    pixels, boxes, _ = dots((10, 8))
    image.write(tmp_path / "one.png", pixels)
    for file in (tmp_path / "one.png", str(tmp_path / "one.png")):
        np.testing.assert_array_equal(predictor(file, boxes).xy, predictor(pixels, boxes).xy)
    np.testing.assert_array_equal(predictor(pixels[:, ::-1][:, ::-1], boxes).xy, predictor(pixels, boxes).xy)


def test_boxes_can_be_given_in_every_form(predictor):
    pixels, boxes, _ = dots((10, 8), (60, 40))
    want = predictor(pixels, Boxes.of(boxes, [0.5, 1], "a detector"))
    assert want.boxes.source == "a detector"
    for given in (boxes, boxes.tolist(), lambda image: boxes, lambda image: Boxes.of(boxes)):
        np.testing.assert_array_equal(predictor(pixels, given).xy, want.xy)
    whole = predictor(pixels)
    assert whole.boxes.source == "whole image"
    assert whole.boxes.xywh.tolist() == [[0, 0, 120, 90]]


@pytest.mark.parametrize(("rule", "want"), [("above 0.2", 0.5 * 0.6), ("all", 0.5 * 0.4)])
def test_poses_are_scored_by_the_spec_s_rule(rule, want):
    def constant(images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.8, 0.4, 0.0]).view(1, 3, 1, 1).expand(len(images), 3, 16, 12)

    poses = Predictor(replace(SPEC, scoring=rule), constant)(dots()[0], Boxes.of([[5, 5, 9, 9]], [0.5], "test"))
    np.testing.assert_allclose(poses.instance_score, [want], rtol=1e-6)


def test_without_boxes_the_pose_is_that_of_a_second_closer_pass():
    four = Skeleton("four", ("a", "b", "c", "d"))

    def net(images: torch.Tensor) -> torch.Tensor:
        maps = brightness(images)
        return torch.cat([maps, maps[:, :1]], 1)

    pixels = dots((2, 2), height=36, width=28)[0]
    predictor = Predictor(SPEC.with_skeleton(four), net)
    found = two_pass_boxes(predictor)(pixels)
    assert found.source == "whole image, two passes"
    assert (found.xywh[0, 2:] < (20, 28)).all()
    poses = predictor(pixels)
    np.testing.assert_array_equal(poses.xy, predictor(pixels, found).xy)
    np.testing.assert_array_equal(poses.xy, next(predictor.many([pixels])).xy)


def test_the_flip_test_averages_with_the_unflipped_maps_of_the_mirrored_image():
    skeleton = Skeleton("pair", ("nose", "left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),))
    spec = SPEC.with_skeleton(skeleton)
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 3, 4, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    box = [[4.8, 6.4, 38.4, 51.2]]  # padded by 1.25, the whole image: crop and image are one
    inputs = image.to_tensor(pixels[None], spec.colour, spec.mean, spec.std)
    with torch.inference_mode():
        maps = (net(inputs) + spec.codec.unflip(net(inputs.flip(-1)), skeleton)) / 2
    xy, score = spec.codec.decode(maps)
    poses = Predictor(spec, net)(pixels, box)
    np.testing.assert_allclose(poses.xy, xy, atol=1e-9)
    np.testing.assert_allclose(poses.score, score, rtol=1e-5)
    assert not np.allclose(Predictor(spec, net, flip=False)(pixels, box).score, score)


def crowd() -> list[tuple[np.ndarray, object]]:
    """Images of 0 to 7 people; boxes as arrays, from a detector, and none at all."""
    rng = np.random.default_rng(1)
    items: list[tuple[np.ndarray, object]] = []
    for n in (2, 0, 7, 1, 0, 0, 3, 1, 1):
        pixels, boxes, _ = dots(*rng.uniform((0, 0), (90, 55), (n, 2)))
        items.append((pixels, boxes))
    items[3] = (items[3][0], lambda image, boxes=items[3][1]: boxes)
    items.append((items[0][0], None))
    return items


@pytest.mark.parametrize("batch", [1, 2, 3, 32])
def test_many_images_give_what_they_give_one_by_one(batch):
    predictor = Predictor(SPEC, brightness, batch=batch)
    together = list(predictor.many(crowd()))
    assert [len(poses) for poses in together] == [2, 0, 7, 1, 0, 0, 3, 1, 1, 1]
    for poses, (pixels, boxes) in zip(together, crowd()):
        alone = Predictor(SPEC, brightness)(pixels, boxes)
        np.testing.assert_allclose(poses.xy, alone.xy, atol=1e-9)
        np.testing.assert_allclose(poses.instance_score, alone.instance_score, rtol=1e-6)


def test_many_runs_the_network_on_full_batches():
    sizes = []

    def net(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return brightness(images)

    list(Predictor(SPEC, net, flip=False, batch=4).many(crowd()[:-1]))
    assert sizes == [4, 4, 4, 3]


def test_images_without_people_do_not_run_the_network():
    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("ran")

    predictor = Predictor(SPEC, never)
    poses = predictor(dots()[0], np.zeros((0, 4)))
    assert (poses.xy.shape, poses.score.shape, len(poses)) == ((0, 3, 2), (0, 3), 0)
    assert len(list(predictor.many([(dots()[0], [])] * 3))) == 3


def test_many_reads_ahead_a_bounded_number_of_images():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield dots((10, 8))[:2]

    results = Predictor(SPEC, brightness, batch=4).many(endless())
    assert len(next(results)) == 1
    assert taken <= 4 + 3 * 4  # ahead of the network, and three batches
    results.close()


def test_the_network_runs_while_the_caller_has_the_results_before():
    second = threading.Event()

    def net(images: torch.Tensor) -> torch.Tensor:
        if calls:
            second.set()
        calls.append(len(images))
        return brightness(images)

    calls: list[int] = []
    results = Predictor(SPEC, net, flip=False, batch=1).many([dots((10, 8))[:2]] * 3)
    next(results)
    assert second.wait(100)  # nothing was asked for since
    assert len(list(results)) == 2


def test_an_error_comes_after_the_results_of_the_images_before_it(tmp_path, predictor):
    pixels, boxes, _ = dots((10, 8))
    results = predictor.many([(pixels, boxes), (pixels, []), (tmp_path / "gone.jpg", boxes), (pixels, boxes)])
    assert [len(next(results)), len(next(results))] == [1, 0]
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg: no such image"):
        next(results)


def test_an_error_of_the_items_comes_after_their_results(predictor):
    def items():
        yield dots((10, 8))[:2]
        raise OSError("no more")

    results = predictor.many(items())
    assert len(next(results)) == 1
    with pytest.raises(OSError, match="no more"):
        next(results)


def test_one_predictor_serves_many_threads():
    predictor = Predictor(SPEC, brightness, batch=2)
    items = crowd() * 3
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda item: predictor(*item), items))
    for poses, (pixels, boxes) in zip(got, items):
        np.testing.assert_array_equal(poses.xy, predictor(pixels, boxes).xy)


def test_images_are_taken_in_every_common_form(tmp_path, predictor):
    pixels, boxes, _ = dots((10, 8))
    want = predictor(pixels, boxes)
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    for same in (torch.from_numpy(pixels), channels_first, channels_first / 255, channels_first.double() / 255):
        np.testing.assert_array_equal(predictor(same, boxes).xy, want.xy)
    PIL = pytest.importorskip("PIL.Image")
    np.testing.assert_array_equal(predictor(PIL.fromarray(pixels), boxes).xy, want.xy)
    np.testing.assert_array_equal(predictor(PIL.fromarray(pixels).convert("RGBA"), boxes).xy, want.xy)


def test_16_bits_of_grey_are_scaled_to_8():
    PIL = pytest.importorskip("PIL.Image")
    grey = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4)
    np.testing.assert_array_equal(as_image(PIL.fromarray(grey)), np.stack([grey >> 8] * 3, -1))


def test_many_takes_images_alone(tmp_path, predictor):
    image.write(tmp_path / "one.png", dots((10, 8))[0])
    image.write(tmp_path / "two.png", dots((60, 40))[0])
    files = [tmp_path / "one.png", str(tmp_path / "two.png")]
    for poses, file in zip(predictor.many(files), files, strict=True):
        np.testing.assert_array_equal(poses.xy, predictor(file).xy)


@pytest.mark.parametrize("name", ["cuda:99", "typo", "cuda:x"])
def test_devices_that_are_not_there_are_named(name):
    with pytest.raises(ValueError, match=rf"device '{name}' cannot be used \(.*expected auto, cpu, cuda or cuda:N"):
        Predictor(SPEC, brightness, device=name)


def test_the_network_given_is_left_alone_and_can_be_trained_on():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 4, 4), torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.9))
    net.train()
    predictor = Predictor(SPEC, net)
    pixels, boxes, _ = dots((10, 8))
    before = predictor(pixels, boxes)
    assert net.training
    assert net[1].num_batches_tracked == 0
    torch.nn.init.zeros_(net[0].weight)
    np.testing.assert_array_equal(predictor(pixels, boxes).score, before.score)


def test_files_are_turned_upright_unless_boxes_count_stored_pixels(tmp_path, predictor):
    pixels, boxes, xy = dots((10, 8))
    jpeg = image.encode(pixels, ".jpg", 100)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: turn clockwise
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    np.testing.assert_allclose(predictor(tmp_path / "turned.jpg", boxes, upright=False).xy, xy[:1], atol=2)
    assert predictor(tmp_path / "turned.jpg").boxes.xywh.tolist() == [[0, 0, 90, 120]]
    assert next(predictor.many([(tmp_path / "turned.jpg", None)], upright=False)).boxes.xywh[0, 2] == 120


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"got \[9, 9\] uint8; make a grey image RGB"),
        (np.zeros((9, 9, 1), np.uint8), "make a grey image RGB"),
        (np.zeros((9, 9, 4), np.uint8), r"drop the alpha channel"),
        (np.zeros((9, 9, 3), np.float32), r"got \[9, 9, 3\] float32; scale it to grey levels 0\.\.255"),
        (np.zeros((0, 9, 3), np.uint8), "it is empty"),
        (np.zeros((2, 9, 9, 3), np.uint8), "one by one, channels last"),
        (np.zeros((3, 9, 9), np.uint8), r"put the channels last: np\.moveaxis\(image, 0, -1\)"),
        (torch.full((3, 9, 9), 2.0), "floating point from 0 to 1.*undo its normalisation"),
        (torch.zeros(2, 3, 9, 9), r"several to predictor\.many\(images\)"),
        (None, "got None; did reading it fail"),
        (b"jpeg", r"got builtins\.bytes; decode an encoded file with posewright\.image\.decode"),
        (["a.jpg", "b.jpg"], r"got builtins\.list; .*several to predictor\.many\(images\)"),
    ],
)
def test_arrays_that_are_no_images_are_refused(predictor, array, message):
    with pytest.raises(ValueError, match=message):
        predictor(array)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 2, 0, 5]], r"box 0 is \[1\.0, 2\.0, 0\.0, 5\.0\].*width and height above 0"),
        ([[1, 2, 3, 4], [1, float("nan"), 4, 5]], r"box 1 is \[1\.0, nan"),
        ([1, 2, 3, 4], r"expected xywh \[N, 4\]"),
        ([[1, 2, 3]], r"expected xywh \[N, 4\]"),
        ("boxes.json", r"could not convert string"),
        ([[1, 2, 3, 4], [120, 2, 30, 30]], r"box 1 from caller, \[120.*lies outside the image of 120 x 90 pixels"),
        ([[-30, 2, 30, 30]], "box 0 from caller.*lies outside"),
    ],
)
def test_boxes_that_are_none_are_refused(tmp_path, predictor, boxes, message):
    image.write(tmp_path / "one.png", dots((10, 8))[0])
    with pytest.raises(ValueError, match=r"one\.png: .*" + message):
        predictor(tmp_path / "one.png", boxes)


def test_boxes_may_reach_beyond_the_image(predictor):
    pixels, _, xy = dots((0, 0))
    np.testing.assert_allclose(predictor(pixels, [[-3, -3, 27, 35]]).xy, xy, atol=2)


def test_files_that_are_no_images_are_refused(tmp_path, predictor):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.jpg: not an image"):
        predictor(tmp_path / "text.jpg")
    image.write(tmp_path / "whole.jpg", np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.jpg: the JPEG is cut short"):
        predictor(tmp_path / "cut.jpg")


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="batch must be at least 1 crop, got 0"):
        Predictor(SPEC, brightness, batch=0)


@pytest.mark.parametrize("flip", [False, True])
def test_maps_are_those_that_keypoints_are_decoded_from(flip):
    predictor = Predictor(SPEC, brightness, flip=flip)
    crops = np.random.default_rng(0).integers(0, 255, (3, *SPEC.size, 3), np.uint8)
    xy, score = SPEC.codec.decode(predictor.maps(crops))
    np.testing.assert_allclose(xy, predictor.keypoints(crops)[0])
    np.testing.assert_allclose(score, predictor.keypoints(crops)[1], rtol=1e-6)
