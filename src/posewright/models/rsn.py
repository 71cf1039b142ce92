"""RSN: MSPN's stages with residual steps blocks (Cai et al., "Learning Delicate Local Representations for Multi-Person
Pose Estimation", ECCV 2020, arXiv 2003.04030).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from posewright.codecs.multiscale import MultiScaleHeatmap
from posewright.codecs.udp import UdpMultiScaleHeatmap
from posewright.models._blocks import SqueezeExcitation
from posewright.models._multistage import MultiStage, Top, Unit, mmpose_spec, naming, official_spec, projection
from posewright.models._resnet import layout
from posewright.spec import Spec

_PAPER = "Cai et al., Learning Delicate Local Representations for Multi-Person Pose Estimation, arXiv 2003.04030"

_BRANCHES = 4


class StepsBlock(nn.Module):
    """Residual steps block (section 3.1): of four slices, slice i goes through i 3x3 convolutions.

    Each of them reads the one before and, where there is one, the convolution of the same step on the slice before.

    Args:
        inputs: channels that come.
        outputs: channels that go.
        stride: of the first 1x1 and the shortcut.
        width: channels of a slice. By default `inputs * 26 // 64` as in the official code, so the first block of a
            layer that doubles its channels is half as wide inside as the others.
        attention: rescales the block's own channels before the shortcut is added, or None.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        *,
        width: int | None = None,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width = inputs * 26 // 64 if width is None else width
        self.conv_bn_relu1 = Unit(inputs, _BRANCHES * width, 1, stride)
        for i in range(1, _BRANCHES + 1):
            for j in range(1, i + 1):
                self.add_module(f"conv_bn_relu2_{i}_{j}", Unit(width, width, 3))
        self.conv_bn_relu3 = Unit(_BRANCHES * width, outputs, relu=False)
        self.se = attention
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        ends, above = [], []
        for i, step in enumerate(self.conv_bn_relu1(x).chunk(_BRANCHES, 1), 1):
            row: list[Tensor] = []
            for j in range(1, i + 1):
                step = step + above[j - 1] if j < i else step
                step = getattr(self, f"conv_bn_relu2_{i}_{j}")(step)
                row.append(step)
            ends.append(step)
            above = row
        y = self.conv_bn_relu3(torch.cat(ends, 1))
        return self.relu((y if self.se is None else self.se(y)) + shortcut)


class PRM(nn.Module):
    """Pose refine machine (section 3.3): features reweighted by a channel and a spatial attention.

    As in the official code a ReLU comes before each sigmoid, so both attentions lie in [0.5, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_bn_relu_prm_1 = Unit(channels, channels, 3)
        self.conv_bn_relu_prm_2_1 = Unit(channels, channels)
        self.conv_bn_relu_prm_2_2 = Unit(channels, channels)
        self.conv_bn_relu_prm_3_1 = Unit(channels, channels)
        self.conv_bn_relu_prm_3_2 = Unit(channels, channels, 9, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w], unchanged in shape."""
        x = self.conv_bn_relu_prm_1(x)
        channel = self.conv_bn_relu_prm_2_2(self.conv_bn_relu_prm_2_1(x.mean((2, 3), keepdim=True))).sigmoid()
        spatial = self.conv_bn_relu_prm_3_2(self.conv_bn_relu_prm_3_1(x)).sigmoid()
        return x * (1 + channel * spatial)


class RSN(MultiStage):
    """Stages with residual steps blocks and decoders of `width` channels.

    Args:
        channels: of the predicted maps.
        depth: 18 or 50: the block counts are those of the ResNet of that depth.
        stages: 1 to 4 in the paper.
        width: the decoders' channels.
    """

    naming = naming("rsn", ((r"(layer\d\.\d+)\.conv_bn_relu3\.", r"\1.conv_bn3."),))

    def __init__(self, channels: int, depth: Literal[18, 50] = 18, *, stages: int = 1, width: int = 256) -> None:
        super().__init__(
            channels,
            stages=stages,
            block=StepsBlock,
            counts=layout(depth)[1],
            outputs=(64, 128, 256, 512),
            top=Top(),
            width=width,
        )


class RSNUdp(MultiStage):
    """UDP-Pose's RSN-18 of one stage (Huang et al., arXiv 1911.07524, supplement).

    Three convolutions instead of a pooled one at the top, squeeze-excitation in blocks that are as wide inside as their
    outputs say, and a pose refine machine on the finest result.

    Args:
        channels: of the predicted maps.
        width: the decoder's channels.
    """

    naming = replace(RSN.naming, mmpose=None)

    def __init__(self, channels: int, *, width: int = 256) -> None:
        super().__init__(
            channels,
            stages=1,
            block=_excited,
            counts=layout(18)[1],
            outputs=(64, 128, 256, 512),
            top=_ConvolutionTop(),
            width=width,
            prm=PRM(width),
        )


class _ConvolutionTop(nn.Module):
    """3x3 of stride 2, 7x7, 3x3 of stride 2: 64 channels at 1/4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(Unit(3, 64, 3, 2), Unit(64, 64, 7), Unit(64, 64, 3, 2))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 64, H / 4, W / 4]."""
        return self.conv(images)


def _excited(inputs: int, outputs: int, stride: int) -> StepsBlock:
    return StepsBlock(
        inputs, outputs, stride, width=outputs * 26 // 64, attention=SqueezeExcitation(outputs, outputs // 8)
    )


def _named(depth: int, stages: int) -> str:
    return f"rsn-{depth}-{stages}stg" if stages > 1 else f"rsn-{depth}"


def _coco(depth: Literal[18, 50], stages: int) -> Spec:
    codec = MultiScaleHeatmap((256, 192), (64, 48))
    return official_spec(_named(depth, stages), partial(RSN, depth=depth, stages=stages), codec, _PAPER)


def _mmpose(depth: Literal[18, 50], stages: int) -> Spec:
    return mmpose_spec(_named(depth, stages), partial(RSN, depth=depth, stages=stages), _PAPER)


_UDP = replace(
    _coco(18, 1),
    name="rsn-18-udp-256x192",
    builder=RSNUdp,
    codec=UdpMultiScaleHeatmap((256, 192), (64, 48)),
    crop_rule="udp",
    paper="Huang et al., The Devil is in the Details: Delving into Unbiased Data Processing, arXiv 1911.07524",
)

_SLIM = replace(
    _coco(18, 1),
    name="rsn-18-slim-128x96",  # for small data and small machines; not published
    builder=partial(RSN, depth=18, width=64),
    codec=MultiScaleHeatmap((128, 96), (32, 24), kernels=(7, 5, 5, 3, 3), blur=3),
    size=(128, 96),
)

_DEPTHS: tuple[Literal[18, 50], ...] = (18, 50)

SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        *(_coco(depth, stages) for depth in _DEPTHS for stages in (1, 2, 3, 4)),
        _SLIM,
        _UDP,
        _mmpose(18, 1),
        *(_mmpose(50, stages) for stages in (1, 2, 3)),
    )
}
