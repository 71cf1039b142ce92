"""MSPN: up to four stages of a ResNet-50 encoder and a decoder (Li et al., "Rethinking on Multi-Stage Networks for
Human Pose Estimation", arXiv 1901.00148).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from posewright.codecs.ladder import Ladder, MmposeLadder
from posewright.models._multistage import OPTIONAL, MultiStage, Top, Unit, imagenet, rename
from posewright.skeletons import COCO17, MPII16
from posewright.spec import Spec, Weight

__all__ = ["MSPN", "OPTIONAL", "SPECS", "Bottleneck", "imagenet", "rename"]

_PAPER = "Li et al., Rethinking on Multi-Stage Networks for Human Pose Estimation, arXiv 1901.00148"


class Bottleneck(nn.Module):
    """1x1 to a quarter of the output channels, 3x3 with the stride, 1x1, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv_bn_relu1 = Unit(inputs, outputs // 4)
        self.conv_bn_relu2 = Unit(outputs // 4, outputs // 4, 3, stride)
        self.conv_bn_relu3 = Unit(outputs // 4, outputs, relu=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = Unit(inputs, outputs, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv_bn_relu3(self.conv_bn_relu2(self.conv_bn_relu1(x))) + shortcut)


class MSPN(MultiStage):
    """Stages with ResNet-50's layers and decoders of `width` channels.

    Args:
        channels: of the predicted maps.
        stages: 1 to 4 in the paper.
        width: the decoders' channels.
        same_pool: pad the stem's pooling at the right and bottom only, as MindSpore's does.
    """

    def __init__(self, channels: int, stages: int = 2, *, width: int = 256, same_pool: bool = False) -> None:
        super().__init__(
            channels,
            stages=stages,
            block=Bottleneck,
            counts=(3, 4, 6, 3),
            outputs=(256, 512, 1024, 2048),
            top=Top(same_pool=same_pool),
            width=width,
        )


_MEGVII_WEIGHT = Weight(
    "mspn_2stg_256x192_coco",
    ("https://drive.google.com/open?id=1MW27OY_4YetEZ4JiD4PltFGL_1-caECy",),
    sha256="",
    ap=0.745,
    boxes="minival_2014_det",
    source="megvii-research/MSPN",
)

_MINDSPORE_WEIGHT = Weight(
    "ms_mspn_2stg_256x192_coco",
    ("https://download.mindspore.cn/vision/mspn/mspn.ckpt",),
    sha256="",
    ap=0.745,
    boxes="minival_2014_det",
    source="mindspore-courses/applications",
)


def _coco(stages: int, codec: Ladder, weights: tuple[Weight, ...] = ()) -> Spec:
    """As the official code has it: images in BGR, a box widened by 9 % and heightened by 13.5 %."""
    return Spec(
        name=f"mspn-{stages}stg-{codec.size[0]}x{codec.size[1]}",
        builder=partial(MSPN, stages=stages),
        codec=codec,
        skeleton=COCO17,
        size=codec.size,
        padding=(1.09, 1.135),
        colour="bgr",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
        scoring="all",
        nms=None,
        paper=_PAPER,
        weights=weights,
    )


_MIDDLE = Ladder((256, 192), (64, 48))

# The official code has no settings for 384x288; the kernels are those with which CPN goes from 256x192 to it.
_LARGE = Ladder((384, 288), (96, 72), kernels=(23, 17, 13, 9, 7))

_MINDSPORE = replace(
    _coco(2, _MIDDLE),
    name="mspn-2stg-mindspore-256x192",
    builder=partial(MSPN, stages=2, same_pool=True),
    # Its pipeline subtracts means of 0..1 from grey levels of 0..255 and divides by 255 only after that.
    mean=(0.406, 0.456, 0.485),
    std=(57.375, 57.12, 58.395),
    weights=(_MINDSPORE_WEIGHT,),
)

_MPII = replace(
    _coco(2, Ladder((256, 256), (64, 64), blur=9)),
    name="mspn-2stg-mpii-256x256",
    skeleton=MPII16,
    padding=(1.25, 1.25),
)


def _mmpose(stages: int, ap: float, file: str) -> Spec:
    """As mmpose trained it: images in RGB, the usual padding and scores, its own labels and their reading."""
    codec = MmposeLadder((256, 192), (64, 48))
    url = f"https://download.openmmlab.com/mmpose/top_down/mspn/{file}"
    name = f"mm_{f'{stages}x' if stages > 1 else ''}mspn_50_256x192_coco"
    sha256 = file.split("-")[-1].split("_")[0]
    return Spec(
        name=f"mspn-{stages}stg-mmpose-256x192",
        builder=partial(MSPN, stages=stages),
        codec=codec,
        skeleton=COCO17,
        size=codec.size,
        nms=None,
        paper=_PAPER,
        weights=(Weight(name, (url,), sha256, ap, "det 56.4", "open-mmlab/mmpose"),),
    )


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _coco(1, _MIDDLE),
        _coco(2, _MIDDLE, (_MEGVII_WEIGHT,)),
        _coco(3, _MIDDLE),
        _coco(4, _MIDDLE),
        _coco(4, _LARGE),
        _MINDSPORE,
        _MPII,
        _mmpose(1, 0.723, "mspn50_coco_256x192-8fbfb5d0_20201123.pth"),
        _mmpose(2, 0.754, "2xmspn50_coco_256x192-c8765a5c_20201123.pth"),
        _mmpose(3, 0.758, "3xmspn50_coco_256x192-e348f18e_20201123.pth"),
        _mmpose(4, 0.765, "4xmspn50_coco_256x192-7b837afb_20201123.pth"),
    )
}
