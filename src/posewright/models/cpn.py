"""CPN: a feature pyramid that predicts at four levels, and a net that refines them together (Chen et al., "Cascaded
Pyramid Network for Multi-Person Pose Estimation", CVPR 2018, arXiv 1711.07319).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.models._blocks import check_size, conv_bn, init_kaiming
from posewright.models._network import Naming, PoseNetwork, from_data_parallel
from posewright.models._resnet import ResNet, layout
from posewright.skeletons import COCO17
from posewright.spec import Spec

_PAPER = "Chen et al., Cascaded Pyramid Network for Multi-Person Pose Estimation, CVPR 2018, arXiv 1711.07319"

_WIDTH = 256
"""Channels of both nets' features."""


class GlobalNet(nn.Module):
    """Features from coarse to fine, each summed with the one before, and maps from each (section 3.2.1).

    Args:
        inputs: channels of the features, coarse to fine.
        channels: of the maps.
    """

    def __init__(self, inputs: tuple[int, int, int, int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Sequential(*conv_bn(n, _WIDTH), nn.ReLU(inplace=True)) for n in inputs)
        self.upsamples = nn.ModuleList(nn.Sequential(_upsample(2), *conv_bn(_WIDTH, _WIDTH)) for _ in inputs[1:])
        self.predict = nn.ModuleList(_prediction(channels, 2 ** (3 - i)) for i in range(4))
        init_kaiming(self)

    def forward(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """The backbone's features, coarse to fine, to the pyramid's, [N, 256, h, w] each."""
        pyramid = [self.laterals[0](features[0])]
        for feature, lateral, upsample in zip(features[1:], self.laterals[1:], self.upsamples):
            pyramid.append(lateral(feature) + upsample(pyramid[-1]))
        return pyramid


class RefineNet(nn.Module):
    """The pyramid through more bottlenecks the coarser a level is, all at the finest size, to maps (section 3.2.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cascade = nn.ModuleList(
            nn.Sequential(*(ProjectedBottleneck(_WIDTH) for _ in range(3 - i)), _upsample(2 ** (3 - i)))
            for i in range(4)
        )
        self.final_predict = nn.Sequential(ProjectedBottleneck(4 * _WIDTH), *conv_bn(_WIDTH, channels, 3))

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """The pyramid's features, coarse to fine, to maps of the finest's size."""
        return self.final_predict(torch.cat([steps(x) for steps, x in zip(self.cascade, pyramid)], 1))


class ProjectedBottleneck(nn.Module):
    """1x1 to 128 channels, 3x3, 1x1 to 256, and a shortcut that is projected even where shapes agree."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, _WIDTH // 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTH // 2)
        self.conv2 = nn.Conv2d(_WIDTH // 2, _WIDTH // 2, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(_WIDTH // 2)
        self.conv3 = nn.Conv2d(_WIDTH // 2, _WIDTH, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(_WIDTH)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(*conv_bn(inputs, _WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, 256, h, w]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class CPN(PoseNetwork):
    """ResNet, GlobalNet and RefineNet: `resnet`, `global_net`, `refine_net`.

    Args:
        channels: of the maps.
        depth: of the ResNet: 50, 101 or 152 in the paper, or 18.
    """

    naming = Naming(wrap=from_data_parallel)

    def __init__(self, channels: int, depth: Literal[18, 50, 101, 152] = 50) -> None:
        super().__init__()
        block, counts, outputs = layout(depth)
        self.resnet = ResNet((block, block, block, block), counts, outputs)
        self.global_net = GlobalNet((outputs[3], outputs[2], outputs[1], outputs[0]), channels)
        self.refine_net = RefineNet(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to the refined maps [N, channels, H / 4, W / 4].

        The global net's maps are not computed.

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        return self.refine_net(self._pyramid(images))

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """The global net's four maps, coarse to fine, and the refined ones; all of the same size."""
        pyramid = self._pyramid(images)
        coarse = (predict(x) for predict, x in zip(self.global_net.predict, pyramid))
        return (*coarse, self.refine_net(pyramid))

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        check_size(images, 32)
        return self.global_net(self.resnet.features(images)[::-1])


def _upsample(factor: int) -> nn.Upsample:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)


def _prediction(channels: int, factor: int) -> nn.Sequential:
    """The normalisation of the maps comes after they have been enlarged."""
    convolution = nn.Conv2d(_WIDTH, channels, 3, 1, 1, bias=False)
    first = (*conv_bn(_WIDTH, _WIDTH), nn.ReLU(inplace=True))
    return nn.Sequential(*first, convolution, _upsample(factor), nn.BatchNorm2d(channels))


def _coco(depth: Literal[18, 50, 101], codec: CpnMultiScaleHeatmap) -> Spec:
    """As pytorch-cpn has it: RGB less a mean of its own, in units of 255."""
    size = f"{codec.size[0]}x{codec.size[1]}"
    return Spec(
        name=f"cpn-{depth}-{size}",
        builder=partial(CPN, depth=depth),
        codec=codec,
        skeleton=COCO17,
        size=codec.size,
        padding=(1.2, 1.3),
        crop_rule="cpn",
        mean=(122.7717, 115.9465, 102.9801),
        std=(255.0, 255.0, 255.0),
        scoring="all",
        nms=None,
        paper=_PAPER,
    )


_MIDDLE = CpnMultiScaleHeatmap((256, 192), (64, 48))
_LARGE = CpnMultiScaleHeatmap((384, 288), (96, 72), kernels=(23, 17, 13, 9))

# For small data and small machines; not published. The kernels keep their shares of the maps.
_SMALL = CpnMultiScaleHeatmap((128, 96), (32, 24), kernels=(7, 5, 5, 3), blur=11)

SPECS: dict[str, Spec] = {
    spec.name: spec for spec in (_coco(18, _SMALL), _coco(50, _MIDDLE), _coco(50, _LARGE), _coco(101, _LARGE))
}
