"""MSPN: up to four stages of a ResNet-50 encoder and a decoder (Li et al., "Rethinking on Multi-Stage Networks for
Human Pose Estimation", arXiv 1901.00148).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from posewright.codecs.multiscale import MultiScaleHeatmap
from posewright.models._blocks import init_zero
from posewright.models._multistage import (
    IMAGENET,
    MultiStage,
    Top,
    Unit,
    mmpose_spec,
    naming,
    official_spec,
    projection,
)
from posewright.skeletons import MPII16
from posewright.spec import Spec

_PAPER = "Li et al., Rethinking on Multi-Stage Networks for Human Pose Estimation, arXiv 1901.00148"


class UnitBottleneck(nn.Module):
    """1x1 to a quarter of the output channels, 3x3 with the stride, 1x1, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv_bn_relu1 = Unit(inputs, outputs // 4)
        self.conv_bn_relu2 = Unit(outputs // 4, outputs // 4, 3, stride)
        self.conv_bn_relu3 = Unit(outputs // 4, outputs, relu=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv_bn_relu3(self.conv_bn_relu2(self.conv_bn_relu1(x))) + shortcut)


class MSPN(MultiStage):
    """Stages with ResNet-50's layers and decoders of `width` channels.

    Args:
        channels: of the predicted maps.
        stages: 1 to 4 in the paper.
        width: the decoders' channels (`upsample_channel_num` in the published configurations).
        same_pool: pad the stem's pooling at the right and bottom only, as MindSpore's does.
        slim: ResNet-18's counts and a quarter of the channels, for small data and small machines. Not from the paper.
        zero_init: the last normalisation of every residual block starts at 0.
    """

    naming = replace(
        naming("mspn", ((r"(layer\d\.\d+)\.conv_bn_relu(\d)\.(conv|bn)\.", r"\1.\3\2."),)), imagenet=IMAGENET
    )

    def __init__(
        self,
        channels: int,
        stages: int = 2,
        *,
        width: int = 256,
        same_pool: bool = False,
        slim: bool = False,
        zero_init: bool = False,
    ) -> None:
        super().__init__(
            channels,
            stages=stages,
            block=UnitBottleneck,
            counts=(2, 2, 2, 2) if slim else (3, 4, 6, 3),
            outputs=(64, 128, 256, 512) if slim else (256, 512, 1024, 2048),
            top=Top(same_pool=same_pool),
            width=width,
        )
        for stage in self.stages if zero_init else ():
            for layer in stage.downsample.children():
                init_zero(layer)


def _coco(stages: int, codec: MultiScaleHeatmap) -> Spec:
    return official_spec(f"mspn-{stages}stg", partial(MSPN, stages=stages), codec, _PAPER)


_MIDDLE = MultiScaleHeatmap((256, 192), (64, 48))

# The official code has no settings for 384x288; the kernels are those with which CPN goes from 256x192 to it.
_LARGE = MultiScaleHeatmap((384, 288), (96, 72), kernels=(23, 17, 13, 9, 7))

_SLIM = replace(
    # The kernels keep their shares of the maps.
    _coco(2, MultiScaleHeatmap((128, 96), (32, 24), kernels=(7, 5, 5, 3, 3), blur=3)),
    name="mspn-2stg-slim-128x96",
    builder=partial(MSPN, stages=2, width=64, slim=True),
)


def _mindspore(stages: int) -> Spec:
    """As the MindSpore project trained two stages; its setting of stages goes from 1 to 4."""
    return replace(
        _coco(stages, _MIDDLE),
        name=f"mspn-{stages}stg-mindspore-256x192",
        builder=partial(MSPN, stages=stages, same_pool=True),
        # Its pipeline subtracts means of 0..1 from grey levels of 0..255 and divides by 255 only after that.
        mean=(0.406, 0.456, 0.485),
        std=(57.375, 57.12, 58.395),
    )


_MPII = replace(
    _coco(2, MultiScaleHeatmap((256, 256), (64, 64), blur=9)),
    name="mspn-2stg-mpii-256x256",
    skeleton=MPII16,
    padding=(1.25, 1.25),
)


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        *(_coco(stages, _MIDDLE) for stages in (1, 2, 3, 4)),
        _coco(4, _LARGE),
        _SLIM,
        *map(_mindspore, (1, 2, 3, 4)),
        _MPII,
        *(mmpose_spec(f"mspn-{n}stg", partial(MSPN, stages=n), _PAPER) for n in (1, 2, 3, 4)),
    )
}
