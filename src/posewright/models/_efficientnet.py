"""EfficientNet-Lite0: inverted bottlenecks without squeeze-and-excitation, with ReLU6 (Tan & Le, arXiv 1905.11946,
table 1; the Lite variants: github.com/tensorflow/tpu, models/official/efficientnet/lite).
"""

from __future__ import annotations

from torch import Tensor, nn

from posewright.models._blocks import init_kaiming
from posewright.models._network import Rules

_STAGES = ((1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2), (3, 112, 6, 5, 1),
           (4, 192, 6, 5, 2), (1, 320, 6, 3, 1))  # fmt: skip
"""Blocks, output channels, expansion, kernel and stride of the first block."""

_TAPS = (2, 4, 10, 15)
"""The last blocks at 1/4, 1/8, 1/16 and 1/32."""

CHANNELS = (24, 40, 112, 320)
"""Channels of what `features` returns."""


def _layer(conv: nn.Conv2d, *, activated: bool = True) -> nn.Sequential:
    norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3, momentum=0.01)
    return nn.Sequential(conv, norm, *([nn.ReLU6(inplace=True)] if activated else []))


class InvertedBottleneck(nn.Module):
    """1x1 to more channels, depthwise with the stride, 1x1 to the output channels, and a shortcut where shapes allow
    (Sandler et al., MobileNetV2, arXiv 1801.04381, section 3.3).
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _layer(nn.Conv2d(inputs, hidden, 1, bias=False)) if expansion > 1 else nn.Identity()
        self.depthwise = _layer(nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False))
        self.project = _layer(nn.Conv2d(hidden, outputs, 1, bias=False), activated=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """Stem and 16 blocks: `stem` and `blocks`; the classifier's last convolution is left out.

    Convolutions of stride 2 are padded on all sides, where TensorFlow pads right and bottom only: with its weights this
    network sees a shifted image, and differs in nothing but the borders.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _layer(nn.Conv2d(3, 32, 3, 2, 1, bias=False))
        blocks, inputs = [], 32
        for count, outputs, expansion, kernel, stride in _STAGES:
            for i in range(count):
                blocks.append(InvertedBottleneck(inputs, outputs, expansion, kernel, 1 if i else stride))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        init_kaiming(self)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images [N, 3, H, W] to `CHANNELS` at 1/4, 1/8, 1/16 and 1/32."""
        x, taps = self.stem(images), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in _TAPS:
                taps.append(x)
        return taps[0], taps[1], taps[2], taps[3]


_PARTS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}

CLASSIFIER: Rules = (
    (r"stem\.0\.(.+)", r"_conv_stem.\1"),
    (r"stem\.1\.(.+)", r"_bn0.\1"),
    *(
        (rf"blocks\.(\d+)\.{part}\.{i}\.(.+)", rf"_blocks.\1.{name}.\2")
        for part, names in _PARTS.items()
        for i, name in enumerate(names)
    ),
)
"""From our names to those in the published PyTorch classifiers."""
