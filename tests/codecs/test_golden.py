"""Codecs against `tests/golden/codecs.npz`: the published rules, computed one keypoint at a time without our code."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap

_PATH = Path(__file__).resolve().parents[1] / "golden" / "make_codecs.py"
_SPEC = spec_from_file_location("make_codecs", _PATH)
assert _SPEC
assert _SPEC.loader
make_codecs = module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_codecs)

SIZES = ((64, 48), (16, 12))
CODECS = {
    "gaussian": GaussianHeatmap(*SIZES),
    "soft-argmax": GaussianHeatmap(*SIZES, decoding="soft-argmax"),
    "dark": DarkHeatmap(*SIZES),
    "udp": UdpHeatmap(*SIZES),
    "udp-mmpose1": UdpHeatmap(*SIZES, blur=11, toolkit="mmpose1"),
    "udp-offset": UdpOffsetHeatmap(*SIZES),
    "mspn": MultiScaleHeatmap(*SIZES),
    "cpn": CpnMultiScaleHeatmap(*SIZES),
    "mmpose-ladder": MmposeMultiScaleHeatmap(*SIZES),
    "udp-ladder": UdpMultiScaleHeatmap(*SIZES),
    "hourglass": HourglassHeatmap(*SIZES),
}


@pytest.fixture(scope="module")
def golden():
    with np.load(_PATH.with_name("codecs.npz")) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CODECS)
def test_targets_are_those_of_the_published_rule(golden, name):
    codec, (xy, visibility) = CODECS[name], make_codecs.points()
    target, weight = codec.encode(xy[:, None], visibility[:, None])
    np.testing.assert_array_equal(weight[:, 0], golden[f"{name}/weight"])
    wanted = golden[f"{name}/target"]
    np.testing.assert_allclose(target.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-6)
    assert 0 < np.count_nonzero(weight) < len(weight)


@pytest.mark.parametrize("name", CODECS)
def test_keypoints_are_read_by_the_published_rule(golden, name):
    maps = make_codecs.maps_of(name)
    xy, score = CODECS[name].decode(maps.reshape(1, -1, *maps.shape[-2:]))
    wanted = golden[f"{name}/decoded"]
    # The released UDP stretches in float32, and so do we.
    np.testing.assert_allclose(xy[0], wanted[:, :2], atol=1e-3 if name.startswith("udp") else 1e-6)
    np.testing.assert_allclose(score[0], wanted[:, 2], rtol=1e-5)


def test_the_golden_numbers_are_what_their_command_makes(golden):
    encode, decode, _ = make_codecs.RULES["dark"]
    again = [decode(heat) for heat in make_codecs.maps_of("dark")]
    np.testing.assert_allclose(golden["dark/decoded"], again, rtol=1e-9)
    targets = [encode(x, y, v)[0] for (x, y), v in zip(*make_codecs.points())]
    np.testing.assert_allclose(golden["dark/target"], targets, rtol=1e-6)
