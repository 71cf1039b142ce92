"""LPN: a ResNet of lightweight bottlenecks with global context and a light deconvolution head (Zhang et al., "Simple
and Lightweight Human Pose Estimation", arXiv 1911.10346).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models._blocks import check_size, init_normal
from posewright.models._network import Naming, PoseNetwork
from posewright.models._resnet import ResNet, layout, projection
from posewright.skeletons import COCO17
from posewright.spec import Spec

_PAPER = "Zhang et al., Simple and Lightweight Human Pose Estimation, arXiv 1911.10346"


class GlobalContext(nn.Module):
    """Adds to every pixel what a bottleneck makes of the attention-weighted mean over all pixels.

    Cao et al., "GCNet", arXiv 1904.11492, figure 4 (d).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(16, channels // 16)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w], unchanged in shape."""
        attention = self.conv_mask(x).flatten(2).softmax(2)  # [N, 1, h w]
        context = x.flatten(2) @ attention.transpose(1, 2)  # [N, channels, 1]
        return x + self.channel_add_conv(context.unsqueeze(3))


class LightBottleneck(nn.Module):
    """1x1, depthwise 3x3 with the stride, 1x1, global context, and a shortcut (section 3.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, groups=outputs, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv3 = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.att = GlobalContext(outputs)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.att(self.bn3(self.conv3(y))) + shortcut)


class LPN(PoseNetwork, ResNet):
    """ResNet's stem, layers of lightweight bottlenecks down to 1/16, two light deconvolutions; maps at 1/4.

    Args:
        channels: of the maps.
        depth: 18, 50, 101 or 152: the block counts are those of the ResNet of that depth.
    """

    naming = Naming(  # a layer normalisation too has a gamma and a beta there
        mindspore=((r"(channel_\w+_conv\.1)\.weight$", r"\1.gamma"), (r"(channel_\w+_conv\.1)\.bias$", r"\1.beta"))
    )

    def __init__(self, channels: int, depth: int = 50) -> None:
        _, counts, _ = layout(depth)
        blocks = (LightBottleneck, LightBottleneck, LightBottleneck, LightBottleneck)
        super().__init__(blocks, counts, (64, 128, 256, 512), strides=(1, 2, 2, 1))
        self.deconv_layers = nn.Sequential(*_deconvolution(512), *_deconvolution(256))
        self.final_layer = nn.Conv2d(256, channels, 1)
        init_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: height or width is not a multiple of 16.
        """
        check_size(images, 16)
        return self.final_layer(self.deconv_layers(self.features(images)[3]))


def _deconvolution(inputs: int) -> list[nn.Module]:
    """Group deconvolution to 256 channels of stride 2, then a 1x1 convolution that mixes the groups."""
    return [
        nn.ConvTranspose2d(inputs, 256, 4, 2, 1, groups=256, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(inplace=True),
    ]


def _spec(depth: int, size: tuple[int, int] = (256, 192)) -> Spec:
    """As the official code has it: images in BGR, from which the means of *RGB* are subtracted."""
    return Spec(
        name=f"lpn-{depth}-{size[0]}x{size[1]}",
        builder=partial(LPN, depth=depth),
        codec=GaussianHeatmap(size, (size[0] // 4, size[1] // 4), sigma=size[0] / 128, decoding="soft-argmax"),
        skeleton=COCO17,
        size=size,
        colour="bgr",
        paper=_PAPER,
    )


# The smallest is for small data and small machines; it was not published.
SPECS: dict[str, Spec] = {spec.name: spec for spec in (_spec(18, (128, 96)), *map(_spec, (50, 101, 152)))}
