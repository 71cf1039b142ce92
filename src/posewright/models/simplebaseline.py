"""SimpleBaseline: a ResNet and three deconvolutions (Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and
Tracking", ECCV 2018, arXiv 1804.06208).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.udp import UdpHeatmap
from posewright.models._adaptation import ADDED, AdaptationNetwork, TwoPartNetwork
from posewright.models._blocks import check_size, init_normal, init_zero, predictor, upsample
from posewright.models._network import HEAD_AND_BACKBONE, Naming
from posewright.models._resnet import ResNet, layout
from posewright.skeletons import AIC14, ANIMALPOSE20, AP10K17, COCO17, CROWDPOSE14, MPII16
from posewright.spec import Spec
from posewright.types import Skeleton

_PAPER = "Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, arXiv 1804.06208"


class SimpleBaseline(TwoPartNetwork, ResNet):
    """ResNet, then three 4x4 deconvolutions of 256 channels and a 1x1 convolution (section 2); maps at 1/4.

    Args:
        channels: output channels.
        depth: 18, 34, 50, 101 or 152.
        caffe: stride on the first 1x1 of a bottleneck instead of its 3x3.
        same_pool: pad the stem's pooling at the right and bottom only, as MindSpore's does.
        slim: layers of 48, 96, 160, 256 channels and deconvolutions of 128, 96, 64: a third of the work of the full
            width, for small data and small machines. Not from the paper.
        deconvolutions: 2, 3 or 4; each doubles the size of the maps, from 1/32 on, so the codec's maps must agree.
        kernel: of the deconvolutions: 2, 3 or 4.
        final_kernel: of the last convolution: 1 or 3.
        zero_init: the last normalisation of every block starts at 0.
        adapted: with WS-CDA's adaptation network between ResNet and deconvolutions; see `_adaptation`.
    """

    naming = Naming(
        mmpose=HEAD_AND_BACKBONE,
        mindspore=(
            *HEAD_AND_BACKBONE,
            (r"\.downsample\.", ".down_sample."),
            (r"\.deconv_layers\.", ".deconv_layer."),
        ),
        added=ADDED,
    )

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        *,
        caffe: bool = False,
        same_pool: bool = False,
        slim: bool = False,
        deconvolutions: int = 3,
        kernel: int = 4,
        final_kernel: int = 1,
        zero_init: bool = False,
        adapted: bool = False,
    ) -> None:
        if deconvolutions not in (2, 3, 4):
            raise ValueError(
                f"SimpleBaseline has 2, 3 or 4 deconvolutions (maps at 1/8, 1/4 or 1/2), got {deconvolutions}"
            )
        if slim and deconvolutions != 3:
            raise ValueError("the slim network has widths for 3 deconvolutions only")
        block, counts, outputs = layout(depth, caffe=caffe)
        outputs = (48, 96, 160, 256) if slim else outputs
        widths = (outputs[3], *((128, 96, 64) if slim else [256] * deconvolutions))
        super().__init__((block, block, block, block), counts, outputs, same_pool=same_pool)
        layers: list[nn.Module] = []
        for inputs, width in pairwise(widths):
            layers += [upsample(inputs, width, kernel), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = predictor(widths[-1], channels, final_kernel)
        self.feature_channels = outputs[3]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4) if zero_init else ():
            init_zero(layer)
        init_normal(self.deconv_layers)
        init_normal(self.final_layer)
        self.adaptation = AdaptationNetwork(self.feature_channels) if adapted else None

    def extract(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [N, 3, H, W] to the ResNet's features at 1/32.

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        check_size(images, 32)
        return (self.features(images)[3],)

    def estimate(self, extracted: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Features to maps [N, channels, H / 4, W / 4]."""
        return (self.final_layer(self.deconv_layers(extracted[0])),)


_SMALL, _MIDDLE, _SQUARE, _LARGE = (128, 96), (256, 192), (256, 256), (384, 288)


def _name(depth: int, variant: str, size: tuple[int, int]) -> str:
    return f"simplebaseline-r{depth}-{variant}{size[0]}x{size[1]}"


def _maps(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], float]:
    """Sizes of input and maps, and the Gaussian's sigma: 2 on maps of 64x48 and 3 on 96x72 as in the paper.

    Elsewhere it is the same share of the map, 1/32 of its height; so DarkPose trained its 128x96 SimpleBaselines.
    """
    return size, (size[0] // 4, size[1] // 4), size[0] / 128


def _official(depth: int, size: tuple[int, int]) -> Spec:
    """As the official code has it: images in BGR, from which the means of *RGB* are subtracted."""
    return Spec(
        name=_name(depth, "", size),
        builder=partial(SimpleBaseline, depth=depth),
        codec=GaussianHeatmap(*_maps(size)),
        skeleton=COCO17,
        size=size,
        colour="bgr",
        paper=_PAPER,
    )


def _caffe(depth: int, size: tuple[int, int]) -> Spec:
    builder = partial(SimpleBaseline, depth=depth, caffe=True)
    return replace(_official(depth, size), name=_name(depth, "caffe-", size), builder=builder)


def _basic(depth: int, size: tuple[int, int]) -> Spec:
    """Depths that the official code supports but without published weights: in RGB, as ImageNet's ResNets are."""
    return replace(_official(depth, size), colour="rgb")


def _slim(size: tuple[int, int]) -> Spec:
    builder = partial(SimpleBaseline, depth=18, slim=True)
    return replace(_basic(18, size), name=_name(18, "slim-", size), builder=builder)


def _dark(depth: int, size: tuple[int, int]) -> Spec:
    """With DarkPose's coordinates (Zhang et al., arXiv 1910.06278) and its released blurs."""
    codec = DarkHeatmap(*_maps(size), blur=3 if size == _SMALL else 11)
    return replace(_official(depth, size), name=_name(depth, "dark-", size), codec=codec, crop_rule="dark")


def _adapted(plain: Spec, depth: int, *, slim: bool = False) -> Spec:
    """With WS-CDA's adaptation network (Cao et al., arXiv 1908.05806), for animals that are learned from people."""
    height, width = plain.size
    name = plain.name.replace(f"{height}x{width}", f"wscda-{height}x{width}")
    return replace(plain, name=name, builder=partial(SimpleBaseline, depth=depth, slim=slim, adapted=True))


def _slim_dark(size: tuple[int, int]) -> Spec:
    codec = DarkHeatmap(*_maps(size), blur=3)
    return replace(_slim(size), name=_name(18, "slim-dark-", size), codec=codec, crop_rule="dark")


def _udp(depth: int, size: tuple[int, int]) -> Spec:
    """With UDP's coordinates (Huang et al., arXiv 1911.07524)."""
    return replace(
        _official(depth, size), name=_name(depth, "udp-", size), codec=UdpHeatmap(*_maps(size)), crop_rule="udp"
    )


def _mmpose(depth: int, size: tuple[int, int]) -> tuple[Spec, ...]:
    """As mmpose 1.x trained it: images in RGB, and with "dark" DarkPose's Gaussians on the standard crop."""
    plain = replace(_official(depth, size), colour="rgb")
    quarter, dark = (
        GaussianHeatmap(*_maps(size), empty=-1, separately=True),
        DarkHeatmap(*_maps(size), crop="standard", empty=-1),
    )
    return (
        replace(plain, name=_name(depth, "mmpose-", size), codec=quarter),
        replace(plain, name=_name(depth, "dark-mmpose-", size), codec=dark),
    )


def _mmpose_0(depth: int, skeleton: Skeleton, size: tuple[int, int] = _SQUARE) -> Spec:
    """As mmpose 0.x trained it on other data than COCO, with a sigma of 2 at any size."""
    name = _name(depth, f"{skeleton.name.rstrip('0123456789')}-", size)
    codec = GaussianHeatmap(*_maps(size)[:2], empty=-1)
    return replace(_official(depth, size), name=name, codec=codec, skeleton=skeleton, colour="rgb")


def _mindpose(plain: Spec, depth: int) -> Spec:
    """As mindpose trained it: RGB, a third deviation of 0.255 where ImageNet's is 0.225, MindSpore's pooling."""
    return replace(
        plain,
        name=plain.name.replace("256x192", "mindpose-256x192"),
        builder=partial(SimpleBaseline, depth=depth, same_pool=True),
        colour="rgb",
        std=(58.395, 57.12, 65.025),
    )


_DEPTHS = (50, 101, 152)

SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        *(_basic(depth, size) for depth in (18, 34) for size in (_SMALL, _MIDDLE)),
        *(_official(depth, size) for depth in _DEPTHS for size in (_SMALL, _MIDDLE, _LARGE)),
        *(_slim(size) for size in (_SMALL, (128, 128), _MIDDLE)),
        _slim_dark(_SMALL),
        *(_adapted(_slim(size), 18, slim=True) for size in (_SMALL, (128, 128))),
        *(_adapted(plain, 50) for plain in (_basic(50, _MIDDLE), _mmpose_0(50, ANIMALPOSE20))),
        *(_caffe(depth, size) for depth in _DEPTHS for size in (_MIDDLE, _LARGE)),
        *(_dark(depth, size) for depth in _DEPTHS for size in (_SMALL, _MIDDLE, _LARGE)),
        *(_udp(depth, size) for depth in _DEPTHS for size in (_MIDDLE, _LARGE)),
        *(spec for depth in _DEPTHS for size in (_MIDDLE, _LARGE) for spec in _mmpose(depth, size)),
        *(_mmpose_0(depth, skeleton) for depth in _DEPTHS for skeleton in (MPII16, ANIMALPOSE20)),
        *(_mmpose_0(depth, AP10K17) for depth in (50, 101)),
        *(_mmpose_0(depth, CROWDPOSE14, _MIDDLE) for depth in _DEPTHS),
        _mmpose_0(101, CROWDPOSE14, (320, 256)),
        _mmpose_0(101, AIC14, _MIDDLE),
        *(_mindpose(plain(depth, _MIDDLE), depth) for depth in _DEPTHS for plain in (_official, _udp)),
    )
}
