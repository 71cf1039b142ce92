"""Lite-HRNet (Yu et al., CVPR 2021, arXiv 2104.06403): HRNet's branches built of shuffle blocks.

Four variants: 18 and 30 replace the shuffle block's 1x1 convolutions by conditional channel weighting (section 3.2);
naive 18 and wider naive 18 keep them. Parameter names are those of the official checkpoints.

The networks are bound by memory traffic, not by arithmetic: run them in `torch.channels_last`, where depthwise
convolutions are many times faster on a CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models._blocks import ConvBN, check_size, conv_bn, init_normal, resize
from posewright.models._network import Naming, PoseNetwork, Rules
from posewright.models._shuffle import ChannelWeighting, ShuffleBlock, shuffle
from posewright.skeletons import COCO17, MPII16
from posewright.spec import Spec
from posewright.types import Skeleton

STEM = 32
WIDTHS = (40, 80, 160, 320)
NAIVE_WIDTHS = (30, 60, 120, 240)
TWICE = 1 - (1 - 0.1) ** 2
"""Momentum of one update of running statistics that equals two of 0.1 by the same batch."""


def separable(inputs: int, outputs: int, stride: int, *, relu: bool = True) -> nn.Sequential:
    """Depthwise 3x3 and 1x1 convolutions, each normalised; ReLU, if any, at the end only."""
    depthwise = conv_bn(inputs, inputs, 3, stride, groups=inputs)
    return nn.Sequential(*depthwise, *conv_bn(inputs, outputs), *([nn.ReLU(inplace=True)] if relu else []))


class Stem(nn.Module):
    """Images to 32 channels at 1/4: a strided convolution, then one strided shuffle block."""

    def __init__(self) -> None:
        super().__init__()
        half = STEM // 2
        self.conv1 = ConvBN(3, STEM, 3, 2)
        self.branch1 = nn.Sequential(ConvBN(half, half, 3, 2, groups=half, relu=False), ConvBN(half, half))
        self.expand_conv = ConvBN(half, STEM)
        self.depthwise_conv = ConvBN(STEM, STEM, 3, 2, groups=STEM, relu=False)
        self.linear_conv = ConvBN(STEM, half)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 32, H / 4, W / 4]."""
        p, q = self.conv1(images).chunk(2, 1)
        return shuffle(self.branch1(p), self.linear_conv(self.depthwise_conv(self.expand_conv(q))))


class Branches(nn.ModuleList):
    """One chain of shuffle blocks per branch; the branches do not meet."""

    def __init__(self, channels: tuple[int, ...], blocks: int) -> None:
        super().__init__(nn.Sequential(*(ShuffleBlock(c) for _ in range(blocks))) for c in channels)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Branches [N, C_i, h / 2^i, w / 2^i], each of the same shape as before."""
        return [chain(branch) for chain, branch in zip(self, x)]


class Receive(nn.ModuleList):
    """The sum that branch `target` receives: one path from every branch, brought to its channels and size."""

    def __init__(self, channels: tuple[int, ...], target: int) -> None:
        super().__init__(self._path(channels, source, target) for source in range(len(channels)))
        self.target = target
        if target:
            for m in self[0].modules():  # the official code runs it twice per step; see `LiteHighResolutionModule`
                if isinstance(m, nn.BatchNorm2d):
                    m.momentum = TWICE

    @staticmethod
    def _path(channels: tuple[int, ...], source: int, target: int) -> nn.Module:
        start, end = channels[source], channels[target]
        if source == target:
            return nn.Identity()
        if source > target:
            return nn.Sequential(*conv_bn(start, end), nn.Upsample(scale_factor=2 ** (source - target)))
        steps = [separable(start, start, 2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, separable(start, end, 2, relu=False))

    def forward(self, x: list[Tensor]) -> Tensor:
        """Branches [N, C_i, h / 2^i, w / 2^i] to one of the shape of branch `target`; branch 0 counts twice."""
        total = torch.add(x[self.target], self[0](x[0]), alpha=2) if self.target else x[0] * 2
        for source in range(1, len(x)):
            if source != self.target:
                total += self[source](x[source])
        return total


class LiteHighResolutionModule(nn.Module):
    """Two blocks on every branch, then the branches exchange what they found.

    Published weights need the official code's exchange, which is not HRNet's. It adds in place, into what is branch 0
    itself, so branch 0 counts twice, and the others receive the *sum* for it, also twice. With F_ij the path from
    branch j to branch i:

        s_0 = 2 x_0 + sum over j > 0 of F_0j(x_j)
        s_i = 2 F_i0(s_0) + x_i + sum over other j of F_ij(x_j)

    and the results are ReLU(s_i). The official code gets 2 F_i0(s_0) by evaluating F_i0 twice. Once and doubled is the
    same, and so are the running statistics of its normalisations when one update has momentum 1 - 0.9².
    """

    def __init__(self, channels: tuple[int, ...], *, naive: bool) -> None:
        super().__init__()
        self.layers = Branches(channels, 2) if naive else nn.Sequential(*(ChannelWeighting(channels) for _ in range(2)))
        self.fuse_layers = nn.ModuleList(Receive(channels, i) for i in range(len(channels)))

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Branches [N, C_i, h / 2^i, w / 2^i], each of the same shape as before."""
        x = self.layers(x)
        first, *others = self.fuse_layers
        total = first(x)
        return [F.relu(total), *(F.relu(receive([total, *x[1:]]), inplace=True) for receive in others)]


class Separable(nn.Module):
    """`separable`, under the names of the head."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvBN(inputs, inputs, 3, groups=inputs, relu=False)
        self.pointwise_conv = ConvBN(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h, w]."""
        return self.pointwise_conv(self.depthwise_conv(x))


class IterativeHead(nn.Module):
    """From the lowest resolution up: project to the next branch's channels, resize, add."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        rising = channels[::-1]
        self.projects = nn.ModuleList(Separable(a, b) for a, b in zip(rising, (*rising[1:], rising[-1])))

    def forward(self, x: list[Tensor]) -> Tensor:
        """Branches [N, C_i, h / 2^i, w / 2^i] to [N, C_0, h, w]."""
        y = self.projects[0](x[-1])
        for project, branch in zip(list(self.projects)[1:], x[-2::-1]):
            y = project(branch + resize(y, branch.shape[2:]))
        return y


class Backbone(nn.Module):
    """Stem, three stages of two, three and four branches, iterative head.

    Args:
        widths: channels of the four branches.
        modules: how many modules in each stage.
        naive: shuffle blocks instead of conditional channel weighting.
    """

    def __init__(self, widths: tuple[int, ...], modules: tuple[int, int, int], *, naive: bool) -> None:
        super().__init__()
        self.stem = Stem()
        first = [separable(STEM, widths[0], 1), nn.Sequential(separable(STEM, widths[1], 2))]
        self.transition0 = nn.ModuleList(first)
        self.transition1 = self._transition(widths[:3])
        self.transition2 = self._transition(widths)
        stage = partial(LiteHighResolutionModule, naive=naive)
        self.stage0, self.stage1, self.stage2 = (
            nn.Sequential(*(stage(widths[: n + 2]) for _ in range(count))) for n, count in enumerate(modules)
        )
        self.head_layer = IterativeHead(widths)

    @staticmethod
    def _transition(channels: tuple[int, ...]) -> nn.ModuleList:
        """The newest branch from the one above it; the others pass."""
        passing = [nn.Identity() for _ in channels[:-1]]
        return nn.ModuleList([*passing, nn.Sequential(separable(channels[-2], channels[-1], 2))])

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to features [N, C_0, H / 4, W / 4]."""
        x = [self.stem(images)]
        for grow, stage in (
            (self.transition0, self.stage0),
            (self.transition1, self.stage1),
            (self.transition2, self.stage2),
        ):
            x = stage([path(x[min(i, len(x) - 1)]) for i, path in enumerate(grow)])
        return self.head_layer(x)


_FLAT: Rules = (
    *((rf"\.branch1\.{i}\.{m}\.", f".branch1.{2 * i + n}.") for i in (0, 1) for n, m in enumerate(("conv", "bn"))),
    *(
        (rf"\.branch2\.{i}\.{m}\.", f".branch2.{2 * i + (i > 0) + n}.")
        for i in (0, 1, 2)
        for n, m in enumerate(("conv", "bn"))
    ),
    *(
        (rf"(\.projects\.\d)\.{kind}_conv\.{m}\.", rf"\1.{2 * i + n}.")
        for i, kind in enumerate(("depthwise", "pointwise"))
        for n, m in enumerate(("conv", "bn"))
    ),
    (r"\.conv\.(?=\w+$)", ".0."),
    (r"\.bn\.(?=\w+$)", ".1."),
    (r"^keypoint_head\.", "heat_map."),
)
"""Where MindSpore's network has one flat sequence."""


def _naming(*, naive: bool) -> Naming:
    """MindSpore leaves lists out of names, and puts a piece of their first member's name before the later members'."""
    first = "0.branch2" if naive else "cross_resolution_weighting.conv1"
    return Naming(
        mmpose=((r"^keypoint_head\.", "head."),),
        mindspore=(
            *_FLAT,
            (r"^backbone\.(?:stage|transition)0\.", "0."),
            (r"^backbone\.transition(\d)\.", r"0.0.\1."),
            (r"^backbone\.stage(\d)\.", rf"0.0.layers.0.{first}.\1."),
            (r"^backbone\.", ""),
        ),
        others=(
            ((r"^backbone\.", ""), (r"^keypoint_head\.", "head.")),  # a backbone alone
            (*_FLAT, (r"^backbone\.(stage|transition)(\d)\.", r"\1s.\2."), (r"^backbone\.", "")),
        ),
        wrap=_with_meta,
    )


def _with_meta(state: Mapping[str, Tensor]) -> dict[str, object]:
    return {"meta": {}, "state_dict": dict(state)}


class LiteHRNet(PoseNetwork):
    """Lite-HRNet with its head: images [N, 3, H, W], sides multiples of 32, to heatmaps [N, channels, H / 4, W / 4].

    Args:
        channels: output channels.
        modules: how many modules in each stage: (2, 4, 2) for 18, (3, 8, 3) for 30.
        widths: channels of the four branches.
        naive: shuffle blocks instead of conditional channel weighting.
    """

    def __init__(
        self,
        channels: int,
        modules: tuple[int, int, int] = (2, 4, 2),
        widths: tuple[int, ...] = WIDTHS,
        *,
        naive: bool = False,
    ) -> None:
        super().__init__()
        self.naming = _naming(naive=naive)
        self.backbone = Backbone(widths, modules, naive=naive)
        self.keypoint_head = nn.Sequential(OrderedDict(final_layer=nn.Conv2d(widths[0], channels, 1)))
        init_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to heatmaps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: a side is not a multiple of 32.
        """
        check_size(images, 32)
        return self.keypoint_head(self.backbone(images))


_PAPER = "Yu et al., Lite-HRNet: A Lightweight High-Resolution Network, CVPR 2021, arXiv 2104.06403"

_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "18": LiteHRNet,
    "30": partial(LiteHRNet, modules=(3, 8, 3)),
    "naive-18": partial(LiteHRNet, widths=NAIVE_WIDTHS, naive=True),
    "wider-naive-18": partial(LiteHRNet, naive=True),
}


def _spec(variant: str, size: tuple[int, int], skeleton: Skeleton = COCO17) -> Spec:
    """All three toolkits prepare images and read maps alike, so their weights share specs."""
    name = f"{variant}-{'' if skeleton is COCO17 else 'mpii-'}{size[0]}x{size[1]}"
    # Sigma 2 on maps of 64 rows and 3 on 96. Built on mmpose, which puts what it did not find at (-1, -1).
    codec = GaussianHeatmap(size, (size[0] // 4, size[1] // 4), sigma=size[0] / 128, empty=-1)
    return Spec(f"litehrnet-{name}", _BUILDERS[variant], codec, skeleton, size, paper=_PAPER)


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _spec("naive-18", (128, 96)),  # for small data and small machines; not published
        *(_spec(variant, size) for variant in _BUILDERS for size in ((256, 192), (384, 288))),
        *(_spec(variant, (256, 256), MPII16) for variant in _BUILDERS),
    )
}
