"""LiteBaseline: SimpleBaseline's deconvolutions on an EfficientNet-Lite0, for small machines. Not from a paper."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs.udp import UdpHeatmap
from posewright.models._blocks import check_size, init_normal
from posewright.models._efficientnet import CHANNELS, CLASSIFIER, EfficientNetLite0
from posewright.models._network import Naming, PoseNetwork
from posewright.skeletons import LSP14
from posewright.spec import Spec

_WIDTHS = (96, 80, 64)


class LiteBaseline(PoseNetwork, EfficientNetLite0):
    """EfficientNet-Lite0 and three 4x4 deconvolutions, to each of which the trunk's features of its size are added.

    SimpleBaseline (Xiao et al., arXiv 1804.06208) builds its maps from the features at 1/32 alone, which at 160x160 are
    5x5 pixels; the additions (Lin et al., Feature Pyramid Networks, arXiv 1612.03144) bring what is lost there.

    Args:
        channels: of the maps.
    """

    naming = Naming(imagenet=CLASSIFIER)

    def __init__(self, channels: int) -> None:
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

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to maps [N, channels, H / 4, W / 4].

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        check_size(images, 32)
        *fine, x = self.features(images)
        for deconv, lateral, norm, tap in zip(self.deconvs, self.laterals, self.norms, reversed(fine)):
            x = F.relu(norm(deconv(x) + lateral(tap)))
        return self.final_layer(x)


def _spec(size: tuple[int, int]) -> Spec:
    """Boxes are not padded: people who are larger than in training are found better (PCK@0.2 0.70 against 0.68 with the
    padding of 1.25 that they are trained with), as Touvron et al. saw it in classifiers (FixRes, arXiv 1906.06423).
    """
    maps = (size[0] // 4, size[1] // 4)
    return Spec(
        name=f"litebaseline-{size[0]}x{size[1]}",
        builder=LiteBaseline,
        codec=UdpHeatmap(size, maps, sigma=1.5 * size[0] / 160),
        skeleton=LSP14,
        size=size,
        padding=(1.0, 1.0),
        crop_rule="udp",
        mean=(127, 127, 127),
        std=(128, 128, 128),
        paper="SimpleBaseline's head (Xiao et al., arXiv 1804.06208) on EfficientNet-Lite0 (Tan & Le, 1905.11946)",
    )


SPECS: dict[str, Spec] = {spec.name: spec for spec in (_spec((128, 96)), _spec((160, 160)))}
