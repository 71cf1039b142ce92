"""WS-CDA: a network that learned people learns animals, from few labelled ones and many of which boxes alone are known.

Cao et al., "Cross-Domain Adaptation for Animal Pose Estimation", ICCV 2019, arXiv 1908.05806. A discriminator tells
from the features whether a sample is an animal, and which animals are of the target domain. It minimises its loss L_D,
the keypoint estimator minimises the pose loss L_P, and the feature extractor minimises alpha L_D + beta L_P with an
alpha below 0: its features show how a body is posed, and not whose it is. All samples go to the discriminator, labelled
ones to the keypoint estimator, and the features of animals through the adaptation network on the way (`models`,
`*-wscda-*`). What is trained is an ordinary pose system; the discriminator stays in the run's checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from posewright import losses
from posewright.models._adaptation import DomainDiscriminator, TwoPartNetwork
from posewright.train.config import Domain, DomainAdaptation


class DomainLearner(nn.Module):
    """A network and the discriminator that its features are to confuse.

    Args:
        net: the network.
        alpha: what the discriminator's gradients are multiplied by where they enter the features.
    """

    def __init__(self, net: TwoPartNetwork, alpha: float) -> None:
        super().__init__()
        self.net, self.alpha = net, alpha
        self.discriminator = DomainDiscriminator(net.feature_channels)

    def forward(self, images: Tensor, animal: Tensor, labelled: Tensor) -> tuple[Tensor, ...]:
        """The supervised maps of the labelled samples, then the discriminator's logits [B, 2] of all.

        Args:
            images: [B, 3, H, W].
            animal: [B] bool.
            labelled: [B] bool, with at least one that is.
        """
        extracted = self.net.extract(images)
        logits = self.discriminator(losses.scaled_gradient(extracted[-1], self.alpha))
        known = tuple(features[labelled] for features in extracted)
        return (*self.net.estimate(self.net.aligned(known, animal[labelled])), logits)


@dataclass(frozen=True, slots=True)
class Domains:
    """The domains of a run's training samples, and what learns them.

    Attributes:
        learner: network and discriminator.
        settings: of the loss.
        animal: [N] bool, of each training sample.
        target: [N] bool, animals of the target domain.
        labelled: [N] bool, those whose points are read.
    """

    learner: DomainLearner
    settings: DomainAdaptation
    animal: np.ndarray
    target: np.ndarray
    labelled: np.ndarray

    def estimated(self, index: np.ndarray) -> np.ndarray:
        """[B] bool, which samples of a batch the keypoint estimator sees: the labelled ones.

        Where there is none it sees all, and their loss counts nothing: several processes must all use all parameters.
        """
        labelled = self.labelled[index]
        return labelled if labelled.any() else np.ones_like(labelled)

    def loss(self, logits: Tensor, pose: Tensor, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """L_D + beta L_P as means over B samples, and L_D alone; `DomainLearner` sees to what minimises which part.

        Args:
            logits: [B, 2].
            pose: the mean pose loss of the labelled samples, animals' times w2.
            index: [B], the samples' places.
        """
        animal, target = (torch.from_numpy(kind[index]).to(logits.device) for kind in (self.animal, self.target))
        of_domain = losses.domain(logits, animal, target, species_factor=self.settings.species_factor)
        return of_domain + self.settings.beta * float(self.labelled[index].mean()) * pose, of_domain


def of_samples(net: nn.Module, domains: Sequence[Domain], origin: np.ndarray, settings: DomainAdaptation) -> Domains:
    """The domains of training samples, and a new discriminator.

    Args:
        net: the network.
        domains: what each file of samples holds.
        origin: [N] int, the file that each sample comes from.
        settings: of the loss.

    Raises:
        ValueError: the network has no feature extractor of its own.
    """
    if not isinstance(net, TwoPartNetwork):
        raise ValueError(
            f"domains: {type(net).__name__} is not divided into a feature extractor and a keypoint estimator; "
            "SimpleBaseline, LiteBaseline and the stacked hourglasses are (`posewright models`, those with wscda)"
        )
    of_file = np.array(domains)
    animal, target = of_file != "people", np.isin(of_file, ("target", "unlabelled"))
    learner = DomainLearner(net, settings.alpha)
    return Domains(learner, settings, animal[origin], target[origin], (of_file != "unlabelled")[origin])


def balanced(group: np.ndarray) -> np.ndarray:
    """Places of samples of groups [N], repeated until each group has as many as the largest; in their order."""
    places = [np.flatnonzero(group == one) for one in np.unique(group)]
    most = max(map(len, places))
    return np.sort(np.concatenate([np.resize(group_places, most) for group_places in places]))
