"""Transposed convolutions as plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from posewright.models import find
from posewright.runtime.upsampling import Interleave, PhaseConv, with_plain_convolutions


@pytest.mark.parametrize(("outputs", "groups", "wide"), [(9, 1, False), (9, 3, False), (3, 3, False), (9, 1, True)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_is_a_plain_one(bias, outputs, groups, wide):
    torch.manual_seed(0)
    deconv = nn.ConvTranspose2d(6, outputs, 4, 2, 1, bias=bias, groups=groups)
    net: Any = nn.Sequential(nn.Sequential(deconv), nn.ReLU())
    plain = with_plain_convolutions(net, wide=wide)
    images = torch.randn(2, 6, 4, 7)
    torch.testing.assert_close(plain(images), net(images), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in plain.modules())
    assert net[0][0] is deconv  # the one given stays as it is


@pytest.mark.parametrize("name", ["simplebaseline-r18-slim-128x96", "lpn-50-256x192"])
def test_a_head_interleaves_its_last_phases_at_its_end(name):
    torch.manual_seed(0)
    spec = find(name)
    net = spec.build().eval()
    plain: Any = with_plain_convolutions(net)
    assert isinstance(plain.final_layer[-1], Interleave)
    assert sum(isinstance(module, PhaseConv) for module in plain.modules()) > 1
    images = torch.randn(1, 3, *spec.size)
    with torch.no_grad():
        want = net(images)
        torch.testing.assert_close(plain(images), want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_a_head_that_looks_at_neighbours_interleaves_before():
    net = nn.Module()
    net.deconv_layers = nn.Sequential(nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.ReLU())
    net.final_layer = nn.Conv2d(4, 2, 3, padding=1)
    plain: Any = with_plain_convolutions(net)
    assert isinstance(plain.final_layer, nn.Conv2d)
    assert isinstance(plain.deconv_layers[0][-1], Interleave)


def test_others_stay():
    net = nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 4, 2, 0), nn.Conv2d(4, 4, 4))
    assert not any(isinstance(module, PhaseConv) for module in with_plain_convolutions(net).modules())
    grouped: Any = nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2))
    kept: Any = with_plain_convolutions(grouped, wide=True)
    assert isinstance(kept[0], nn.ConvTranspose2d)
