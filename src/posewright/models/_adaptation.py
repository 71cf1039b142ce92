"""What WS-CDA adds to a network: an adaptation network between its two parts, and a discriminator of domains.

Cao et al., "Cross-Domain Adaptation for Animal Pose Estimation", ICCV 2019, arXiv 1908.05806, section 4. The paper does
not publish the layers; these are the smallest that do what it says.
"""

from __future__ import annotations

from torch import Tensor, nn

from posewright.models._network import PoseNetwork

ADDED = r"adaptation\..+"
"""The names of an adaptation network's parameters, which no file of weights learned on people has."""


class AdaptationNetwork(nn.Module):
    """Aligns the features of animals with those that the keypoint estimator knows: a residual of three convolutions.

    The last one starts at zero, so that animals are estimated as people are until it has learned better. There is no
    normalisation, because a batch may hold any mixture of people and animals.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // 4, 16)
        last = nn.Conv2d(width, channels, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            last,
        )
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor, animal: Tensor | None = None) -> Tensor:
        """Features [N, C, h, w], of which those of animals ([N] bool; by default all) are aligned."""
        change = self.layers(features)
        return features + (change if animal is None else change * animal[:, None, None, None])


class DomainDiscriminator(nn.Module):
    """Tells from features [N, C, h, w] the logits [N, 2] of an animal, and of an animal of the target domain.

    Args:
        channels: of the features.
        width: of the two convolutions.
    """

    def __init__(self, channels: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 2),
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.layers(features)


class TwoPartNetwork(PoseNetwork):
    """A feature extractor and a keypoint estimator, with room for an adaptation network between them.

    Attributes:
        adaptation: what aligns the features, or None.
        feature_channels: of the last of the features, which are what is aligned and discriminated.
    """

    adaptation: AdaptationNetwork | None
    feature_channels: int

    def extract(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [N, 3, H, W] to all that `estimate` needs; the last [N, C, h, w] are the features of the paper."""
        raise NotImplementedError

    def estimate(self, extracted: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What `extract` found, aligned, to the supervised maps."""
        raise NotImplementedError

    def aligned(self, extracted: tuple[Tensor, ...], animal: Tensor | None = None) -> tuple[Tensor, ...]:
        """What `extract` found, with the features of animals aligned; see `AdaptationNetwork`."""
        *others, features = extracted
        return extracted if self.adaptation is None else (*others, self.adaptation(features, animal))

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """The supervised maps of images that are taken for animals'."""
        return self.estimate(self.aligned(self.extract(images)))

    def forward(self, images: Tensor) -> Tensor:
        """The last of the supervised maps."""
        return self.supervised(images)[-1]
