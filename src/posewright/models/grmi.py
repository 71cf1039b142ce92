"""G-RMI: a dense ResNet that says for every pixel how near a keypoint is and where it lies (Papandreou et al., "Towards
Accurate Multi-person Pose Estimation in the Wild", CVPR 2017, arXiv 1701.01779).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from posewright.codecs.grmi import OffsetHeatmap
from posewright.models._blocks import check_size, init_normal, resize
from posewright.models._network import PoseNetwork
from posewright.models._resnet import Bottleneck, ResNet, layout
from posewright.skeletons import COCO17
from posewright.spec import Spec

_PAPER = "Papandreou et al., Towards Accurate Multi-person Pose Estimation in the Wild, CVPR 2017, arXiv 1701.01779"

_AUXILIARY_BLOCK = 10
"""Of layer3: after it come 52 of a ResNet-101's convolutions, next to the paper's "intermediate layer 50"."""


class GRMI(PoseNetwork, ResNet):
    """ResNet with atrous convolutions, so that features stay at 1/8, and a 1x1 convolution (section 3.2).

    Layers 3 and 4 have no stride; their 3x3 convolutions are dilated by 2 and 4 instead. The maps are enlarged to the
    input's size. An auxiliary prediction from the middle of layer 3 helps training. No weights were published, so
    names of parameters are torchvision's.

    Args:
        channels: of the maps, three per keypoint.
        depth: 50 or 101, or 18: bottlenecks of fewer channels then.
    """

    def __init__(self, channels: int, depth: Literal[18, 50, 101] = 101) -> None:
        _, counts, outputs = layout(depth)
        atrous = (Bottleneck, Bottleneck, partial(Bottleneck, dilation=2), partial(Bottleneck, dilation=4))
        super().__init__(atrous, counts, outputs, strides=(1, 2, 1, 1))
        self.auxiliary_layer = nn.Conv2d(outputs[2], channels, 1)
        self.final_layer = nn.Conv2d(outputs[3], channels, 1)
        init_normal(self.auxiliary_layer)
        init_normal(self.final_layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H, W].

        Raises:
            ValueError: height or width is not a multiple of 8 plus 1, the sizes at which the features' corner pixels
                are the images'.
        """
        check_size(images, 8, 1)
        return resize(self.final_layer(self.features(images)[3]), images.shape[-2:])

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """The auxiliary maps and the final ones."""
        check_size(images, 8, 1)
        size = images.shape[-2:]
        x = middle = self.stem(images)
        for block in (*self.layer1, *self.layer2):
            x = block(x)
        for i, block in enumerate(self.layer3, 1):
            x = block(x)
            middle = x if i <= _AUXILIARY_BLOCK else middle
        return resize(self.auxiliary_layer(middle), size), resize(self.final_layer(self.layer4(x)), size)


def _spec(depth: Literal[18, 50, 101], size: tuple[int, int] = (353, 257)) -> Spec:
    """The disc's radius keeps its share of the input: the paper's is 25 pixels of 353 rows."""
    return Spec(
        name=f"grmi-r{depth}-{size[0]}x{size[1]}",
        builder=partial(GRMI, depth=depth),
        codec=OffsetHeatmap(size, size, radius=25 * size[0] / 353),
        skeleton=COCO17,
        size=size,
        crop_rule="udp",
        scoring="all",
        paper=_PAPER,
    )


# The smallest is for small data and small machines; only ResNet-101's was published.
SPECS: dict[str, Spec] = {spec.name: spec for spec in (_spec(18, (129, 97)), _spec(50), _spec(101))}
