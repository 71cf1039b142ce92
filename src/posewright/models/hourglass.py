"""Stacked hourglass (Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016, arXiv
1603.06937): halve and double the resolution again and again, with a supervised heatmap after each stack.

The layout of the parameters is that of the networks behind CC-SSL (Mu et al., CVPR 2020) and DARK (Zhang et al., CVPR
2020). mmpose's "hourglass52" is CornerNet's network of another structure, whose files do not load here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.models._adaptation import ADDED, AdaptationNetwork, TwoPartNetwork
from posewright.models._blocks import check_size
from posewright.models._network import Naming, from_data_parallel
from posewright.skeletons import COCO17, MPII16, TIGDOG18
from posewright.spec import IMAGENET_MEAN, Spec
from posewright.types import Skeleton

FEATURES = 256
DEPTH = 4


class PreactivatedBottleneck(nn.Module):
    """Pre-activation bottleneck: 1x1 to half of the output channels, 3x3, 1x1; every convolution has a bias.

    Nothing follows the sum, and the shortcut, where it changes channels, is a plain convolution of the raw input.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 2
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None if inputs == outputs else nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h, w]."""
        y = self.conv1(self.relu(self.bn1(x)))
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


def chain(blocks: int) -> nn.Sequential:
    """Bottlenecks of 256 channels."""
    return nn.Sequential(*(PreactivatedBottleneck(FEATURES, FEATURES) for _ in range(blocks)))


class Hourglass(nn.Module):
    """Four nested levels, each around half of the resolution of the one outside of it (figure 3).

    `hg.{n}` holds level n + 1, the innermost first: the side branch, the way in, the way out, and, at the innermost
    level, what stands in the middle.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.hg = nn.ModuleList(nn.ModuleList(chain(blocks) for _ in range(3 if n else 4)) for n in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 256, h, w] to the same shape."""
        return self._level(DEPTH - 1, x)

    def _level(self, n: int, x: Tensor) -> Tensor:
        side, inward, outward, *middle = self.hg[n].children()
        y = inward(F.max_pool2d(x, 2))
        y = self._level(n - 1, y) if n else middle[0](y)
        side = side(x)
        # To the side's size, not by 2: on odd sizes pooling has left out a row or column, as in DARK's at 128x96.
        return side + F.interpolate(outward(y), size=side.shape[-2:], mode="nearest")


class StackedHourglass(TwoPartNetwork):
    """Hourglasses in a row; maps at 1/4.

    Args:
        channels: output channels.
        stacks: how many hourglasses: 1, 2, 4 or 8 in the papers.
        blocks: bottlenecks wherever one may stand.
        adapted: with WS-CDA's adaptation network after the last hourglass; see `_adaptation`.
    """

    naming = Naming(wrap=from_data_parallel, added=ADDED)
    feature_channels = FEATURES

    def __init__(self, channels: int, stacks: int = 4, blocks: int = 1, *, adapted: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(PreactivatedBottleneck(64, 128))
        self.layer2 = nn.Sequential(PreactivatedBottleneck(128, FEATURES))
        self.layer3 = nn.Sequential(PreactivatedBottleneck(FEATURES, FEATURES))
        self.maxpool = nn.MaxPool2d(2)
        self.hg = nn.ModuleList(Hourglass(blocks) for _ in range(stacks))
        self.res = nn.ModuleList(chain(blocks) for _ in range(stacks))
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Conv2d(FEATURES, FEATURES, 1), nn.BatchNorm2d(FEATURES), nn.ReLU(inplace=True))
            for _ in range(stacks)
        )
        self.score = nn.ModuleList(nn.Conv2d(FEATURES, channels, 1) for _ in range(stacks))
        self.fc_ = nn.ModuleList(nn.Conv2d(FEATURES, FEATURES, 1) for _ in range(stacks - 1))
        self.score_ = nn.ModuleList(nn.Conv2d(channels, FEATURES, 1) for _ in range(stacks - 1))

        self.adaptation = AdaptationNetwork(FEATURES) if adapted else None

    def extract(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [N, 3, H, W] to the maps of all stacks but the last, and what the last hourglass yields.

        Raises:
            ValueError: a side is not a multiple of 32, or is below 64.
        """
        check_size(images, 32)  # every level but the innermost must halve exactly
        if min(images.shape[-2:]) < 64:  # and the innermost must leave a pixel
            height, width = images.shape[-2:]
            raise ValueError(f"images: height and width must be multiples of 32 from 64 on; got HxW {height}x{width}")
        x = self.maxpool(self.layer1(self.relu(self.bn1(self.conv1(images)))))
        x = self.layer3(self.layer2(x))
        maps: list[Tensor] = []
        for i, (merge_features, merge_maps) in enumerate(zip(self.fc_, self.score_)):
            y = self.fc[i](self.res[i](self.hg[i](x)))
            maps.append(self.score[i](y))
            x = x + merge_features(y) + merge_maps(maps[-1])
        return (*maps, self.hg[-1](x))

    def estimate(self, extracted: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Every stack's maps [N, channels, H / 4, W / 4], the prediction last."""
        *maps, features = extracted
        return (*maps, self.score[-1](self.fc[-1](self.res[-1](features))))


_PAPER = "Newell et al., Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016, arXiv 1603.06937"
_DARK = "Zhang et al., Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR 2020"
_CCSSL = "Mu et al., Learning from Synthetic Animals (CC-SSL), CVPR 2020, arXiv 1912.08265"


def _people(stacks: int, variant: str = "", skeleton: Skeleton = COCO17) -> Spec:
    """The first paper's: Gaussians of one pixel on maps of 64x64 (section 3.2)."""
    return Spec(
        name=f"hourglass-{stacks}-{variant}256x256",
        builder=partial(StackedHourglass, stacks=stacks),
        codec=GaussianHeatmap((256, 256), (64, 64), sigma=1.0),
        skeleton=skeleton,
        size=(256, 256),
        paper=_PAPER,
    )


def _small(stacks: int) -> Spec:
    """For small data and small machines; not published without DARK."""
    codec = GaussianHeatmap((128, 96), (32, 24), sigma=1.0)
    return replace(_people(stacks), name=f"hourglass-{stacks}-128x96", codec=codec, size=codec.size)


def _adapted(plain: Spec) -> Spec:
    """With WS-CDA's adaptation network (Cao et al., arXiv 1908.05806), for animals learned from people; one stack."""
    height, width = plain.size
    name = plain.name.replace(f"{height}x{width}", f"wscda-{height}x{width}")
    return replace(plain, name=name, builder=partial(StackedHourglass, stacks=1, adapted=True))


def _dark(stacks: int) -> Spec:
    """DARK's: images in BGR, from which the means of *RGB* are subtracted, and at this size too a blur of 11.

    As released, the Gaussians are twice as wide for 8 stacks as for 4.
    """
    return replace(
        _people(stacks),
        name=f"hourglass-{stacks}-dark-128x96",
        codec=DarkHeatmap((128, 96), (32, 24), sigma=2.0 if stacks == 8 else 1.0, blur=11),
        size=(128, 96),
        crop_rule="dark",
        colour="bgr",
        paper=_DARK,
    )


_MEANS = {  # RGB in 0..1, as released
    "real-horse": (0.5319, 0.5107, 0.4206),
    "real-tiger": (0.4248, 0.3866, 0.2593),
    "synthetic-horse": (0.4038, 0.3956, 0.3925),
    "synthetic-tiger": (0.3959, 0.3861, 0.3818),
}
"""Of the images that each of CC-SSL's released networks was trained on, which it subtracts from all others too."""


def _animals(stacks: int, animal: str = "animals") -> Spec:
    """CC-SSL's: the crop is 1.5 times the extent of the labelled points, and images are not divided by a deviation.

    Each released network needs the mean of its own data; "animals", which is for any other, has ImageNet's.
    """
    red, green, blue = _MEANS.get(animal, [m / 255 for m in IMAGENET_MEAN])
    return replace(
        _people(stacks, f"{animal}-", TIGDOG18),
        mean=(255 * red, 255 * green, 255 * blue),
        codec=HourglassHeatmap((256, 256), (64, 64)),
        padding=(1.5, 1.5),
        std=(255.0, 255.0, 255.0),
        paper=_CCSSL,
    )


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _small(1),
        _adapted(_small(1)),
        _adapted(_people(1)),
        *(_people(stacks) for stacks in (1, 2, 4, 8)),
        *(_people(stacks, "mpii-", MPII16) for stacks in (1, 2, 4, 8)),
        *(_dark(stacks) for stacks in (4, 8)),
        *(_animals(4, animal) for animal in ("animals", *_MEANS)),
    )
}
