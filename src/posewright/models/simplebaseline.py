"""SimpleBaseline: a ResNet and three deconvolutions (Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and
Tracking", ECCV 2018, arXiv 1804.06208).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from posewright.codecs.heatmap import QuarterShift
from posewright.models._blocks import check_size, init_normal, mindspore_name
from posewright.models._resnet import ResNet, layout
from posewright.skeletons import COCO17
from posewright.spec import Spec, Weight

_PAPER = "Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, arXiv 1804.06208"


class SimpleBaseline(ResNet):
    """ResNet, then three 4x4 deconvolutions of 256 channels and a 1x1 convolution (section 2); maps at 1/4.

    Args:
        channels: output channels.
        depth: 18, 34, 50, 101 or 152.
        caffe: stride on the first 1x1 of a bottleneck instead of its 3x3.
        same_pool: pad the stem's pooling at the right and bottom only, as MindSpore's does.
        slim: layers of 48, 96, 160, 256 channels and deconvolutions of 128, 96, 64: a third of the work of the full
            width, for small data and small machines. Not from the paper.
    """

    def __init__(
        self, channels: int, depth: int = 50, *, caffe: bool = False, same_pool: bool = False, slim: bool = False
    ) -> None:
        block, counts, outputs = layout(depth, caffe=caffe)
        outputs = (48, 96, 160, 256) if slim else outputs
        widths = (outputs[3], 128, 96, 64) if slim else (outputs[3], 256, 256, 256)
        super().__init__((block, block, block, block), counts, outputs, same_pool=same_pool)
        layers = [layer for pair in pairwise(widths) for layer in _deconvolution(*pair)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(widths[-1], channels, 1)
        init_normal(self.deconv_layers)
        init_normal(self.final_layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        check_size(images, 32)
        return self.final_layer(self.deconv_layers(self.features(images)[3]))

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps, alone in a tuple."""
        return (self(images),)


def _deconvolution(inputs: int, outputs: int) -> list[nn.Module]:
    deconvolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return [deconvolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def rename(keys: list[str]) -> dict[str, str]:
    """Parameter names of mmpose 0.x and 1.x and of MindSpore's mindpose to ours; official names stay."""
    return {key: _rename(key) for key in keys}


def _rename(key: str) -> str:
    head, _, rest = key.partition(".")
    if head not in ("backbone", "head", "keypoint_head"):
        return key
    return mindspore_name(rest.replace(".down_sample.", ".downsample.").replace("deconv_layer.", "deconv_layers."))


def _codec(size: tuple[int, int]) -> QuarterShift:
    """Sigma 2 on maps of 64x48 and 3 on 96x72 as in the paper; the same share of the map, 1/32 of its height, elsewhere
    (1 on 32x24: so DarkPose trained its 128x96 SimpleBaselines).
    """
    map_size = (size[0] // 4, size[1] // 4)
    return QuarterShift(size, map_size, sigma=map_size[0] / 32)


def _official(depth: int, size: tuple[int, int], style: str = "", weights: tuple[Weight, ...] = ()) -> Spec:
    """As the official code has it: images in BGR, from which the means of *RGB* are subtracted."""
    builder = partial(SimpleBaseline, depth=depth, caffe=style == "caffe-")
    name = f"simplebaseline-r{depth}-{style}{size[0]}x{size[1]}"
    return Spec(name, builder, _codec(size), COCO17, size, colour="bgr", paper=_PAPER, weights=weights)


def _slim(size: tuple[int, int]) -> Spec:
    name = f"simplebaseline-r18-slim-{size[0]}x{size[1]}"
    return Spec(name, partial(SimpleBaseline, depth=18, slim=True), _codec(size), COCO17, size, paper=_PAPER)


def _mmpose(depth: int, size: tuple[int, int], weight: Weight) -> Spec:
    """As mmpose trained it: images in RGB."""
    name = f"simplebaseline-r{depth}-mmpose-{size[0]}x{size[1]}"
    builder = partial(SimpleBaseline, depth=depth)
    return Spec(name, builder, _codec(size), COCO17, size, paper=_PAPER, weights=(weight,))


def _mindpose(depth: int, ap: float) -> Spec:
    """As mindpose trained it: RGB, and a third deviation of 0.255 where ImageNet's is 0.225."""
    size = (256, 192)
    url = f"https://download.mindspore.cn/toolkits/mindpose/simple_baseline/resnet{depth}_256_192.ckpt"
    weight = Weight(f"mp_resnet{depth}_256x192_coco", (url,), "", ap, "det 56.4", "mindspore-lab/mindpose")
    name = f"simplebaseline-r{depth}-mindpose-{size[0]}x{size[1]}"
    builder = partial(SimpleBaseline, depth=depth, same_pool=True)
    std = (58.395, 57.12, 65.025)
    return Spec(name, builder, _codec(size), COCO17, size, std=std, paper=_PAPER, weights=(weight,))


_DRIVE = "https://drive.google.com/drive/folders/13_wJ6nC7my1KKouMkQMqyr9r1ZnLnukP"
_OPENMMLAB = "https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco"
_SMALL, _MIDDLE, _LARGE = (128, 96), (256, 192), (384, 288)

_OFFICIAL_AP = {
    (50, _MIDDLE): 0.704, (50, _LARGE): 0.722,
    (101, _MIDDLE): 0.714, (101, _LARGE): 0.736,
    (152, _MIDDLE): 0.720, (152, _LARGE): 0.743,
}  # fmt: skip

_MMPOSE_FILES = (
    (50, _MIDDLE, 0.718, "td-hm_res50_8xb64-210e_coco-256x192-04af38ce_20220923.pth"),
    (50, _LARGE, 0.731, "td-hm_res50_8xb64-210e_coco-384x288-7b8db90e_20220923.pth"),
    (101, _MIDDLE, 0.728, "td-hm_res101_8xb64-210e_coco-256x192-065d3625_20220926.pth"),
    (152, _MIDDLE, 0.736, "td-hm_res152_8xb32-210e_coco-256x192-0345f330_20220928.pth"),
    (152, _LARGE, 0.750, "td-hm_res152_8xb32-210e_coco-384x288-7fbb906f_20220927.pth"),
)


def _official_weight(depth: int, size: tuple[int, int]) -> tuple[Weight, ...]:
    if (depth, size) not in _OFFICIAL_AP:
        return ()
    name, source = f"sb_r{depth}_{size[0]}x{size[1]}_coco", "microsoft/human-pose-estimation.pytorch"
    return (Weight(name, (_DRIVE,), "", _OFFICIAL_AP[depth, size], "det 56.4", source),)


def _mmpose_weight(depth: int, size: tuple[int, int], ap: float, file: str) -> Weight:
    sha256 = file.split("-")[-1].split("_")[0]
    name = f"mm_resnet_{depth}_{size[0]}x{size[1]}_coco"
    return Weight(name, (f"{_OPENMMLAB}/{file}",), sha256, ap, "det 56.4", "open-mmlab/mmpose")


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        *(_official(depth, size) for depth in (18, 34) for size in (_SMALL, _MIDDLE)),
        *(
            _official(depth, size, "", _official_weight(depth, size))
            for depth in (50, 101, 152)
            for size in (_SMALL, _MIDDLE, _LARGE)
        ),
        *(_slim(size) for size in (_SMALL, (128, 128), _MIDDLE)),
        _official(50, _MIDDLE, "caffe-"),
        *(_mmpose(depth, size, _mmpose_weight(depth, size, ap, file)) for depth, size, ap, file in _MMPOSE_FILES),
        *(_mindpose(depth, ap) for depth, ap in ((50, 0.715), (101, 0.729), (152, 0.734))),
    )
}
