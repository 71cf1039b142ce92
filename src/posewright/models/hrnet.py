"""HRNet: high resolution kept from end to end, beside branches of 1/2, 1/4 and 1/8 of it that exchange what they find
(Sun, Xiao, Liu, Wang, "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019, arXiv
1902.09212). DARK uses the network as it is, UDP with a wider last exchange.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs import Codec
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpOffsetHeatmap
from posewright.models._blocks import check_size, conv_bn, init_normal
from posewright.models._network import HEAD_AND_BACKBONE, Naming, PoseNetwork
from posewright.models._resnet import BasicBlock, Bottleneck, make_layer
from posewright.skeletons import AIC14, ANIMALPOSE20, AP10K17, COCO17, CROWDPOSE14, MPII16
from posewright.spec import IMAGENET_STD, Spec
from posewright.types import Skeleton


def step(inputs: int, outputs: int, stride: int, *, relu: bool = True) -> nn.Sequential:
    """3x3 convolution, normalisation and, unless switched off, ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs, 3, stride), *([nn.ReLU(inplace=True)] if relu else []))


class Receive(nn.ModuleList):
    """What one branch receives: the sum of one path from every branch, brought to its channels and size, rectified.

    Args:
        channels: of the branches.
        target: the branch.
        outputs: channels of the sum where they are not the branch's own. As in UDP's network, the branch's own path is
            then a plain 1x1 convolution without normalisation.
    """

    def __init__(self, channels: tuple[int, ...], target: int, outputs: int | None = None) -> None:
        super().__init__(self._path(channels, source, target, outputs) for source in range(len(channels)))

    @staticmethod
    def _path(channels: tuple[int, ...], source: int, target: int, outputs: int | None) -> nn.Module:
        start, end = channels[source], outputs or channels[target]
        if source == target:
            return nn.Identity() if outputs is None else nn.Sequential(nn.Conv2d(start, end, 1, bias=False))
        if source > target:
            return nn.Sequential(*conv_bn(start, end), nn.Upsample(scale_factor=2 ** (source - target)))
        steps = [step(start, start, 2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, step(start, end, 2, relu=False))

    def forward(self, x: list[Tensor]) -> Tensor:
        """Branches [N, C_i, h / 2^i, w / 2^i] to [N, outputs, h / 2^target, w / 2^target]."""
        total = self[0](x[0]) + self[1](x[1])
        for path, branch in zip(list(self)[2:], x[2:]):
            total += path(branch)
        return F.relu(total, inplace=True)


class HighResolutionModule(nn.Module):
    """Four basic blocks on every branch, then the branches exchange what they found (figure 3).

    Args:
        channels: of the branches.
        finest: yield branch 0 only.
        outputs: its channels where they are not its own.
    """

    def __init__(self, channels: tuple[int, ...], *, finest: bool = False, outputs: int | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(make_layer(BasicBlock, c, c, 4) for c in channels)
        targets = range(1 if finest else len(channels))
        self.fuse_layers = nn.ModuleList(Receive(channels, target, outputs) for target in targets)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Branches [N, C_i, h / 2^i, w / 2^i], each of the same shape as before; with `finest`, only the first."""
        x = [blocks(branch) for blocks, branch in zip(self.branches, x)]
        return [receive(x) for receive in self.fuse_layers]


_STANDARD = Naming(
    mmpose=HEAD_AND_BACKBONE,
    mindspore=(
        (r"^final_layer\.", "head.head."),
        *HEAD_AND_BACKBONE,
        (r"\.downsample\.", ".down_sample."),
    ),
    imagenet=((r"(?!final_layer\.).*", r"\g<0>"),),
)
_WIDENED = replace(_STANDARD, mmpose=None, imagenet=((r"(?!final_layer\.|stage4\.2\.fuse_layers\.).*", r"\g<0>"),))
"""mmpose has no such network, and ImageNet's classifiers no such last exchange."""


class HRNet(PoseNetwork):
    """HRNet with its head; maps at 1/4.

    Args:
        channels: output channels.
        width: channels of the finest branch, 32 or 48; the others have 2, 4 and 8 times as many.
        widened: the last exchange yields four times the width, as in UDP's network.
    """

    def __init__(self, channels: int, width: int = 32, *, widened: bool = False) -> None:
        super().__init__()
        self.naming = _WIDENED if widened else _STANDARD
        widths = (width, 2 * width, 4 * width, 8 * width)
        outputs = 4 * width if widened else None
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = make_layer(Bottleneck, 64, 256, 4)
        self.transition1 = nn.ModuleList([step(256, widths[0], 1), nn.Sequential(step(256, widths[1], 2))])
        self.transition2 = _grow(widths[:3])
        self.transition3 = _grow(widths)
        self.stage2 = nn.Sequential(HighResolutionModule(widths[:2]))
        self.stage3 = nn.Sequential(*(HighResolutionModule(widths[:3]) for _ in range(4)))
        last = HighResolutionModule(widths, finest=True, outputs=outputs)
        self.stage4 = nn.Sequential(HighResolutionModule(widths), HighResolutionModule(widths), last)
        self.final_layer = nn.Conv2d(outputs or width, channels, 1)
        init_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        check_size(images, 32)
        y = self.relu(self.bn1(self.conv1(images)))
        y = self.relu(self.bn2(self.conv2(y)))
        x = [self.layer1(y)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # Branches that do not exist yet grow out of the coarsest that does.
            x = stage([path(x[min(i, len(x) - 1)]) for i, path in enumerate(transition)])
        return self.final_layer(x[0])


def _grow(channels: tuple[int, ...]) -> nn.ModuleList:
    """The newest branch grows out of the one above it; the others pass."""
    passing = [nn.Identity() for _ in channels[:-1]]
    return nn.ModuleList([*passing, nn.Sequential(step(channels[-2], channels[-1], 2))])


_PAPER = "Sun et al., Deep High-Resolution Representation Learning for Human Pose Estimation, CVPR 2019"
_DARK = "Zhang et al., Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR 2020"
_UDP = "Huang et al., The Devil Is in the Details: Delving into Unbiased Data Processing, CVPR 2020"
_SMALL, _MIDDLE, _SQUARE, _LARGE = (128, 96), (256, 192), (256, 256), (384, 288)


def _maps(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], float]:
    """Sizes of input and maps, and the Gaussian's sigma: 1 on maps of 32 rows, 2 on 64, 3 on 96."""
    return size, (size[0] // 4, size[1] // 4), size[0] / 128


def _spec(
    width: int,
    variant: str,
    codec: Codec,
    skeleton: Skeleton = COCO17,
    *,
    widened: bool = False,
    paper: str = _PAPER,
) -> Spec:
    return Spec(
        name=f"hrnet-w{width}-{variant}{codec.size[0]}x{codec.size[1]}",
        builder=partial(HRNet, width=width, widened=widened),
        codec=codec,
        skeleton=skeleton,
        size=codec.size,
        crop_rule=codec.crop_rules[0],
        # mindpose has a third deviation of 0.255 where ImageNet's is 0.225.
        std=(58.395, 57.12, 65.025) if "mindpose" in variant else IMAGENET_STD,
        paper=paper,
    )


def _published(width: int, size: tuple[int, int]) -> tuple[Spec, ...]:
    """As the authors of HRNet and DARK read the maps."""
    dark = DarkHeatmap(*_maps(size), blur=3 if size == _SMALL and width < 48 else 11)
    return _spec(width, "", GaussianHeatmap(*_maps(size))), _spec(width, "dark-", dark, paper=_DARK)


def _udp(width: int, size: tuple[int, int]) -> tuple[Spec, ...]:
    """UDP's own network, with Gaussians or with discs and offsets."""
    return (
        _spec(width, "udp-", UdpHeatmap(*_maps(size)), widened=True, paper=_UDP),
        _spec(width, "udp-offset-", UdpOffsetHeatmap(*_maps(size)[:2]), widened=True, paper=_UDP),
    )


def _mmpose_1(width: int, size: tuple[int, int]) -> tuple[Spec, ...]:
    """As mmpose 1.x reads the maps; for UDP it has the standard network."""
    return (
        _spec(width, "mmpose-", GaussianHeatmap(*_maps(size), empty=-1, separately=True)),
        _spec(width, "dark-mmpose-", DarkHeatmap(*_maps(size), crop="standard", empty=-1), paper=_DARK),
        _spec(width, "udp-mmpose-", UdpHeatmap(*_maps(size), blur=11, toolkit="mmpose1"), paper=_UDP),
    )


def _others(width: int) -> tuple[Spec, ...]:
    """As mindpose, and as mmpose 0.x on other data than COCO, read the maps."""
    square = _maps(_SQUARE)
    return (
        _spec(width, "mindpose-", GaussianHeatmap(*_maps(_MIDDLE))),
        _spec(width, "udp-mindpose-", UdpHeatmap(*_maps(_MIDDLE)), paper=_UDP),
        _spec(width, "mpii-", GaussianHeatmap(*square, empty=-1), MPII16),
        _spec(width, "dark-mpii-", DarkHeatmap(*square, crop="standard", empty=-1), MPII16, paper=_DARK),
        _spec(width, "ap10k-", GaussianHeatmap(*square, empty=-1), AP10K17),
        _spec(width, "animalpose-", GaussianHeatmap(*square, empty=-1), ANIMALPOSE20),
    )


def _small(width: int) -> tuple[Spec, ...]:
    """A sixteenth of the work for small data and small machines, with all that tells the systems apart. Not published.

    UDP's blurs and radius, which were only published for larger maps, keep their shares of them.
    """
    size, maps, sigma = _maps(_SMALL)
    return (
        *_published(width, size),
        _spec(width, "udp-", UdpHeatmap(size, maps, sigma, blur=3), widened=True, paper=_UDP),
        _spec(width, "udp-offset-", UdpOffsetHeatmap(size, maps, 2.0, (7, 3)), widened=True, paper=_UDP),
    )


SPECS: dict[str, Spec] = {
    spec.name: spec
    for specs in (
        _small(8),
        *(_published(width, size) for width in (32, 48) for size in (_SMALL, _MIDDLE, _LARGE)),
        *(make(width, size) for make in (_udp, _mmpose_1) for width in (32, 48) for size in (_MIDDLE, _LARGE)),
        *(_others(width) for width in (32, 48)),
        (
            _spec(32, "crowdpose-", GaussianHeatmap(*_maps(_MIDDLE), empty=-1), CROWDPOSE14),
            _spec(32, "aic-", GaussianHeatmap(*_maps(_MIDDLE), empty=-1), AIC14),
            # mmpose 1.x blurs the class maps only, and leaves the targets' offsets as they are outside of the discs.
            _spec(32, "udp-regress-", UdpOffsetHeatmap(*_maps(_MIDDLE)[:2], 3.5, (23, 1), masked=False), paper=_UDP),
        ),
    )
    for spec in specs
}
