"""LPN: a ResNet of lightweight bottlenecks with global context and a light deconvolution head (Zhang et al., "Simple
and Lightweight Human Pose Estimation", arXiv 1911.10346).
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models._blocks import SqueezeExcitation, check_size, init_normal, init_zero, predictor, upsample
from posewright.models._network import Naming, PoseNetwork
from posewright.models._resnet import ResNet, layout, projection
from posewright.skeletons import COCO17
from posewright.spec import Spec

_PAPER = "Zhang et al., Simple and Lightweight Human Pose Estimation, arXiv 1911.10346"


Attention = Literal["gc", "gc-multiply", "se", "none"]


class GlobalContext(nn.Module):
    """Adds to every pixel, or multiplies it with, what a bottleneck makes of the attention-weighted mean over all.

    Cao et al., "GCNet", arXiv 1904.11492, figure 4 (d); a product's factors go through a sigmoid.
    """

    def __init__(self, channels: int, *, multiply: bool = False) -> None:
        super().__init__()
        hidden = _hidden(channels)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        transform = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )
        self.channel_add_conv = None if multiply else transform
        self.channel_mul_conv = transform if multiply else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w], unchanged in shape."""
        attention = self.conv_mask(x).flatten(2).softmax(2)  # [N, 1, h w]
        context = (x.flatten(2) @ attention.transpose(1, 2)).unsqueeze(3)  # [N, channels, 1, 1]
        if self.channel_mul_conv is not None:
            x = x * torch.sigmoid(self.channel_mul_conv(context))
        return x if self.channel_add_conv is None else x + self.channel_add_conv(context)


def _hidden(channels: int) -> int:
    """Channels inside of an attention."""
    return max(16, channels // 16)


def _attention(kind: Attention, channels: int) -> nn.Module:
    match kind:
        case "gc" | "gc-multiply":
            return GlobalContext(channels, multiply=kind == "gc-multiply")
        case "se":
            return SqueezeExcitation(channels, _hidden(channels))
        case "none":
            return nn.Identity()
    raise ValueError(f"attention: expected {', '.join(get_args(Attention))}, got {kind!r}")


class LightBottleneck(nn.Module):
    """1x1, depthwise 3x3 with the stride, 1x1, an attention, and a shortcut (section 3.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, attention: Attention = "gc") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, groups=outputs, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv3 = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.att = _attention(attention, outputs)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.att(self.bn3(self.conv3(y))) + shortcut)


class LPN(PoseNetwork, ResNet):
    """ResNet's stem, layers of lightweight bottlenecks down to 1/16, light deconvolutions; maps at 1/4.

    Args:
        channels: of the maps.
        depth: 18, 50, 101 or 152: the block counts are those of the ResNet of that depth.
        attention: in every block: global context that is added ("gc") or multiplied ("gc-multiply"),
            squeeze-and-excitation ("se"), or "none".
        deconvolutions: 2, 3 or 4; each doubles the size of the maps, from 1/16 on, so only 2 fit maps at 1/4.
        kernel: of the deconvolutions: 2, 3 or 4.
        final_kernel: of the last convolution: 1 or 3.
        zero_init: the last normalisation of every block starts at 0.
    """

    naming = Naming(  # a layer normalisation too has a gamma and a beta there
        mindspore=((r"(channel_\w+_conv\.1)\.weight$", r"\1.gamma"), (r"(channel_\w+_conv\.1)\.bias$", r"\1.beta"))
    )

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        *,
        attention: Attention = "gc",
        deconvolutions: int = 2,
        kernel: int = 4,
        final_kernel: int = 1,
        zero_init: bool = False,
    ) -> None:
        if deconvolutions not in (2, 3, 4):
            raise ValueError(f"LPN has 2, 3 or 4 deconvolutions (maps at 1/4, 1/2 or 1/1), got {deconvolutions}")
        _, counts, _ = layout(depth)
        block = partial(LightBottleneck, attention=attention)
        super().__init__((block, block, block, block), counts, (64, 128, 256, 512), strides=(1, 2, 2, 1))
        inputs = (512, *[256] * (deconvolutions - 1))
        self.deconv_layers = nn.Sequential(*(layer for n in inputs for layer in _deconvolution(n, kernel)))
        self.final_layer = predictor(256, channels, final_kernel)
        init_normal(self)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4) if zero_init else ():
            init_zero(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: height or width is not a multiple of 16.
        """
        check_size(images, 16)
        return self.final_layer(self.deconv_layers(self.features(images)[3]))


def _deconvolution(inputs: int, kernel: int) -> list[nn.Module]:
    """Group deconvolution to 256 channels of stride 2, then a 1x1 convolution that mixes the groups."""
    return [
        upsample(inputs, 256, kernel, groups=256),
        nn.BatchNorm2d(256),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(inplace=True),
    ]


def _spec(depth: int, size: tuple[int, int] = (256, 192), attention: Attention = "gc") -> Spec:
    """As the official code has it: images in BGR, from which the means of *RGB* are subtracted."""
    variant = "" if attention == "gc" else f"{attention}-" if attention != "none" else "no-attention-"
    return Spec(
        name=f"lpn-{depth}-{variant}{size[0]}x{size[1]}",
        builder=partial(LPN, depth=depth) if attention == "gc" else partial(LPN, depth=depth, attention=attention),
        codec=GaussianHeatmap(size, (size[0] // 4, size[1] // 4), sigma=size[0] / 128, decoding="soft-argmax"),
        skeleton=COCO17,
        size=size,
        colour="bgr",
        paper=_PAPER,
    )


# The smallest is for small data and small machines; it was not published.
# The other attentions are those that the paper compares on LPN-50.
SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _spec(18, (128, 96)),
        *map(_spec, (50, 101, 152)),
        *(_spec(50, attention=kind) for kind in get_args(Attention)[1:]),
    )
}
