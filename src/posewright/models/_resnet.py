"""ResNet (He et al., arXiv 1512.03385): the blocks and the body that many families are built on.

Parameter names are torchvision's, which the official pose checkpoints share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from posewright.models._blocks import conv_bn, init_kaiming, stem_pool

Block = Callable[[int, int, int], nn.Module]
"""Makes a residual block from (input channels, output channels, stride)."""


Counts = tuple[int, int, int, int]
"""A number for each of the four layers."""


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """1x1 convolution and normalisation for a shortcut whose shape changes; None where it does not."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(*conv_bn(inputs, outputs, 1, stride))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class Bottleneck(nn.Module):
    """1x1 to a quarter of the output channels, 3x3, 1x1, and a shortcut.

    The 3x3 carries the stride; in Caffe's style (`caffe`) the first 1x1 does. Shapes of parameters are the same in
    both, so a checkpoint does not tell which it is of.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1, *, caffe: bool = False) -> None:
        super().__init__()
        width = outputs // 4
        first, second = (stride, 1) if caffe else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)


def make_layer(block: Block, inputs: int, outputs: int, count: int, stride: int = 1) -> nn.Sequential:
    """`count` blocks, the first of which changes channels and size."""
    first = block(inputs, outputs, stride)
    return nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(count - 1)))


class ResNet(nn.Module):
    """Stem and four layers: `conv1`, `bn1`, `layer1` .. `layer4`.

    Args:
        blocks: makes each layer's residual blocks.
        counts: how many blocks in each layer.
        outputs: each layer's output channels.
        strides: each layer's stride; the stem has reduced the size to 1/4 before.
        same_pool: see `stem_pool`.
    """

    def __init__(
        self,
        blocks: tuple[Block, Block, Block, Block],
        counts: Counts,
        outputs: Counts,
        strides: Counts = (1, 2, 2, 2),
        *,
        same_pool: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = stem_pool(same=same_pool)
        self.layer1 = make_layer(blocks[0], 64, outputs[0], counts[0], strides[0])
        self.layer2 = make_layer(blocks[1], outputs[0], outputs[1], counts[1], strides[1])
        self.layer3 = make_layer(blocks[2], outputs[1], outputs[2], counts[2], strides[2])
        self.layer4 = make_layer(blocks[3], outputs[2], outputs[3], counts[3], strides[3])
        init_kaiming(self)

    def stem(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to [N, 64, H / 4, W / 4], what layer1 reads."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four layers' outputs for images [N, 3, H, W], finest first: at 1/4, 1/8, 1/16 and 1/32 by default."""
        x1 = self.layer1(self.stem(images))
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        return x1, x2, x3, self.layer4(x3)


_COUNTS: dict[int, Counts] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def layout(depth: int, *, caffe: bool = False) -> tuple[Block, Counts, Counts]:
    """Block, block counts and output channels of the ResNet of that depth (18, 34, 50, 101 or 152).

    Raises:
        ValueError: another depth, or Caffe's style for one of the depths that have no bottlenecks.
    """
    if depth not in _COUNTS:
        raise ValueError(f"ResNets have {', '.join(map(str, _COUNTS))} layers, got {depth}")
    if depth >= 50:
        return (partial(Bottleneck, caffe=True) if caffe else Bottleneck), _COUNTS[depth], (256, 512, 1024, 2048)
    if caffe:
        raise ValueError(f"Caffe's stride style applies to bottlenecks, and ResNet-{depth} has only basic blocks")
    return BasicBlock, _COUNTS[depth], (64, 128, 256, 512)
