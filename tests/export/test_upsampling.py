"""Transposed convolutions as plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from posewright.export.upsampling import PhaseConv, with_plain_convolutions


@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_is_a_plain_one(bias):
    torch.manual_seed(0)
    deconv = nn.ConvTranspose2d(3, 5, 4, 2, 1, bias=bias)
    net = nn.Sequential(nn.Sequential(deconv), nn.ReLU())
    plain = with_plain_convolutions(net)
    images = torch.randn(2, 3, 4, 7)
    torch.testing.assert_close(plain(images), net(images), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in plain.modules())
    assert net[0][0] is deconv  # the one given stays as it is


def test_others_stay():
    net = nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2), nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 4, 4))
    assert not any(isinstance(module, PhaseConv) for module in with_plain_convolutions(net).modules())
