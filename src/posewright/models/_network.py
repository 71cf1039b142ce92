"""What every network has in common: its supervised maps, and what other code calls its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Rules = tuple[tuple[str, str], ...]
"""Patterns and their replacements, applied one after the other (`re.sub`)."""

HEAD_AND_BACKBONE: Rules = ((r"^(?=deconv_layers\.|final_layer\.)", "head."), (r"^(?!head\.)", "backbone."))
"""The two parts of a network in mmpose and mindpose, where the official code has one."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What other code calls a network's parameters: rules that turn our names, the official ones, into theirs.

    The rules are written in this direction only. A network knows its own parameters, so that the way back is the
    inverse over them; `weights.conversion` goes both ways.

    Attributes:
        mmpose: rules for mmpose 1.x, or None if it has no such network. 0.x differs in the name of the head only.
        mindspore: rules for MindSpore, applied after its words for the tensors of a batch normalisation.
        others: further spellings that are read, but never written.
        imagenet: rules for ImageNet classifiers. The backbone is what a pattern matches as a whole.
        optional: a pattern of parameters that a file may lack; they are zero then.
        added: a pattern of parameters that no published file has; where a file lacks them, they keep their values.
        wrap: puts a state dict into the form in which the original code saves and expects it.
    """

    mmpose: Rules | None = None
    mindspore: Rules = ()
    others: tuple[Rules, ...] = ()
    imagenet: Rules = ((r"(?:resnet\.|backbone\.)?((?:stem|conv\d|bn\d|layer\d|transition\d|stage\d)\..+)", r"\1"),)
    optional: str = "(?!)"
    added: str = "(?!)"
    wrap: Callable[[Mapping[str, Tensor]], Mapping[str, object]] = dict


class PoseNetwork(nn.Module):
    """A network from images [N, 3, H, W] to maps [N, channels, h, w], which are the last of its supervised maps."""

    naming: Naming = Naming()

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Every map that training supervises, in order; the last is the prediction, by default the only one."""
        return (self(images),)


def from_data_parallel(state: Mapping[str, Tensor]) -> dict[str, object]:
    """A state dict as code saves it that trains in `nn.DataParallel`."""
    return {"state_dict": {f"module.{key}": value for key, value in state.items()}}
