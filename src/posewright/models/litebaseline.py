"""LiteBaseline: SimpleBaseline's deconvolutions on an EfficientNet-Lite0, for small machines. Not from a paper."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs.udp import UdpHeatmap
from posewright.models._adaptation import ADDED, AdaptationNetwork, TwoPartNetwork
from posewright.models._blocks import check_size, init_normal
from posewright.models._efficientnet import CHANNELS, CLASSIFIER, EfficientNetLite0
from posewright.models._network import Naming
from posewright.skeletons import LSP14
from posewright.spec import Spec

_WIDTHS = (96, 80, 64)


class LiteBaseline(TwoPartNetwork, EfficientNetLite0):
    """EfficientNet-Lite0 and three 4x4 deconvolutions, to each of which the trunk's features of its size are added.

    SimpleBaseline (Xiao et al., arXiv 1804.06208) builds its maps from the features at 1/32 alone, which at 160x160 are
    5x5 pixels; the additions (Lin et al., Feature Pyramid Networks, arXiv 1612.03144) bring what is lost there.

    Args:
        channels: of the maps.
        adapted: with WS-CDA's adaptation network after the features at 1/32; see `_adaptation`.
    """

    naming = Naming(imagenet=CLASSIFIER, added=ADDED)
    feature_channels = CHANNELS[3]

    def __init__(self, channels: int, *, adapted: bool = False) -> None:
        super().__init__()
        fine = CHANNELS[2::-1]
        self.deconvs = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise((CHANNELS[3], *_WIDTHS))
        )
        self.laterals = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in zip(fine, _WIDTHS))
        self.norms = nn.ModuleList(map(nn.BatchNorm2d, _WIDTHS))
        self.final_layer = nn.Conv2d(_WIDTHS[-1], channels, 1)
        for part in (self.deconvs, self.laterals, self.final_layer):
            init_normal(part)
        self.adaptation = AdaptationNetwork(self.feature_channels) if adapted else None

    def extract(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [N, 3, H, W] to the trunk's features at 1/4, 1/8, 1/16 and 1/32.

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        check_size(images, 32)
        return self.features(images)

    def estimate(self, extracted: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Features to maps [N, channels, H / 4, W / 4]."""
        *fine, x = extracted
        for deconv, lateral, norm, tap in zip(self.deconvs, self.laterals, self.norms, reversed(fine)):
            x = F.relu(norm(deconv(x) + lateral(tap)))
        return (self.final_layer(x),)


def _spec(size: tuple[int, int], *, adapted: bool = False) -> Spec:
    """Boxes are not padded: people who are larger than in training are found better (PCK@0.2 0.70 against 0.68 with the
    padding of 1.25 that they are trained with), as Touvron et al. saw it in classifiers (FixRes, arXiv 1906.06423).
    """
    maps = (size[0] // 4, size[1] // 4)
    return Spec(
        name=f"litebaseline-{'wscda-' if adapted else ''}{size[0]}x{size[1]}",
        builder=partial(LiteBaseline, adapted=True) if adapted else LiteBaseline,
        codec=UdpHeatmap(size, maps, sigma=1.5 * size[0] / 160),
        skeleton=LSP14,
        size=size,
        padding=(1.0, 1.0),
        crop_rule="udp",
        mean=(127, 127, 127),
        std=(128, 128, 128),
        paper="SimpleBaseline's head (Xiao et al., arXiv 1804.06208) on EfficientNet-Lite0 (Tan & Le, 1905.11946)",
    )


SPECS: dict[str, Spec] = {
    spec.name: spec for size in ((128, 96), (160, 160), (192, 192)) for spec in (_spec(size), _spec(size, adapted=True))
}
