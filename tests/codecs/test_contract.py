"""What every codec promises: round trips and flips with a stated bias, untouched inputs, leading dimensions, errors."""

import importlib
import pkgutil
import sys
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args

import numpy as np
import pytest
import torch

from posewright import codecs
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap
from posewright.losses import objective
from posewright.skeletons import COCO17, MPII16
from posewright.types import CropRule


@dataclass
class Case:
    """A codec and what is to be expected of it, in input pixels.

    error: largest error of a round trip well inside the input, along either axis.
    bias: mean error of the round trip along x and y; None where equal neighbours are told apart by rounding errors.
    flip_bias: mean error along x, beyond that, of the round trip of a mirrored person, mirrored back: the standard
        crop's bridges are one input pixel off their mirror image, as published.
    """

    codec: Any
    error: float
    bias: tuple[float, float] | None = (0.0, 0.0)
    flip_bias: float = 0.0
    shift: bool = False
    per_point: int = 1


SIZES = ((256, 192), (64, 48))
# Labels with their peak on a whole pixel have four equal second maxima around the first.
TIED = None
CASES = {
    "GaussianHeatmap": Case(GaussianHeatmap(*SIZES), 2.0, flip_bias=1, shift=True),
    "GaussianHeatmap-384x288": Case(GaussianHeatmap((384, 288), (96, 72), 3.0), 2.0, flip_bias=1, shift=True),
    "SoftArgmax": Case(GaussianHeatmap(*SIZES, decoding="soft-argmax"), 2.0, flip_bias=1, shift=True),
    "MultiScaleHeatmap": Case(MultiScaleHeatmap(*SIZES), 3.0, TIED, flip_bias=1),
    "CpnMultiScaleHeatmap": Case(CpnMultiScaleHeatmap(*SIZES), 3.0, TIED, flip_bias=1),
    "MmposeMultiScaleHeatmap": Case(MmposeMultiScaleHeatmap(*SIZES), 3.0, TIED, flip_bias=1),
    "HourglassHeatmap": Case(HourglassHeatmap((256, 256), (64, 64)), 2.0, flip_bias=1),
    "DarkHeatmap": Case(DarkHeatmap(*SIZES), 0.002),
    "DarkHeatmap-384x288": Case(DarkHeatmap((384, 288), (96, 72), 3.0, 17), 0.02),
    "DarkHeatmap-standard": Case(DarkHeatmap(*SIZES, crop="standard"), 0.002, flip_bias=1, shift=True),
    "UdpHeatmap": Case(UdpHeatmap(*SIZES), 0.001),
    "UdpHeatmap-mmpose1": Case(UdpHeatmap(*SIZES, blur=11, toolkit="mmpose1"), 0.003),
    "UdpMultiScaleHeatmap": Case(UdpMultiScaleHeatmap(*SIZES), 0.001),
    # The blur of the offsets reaches beyond the disc; read raw, as by mmpose 1.x, they are exact.
    "UdpOffsetHeatmap": Case(UdpOffsetHeatmap(*SIZES), 0.13, bias=(-0.015, -0.015), per_point=3),
    "UdpOffsetHeatmap-raw": Case(UdpOffsetHeatmap(*SIZES, blurs=(23, 1)), 1e-5, per_point=3),
    "OffsetHeatmap": Case(OffsetHeatmap((129, 97), (129, 97), 8.0), 0.51, per_point=3),
}


def found(path=codecs.__path__):
    """All codecs that there are: public frozen dataclasses in the public files of the folder."""
    modules = [f"posewright.codecs.{m.name}" for m in pkgutil.iter_modules(path) if not m.name.startswith("_")]
    return [
        value
        for module in map(importlib.import_module, modules)
        for name, value in vars(module).items()
        if is_dataclass(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]


# A codec that nothing is known of may be off by a map pixel, and is not off its mirror image.
_KNOWN = {type(case.codec) for case in CASES.values()}
CASES |= {
    kind.__name__: Case(kind(*SIZES), 4.0, None, per_point=kind(*SIZES).channels(1))
    for kind in found()
    if kind not in _KNOWN
}


def test_a_new_codec_is_one_file_which_the_contract_finds_and_training_learns(tmp_path, monkeypatch):
    text = "from dataclasses import dataclass\nfrom posewright.codecs.heatmap import GaussianHeatmap\n\n\n"
    text += "@dataclass(frozen=True, slots=True)\nclass ToyHeatmap(GaussianHeatmap):\n    sigma: float = 3.0\n"
    (tmp_path / "toy.py").write_text(text)
    monkeypatch.setattr(codecs, "__path__", [*codecs.__path__, str(tmp_path)])
    toys = [kind for kind in found(codecs.__path__) if kind not in _KNOWN]
    monkeypatch.delitem(sys.modules, "posewright.codecs.toy")
    assert [kind.__name__ for kind in toys] == ["ToyHeatmap"]
    codec = toys[0](*SIZES)
    target, weight = map(torch.from_numpy, codec.encode(points(codec, 2), np.full((2, 17), 2)))
    assert objective(codec, "", COCO17)([torch.zeros_like(target)], target, weight) > 0


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def points(codec, *leading, margin=40):
    height, width = codec.size
    return np.random.default_rng(0).uniform(margin, (width - 1 - margin, height - 1 - margin), (*leading, 17, 2))


def drawn(codec, xy):
    """The maps that a perfect network would yield: the finest label; for discs, logits."""
    target, weight = codec.encode(xy, np.full(xy.shape[:-1], 2))
    assert (weight > 0).all()
    if isinstance(codec, OffsetHeatmap):
        target[..., ::3, :, :] = np.where(target[..., ::3, :, :] > 0, 30, -30)
    return target[..., -1, :, :, :] if target.ndim == xy.ndim + 2 else target


def test_round_trip(case):
    xy = points(case.codec, 20)
    decoded, score = case.codec.decode(drawn(case.codec, xy))
    assert decoded.dtype == score.dtype == np.float64
    assert np.abs(decoded - xy).max() <= case.error
    if case.bias is not None:
        np.testing.assert_allclose((decoded - xy).mean((0, 1)), case.bias, atol=case.error / 10)
    assert (score > 0.2).all()


def mirror_image(xy, codec) -> np.ndarray:
    """The points [..., 17, 2] of the mirrored input."""
    flipped = xy[..., COCO17.flip_index, :]
    return np.stack([codec.size[1] - 1 - flipped[..., 0], flipped[..., 1]], -1)


def test_the_round_trip_of_a_mirrored_person(case):
    xy = points(case.codec, 20)
    mirrored = mirror_image(xy, case.codec)
    back = case.codec.unflip(drawn(case.codec, mirrored), COCO17)
    decoded, _ = case.codec.decode(back)
    own = (case.bias or (0.0, 0.0))[0]
    tolerance = case.error / 8 + (1 if case.bias is None else 0)
    np.testing.assert_allclose((decoded - xy)[..., 0].mean(), own + case.flip_bias, atol=tolerance)


@pytest.mark.parametrize("case", [c for c in CASES.values() if not c.flip_bias], ids=lambda c: repr(c.codec))
def test_without_a_flip_bias_targets_of_mirrored_points_are_mirrored_targets(case):
    xy = points(case.codec, 2, margin=0)
    visibility = np.random.default_rng(1).integers(0, 3, xy.shape[:-1])
    target, weight = case.codec.encode(xy, visibility)
    mirrored = mirror_image(xy, case.codec)
    flipped, flipped_weight = case.codec.encode(mirrored, visibility[:, COCO17.flip_index])
    np.testing.assert_allclose(case.codec.unflip(flipped, COCO17), target, atol=1e-4)
    np.testing.assert_array_equal(flipped_weight[:, COCO17.flip_index], weight)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_unflip_is_its_own_inverse_up_to_the_shift(case, kind):
    maps = np.random.default_rng(2).normal(size=(2, 17 * case.per_point, *case.codec.map_size)).astype(np.float32)
    given = torch.from_numpy(maps.copy()) if kind == "torch" else maps.copy()
    once = case.codec.unflip(given, COCO17)
    twice = case.codec.unflip(once, COCO17)
    assert type(twice) is type(given)
    assert twice.dtype == given.dtype
    np.testing.assert_array_equal(twice[..., 1:], maps[..., 1:])
    # Shifted twice, the first column has left the map on one side and come back as its neighbour.
    np.testing.assert_array_equal(twice[..., 0], maps[..., 1 if case.shift else 0])
    np.testing.assert_array_equal(given, maps)
    sign = np.tile([1, -1, 1], 17)[:, None, None] if case.per_point == 3 else 1
    swapped = maps.reshape(2, 17, case.per_point, *case.codec.map_size)[:, COCO17.flip_index].reshape(maps.shape)
    mirror = swapped[..., ::-1] * sign
    np.testing.assert_array_equal(once[..., 1:], mirror[..., :-1] if case.shift else mirror[..., 1:])
    np.testing.assert_array_equal(once[..., 0], mirror[..., 0])


def test_inputs_are_never_written_into(case):
    xy, visibility = points(case.codec, 2), np.full((2, 17), 2, np.uint8)
    maps = drawn(case.codec, xy)
    for array in (xy, visibility, maps):
        array.flags.writeable = False
    case.codec.encode(xy, visibility)
    case.codec.decode(maps)
    case.codec.unflip(maps, COCO17)


def test_leading_dimensions(case):
    xy, visibility = points(case.codec, 2, 3), np.random.default_rng(3).integers(0, 3, (2, 3, 17))
    target, weight = case.codec.encode(xy, visibility)
    single = case.codec.encode(xy[1, 2], visibility[1, 2])
    np.testing.assert_array_equal(target[1, 2], single[0])
    np.testing.assert_array_equal(weight[1, 2], single[1])
    assert target.dtype == weight.dtype == np.float32
    assert weight.shape == (2, 3, 17)
    maps = drawn(case.codec, xy)
    decoded, score = case.codec.decode(maps)
    one, one_score = case.codec.decode(maps[1, 2])
    np.testing.assert_allclose(decoded[1, 2], one, atol=1e-9)
    np.testing.assert_allclose(score[1, 2], one_score, atol=1e-9)
    none, none_score = case.codec.decode(maps[0, :0])
    assert (none.shape, none_score.shape) == ((0, 17, 2), (0, 17))
    assert case.codec.encode(xy[0, :0], visibility[0, :0])[1].shape == (0, 17)


def test_torch_and_numpy_agree_in_any_layout(case):
    maps = drawn(case.codec, points(case.codec, 2))
    want = case.codec.decode(maps)
    tensor = torch.from_numpy(maps)
    for given in (tensor.requires_grad_(), tensor.detach().to(memory_format=torch.channels_last), maps[..., ::1]):
        for ours, theirs in zip(case.codec.decode(given), want):
            np.testing.assert_array_equal(ours, theirs)
    half = case.codec.decode(tensor.detach().to(torch.bfloat16))
    same = case.codec.decode(tensor.detach().to(torch.bfloat16).float().numpy())
    np.testing.assert_array_equal(half[0], same[0])
    assert case.codec.decode(np.rint(maps).astype(np.int64))[0].dtype == np.float64


def test_unlabelled_keypoints_may_be_anything(case):
    xy, visibility = points(case.codec, 1), np.full((1, 17), 2)
    visibility[0, ::2] = 0
    xy[0, ::2] = np.nan
    target, weight = case.codec.encode(xy, visibility)
    assert np.isfinite(target).all()
    assert not weight[0, ::2].any()
    per_point = np.moveaxis(target, -3, 0).reshape(17, -1)
    assert not per_point[::2].any()
    assert per_point[1::2].any(1).all()


def test_places_far_away_do_not_matter(case):
    xy = np.array([[[1e30, 5.0], [-1e30, 5.0], [5.0, 1e9], [-1e9, -1e9]]])
    target, _ = case.codec.encode(xy, np.full((1, 4), 2))
    assert not target.any()


def test_wrong_arguments_are_refused(case):
    codec, (height, width) = case.codec, case.codec.map_size
    xy = points(codec, 1)
    with pytest.raises(
        ValueError, match=r"xy \[\.\.\., K, 2\] and visibility \[\.\.\., K\], got \(1, 17, 2\) and \(1, 16\)"
    ):
        codec.encode(xy, np.ones((1, 16)))
    with pytest.raises(ValueError, match=r"visibility must be 0, 1 or 2, got \[3\.0\]"):
        codec.encode(xy, np.full((1, 17), 3))
    with pytest.raises(ValueError, match=r"labelled keypoint \[0, 4\] is \[nan, 1\.0\]"):
        codec.encode(np.where(np.arange(17)[:, None] == 4, [np.nan, 1.0], xy), np.ones((1, 17)))
    channels = codec.channels(17)
    with pytest.raises(
        ValueError, match=rf"{height}, {width}\] \(channels, height, width\), got \(1, {channels}, 9, 9\)"
    ):
        codec.decode(np.zeros((1, channels, 9, 9)))
    with pytest.raises(ValueError, match=r"of .* maps hold NaN or infinity"):
        codec.decode(np.full((1, channels, height, width), np.nan, np.float32))
    with pytest.raises(
        ValueError, match=rf"'mpii16' has 16 points, so expected maps \[\.\.\., {codec.channels(16)}, h, w"
    ):
        codec.unflip(np.zeros((1, channels, height, width)), MPII16)
    with pytest.raises(ValueError, match=r"size must be \(height, width\), two whole numbers above 0, got \(0, 48\)"):
        type(codec)(codec.size, (0, 48))


def test_crop_rules_are_known(case):
    assert case.codec.crop_rules
    assert set(case.codec.crop_rules) <= set(get_args(CropRule))
