"""Files of weights: read any, load into a network strictly, save.

What a file is, its content says and never its name: PyTorch's (zip, or the older pickle), safetensors or MindSpore's.
No code in a file is ever run, and every size that a file claims is checked against the bytes that it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from posewright import __version__
from posewright.files import write_bytes, write_with
from posewright.models import codec_changes, find, naming_of
from posewright.skeletons import from_category, to_category
from posewright.spec import Spec
from posewright.types import Skeleton
from posewright.weights import conversion, mindspore_file, state_dict
from posewright.weights._read import State, content, naming, notes, tensors
from posewright.weights.conversion import Format
from posewright.weights.state_dict import few

Source = str | PathLike[str]

write_mindspore = mindspore_file.write

_TRAINING = re.compile(
    r"(moments?|moment[12]|accum|vhat|mean_square|mean_gradient)\..+"
    r"|global_step|learning_rate|momentum|beta[12]_power|weight_decay|epoch_num|step_num|scale_sense|loss_scale"
    r"|current_iterator_step|last_overflow_iterator_step"
)
"""What MindSpore's optimisers and callbacks leave in a checkpoint beside the network."""
_INNER = re.compile(r"^(?:resnet|backbone)\.")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` did.

    Attributes:
        path: the file.
        read: how many tensors went from the file into the network.
        renamed: the file's names -> the network's, where they differ.
        dropped: entries of the file that are not weights, or that were not asked for.
        zero_filled: parameters and counters that the file lacks and that are zero without it.
        new: parameters that keep the values which the network came with.
    """

    path: Path
    read: int
    renamed: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    zero_filled: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line that says all of it."""
        parts = [f"{self.read} tensors read"]
        parts += [f"{len(self.renamed)} renamed"] if self.renamed else []
        parts += [f"{len(self.dropped)} not used ({few(self.dropped)})"] if self.dropped else []
        parts += [f"{len(self.zero_filled)} absent and zero ({few(self.zero_filled)})"] if self.zero_filled else []
        parts += [f"{len(self.new)} re-initialised ({few(self.new)})"] if self.new else []
        return f"{self.path}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class About:
    """What one of Posewright's own files says of itself; see `describe`.

    Attributes:
        version: of Posewright, that wrote it.
        spec: name of the pose system.
        skeleton: what it finds.
        metrics: of its evaluation, as far as there was one.
        config: of its training.
        codec: fields of the codec that are not as published; see `Spec.with_codec`.
    """

    version: str
    spec: str
    skeleton: Skeleton
    metrics: dict[str, float]
    config: dict[str, Any]
    codec: dict[str, Any]


def read(path: Source) -> State:
    """The tensors of a file of weights by name, on the CPU, in file order and with their types.

    The state dict is taken from under `state_dict`, `model`, ... where it is nested, "module." prefixes are cut off;
    an optimiser's state, `data_preprocessor.*` and entries that are no tensors are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file of weights, is damaged, or could only be read by running code that it contains.
    """
    path = Path(path)
    with naming(path):
        return tensors(path)


def load(net: nn.Module, path: Source, spec: Spec, *, reset_head: bool = False) -> Loaded:
    """Load a file of weights into a network, strictly: every parameter is read, or the network stays as it was.

    Official names are taken as they are; those of mmpose and of MindSpore are renamed as the network says. What no
    published file contains, such as an adaptation network, stays as it is in `net` where the file lacks all of it.

    Args:
        net: made by `spec.build`.
        path: any file that `read` reads.
        spec: what the network is.
        reset_head: leave the parameters that depend on the number of keypoints as they are in `net`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or parameters are missing, unexpected or of another shape: all are reported,
            with the pose system that the file seems to be of.
    """
    path = Path(path)
    given = read(path)
    kept = (*(state_dict.head(spec) if reset_head else ()), *state_dict.added(net, given))
    state, loaded = _fitted(path, given, net, spec, kept)
    net.load_state_dict(state)
    return loaded


def load_backbone(net: nn.Module, path: Source) -> Loaded:
    """Load an ImageNet classifier (torchvision's ResNets, HRNet's, Lite-HRNet's) into a network's backbone.

    Every parameter of the backbone must be in the file; the file's other entries are reported as not used. Into MSPN a
    ResNet goes once per stage.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or lacks parameters of the backbone, or has them in another shape.
    """
    path, want = Path(path), net.state_dict()
    state = {_INNER.sub("", k): (k, v) for k, v in read(path).items()}
    names = conversion.backbone(naming_of(net), want)
    sources = {ours: state[name] for ours, theirs in names.items() for name in (ours, theirs) if name in state}
    found = {ours: tensor for ours, (_, tensor) in sources.items()}
    backbone = {k: want[k] for k in names}
    zeros = {k: torch.zeros_like(want[k]) for k in state_dict.optional(backbone, found, net)}
    problems = state_dict.problems(backbone, found, skip=zeros) if backbone else "no part of it has a backbone's names"
    if problems:
        raise ValueError(f"{path} does not cover the backbone of this {type(net).__name__}: {problems}")
    net.load_state_dict(want | zeros | found)
    renamed = {key: ours for ours, (key, _) in sources.items() if key != ours}
    used = {key for key, _ in sources.values()}
    unused = tuple(key for key, _ in state.values() if key not in used)
    return Loaded(path, len(found), renamed, unused, tuple(zeros), tuple(k for k in want if k not in backbone))


def save(path: Source, state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a state dict as safetensors with metadata (JSON values); atomically.

    `describe` reads the metadata back where it has "spec" and "skeleton", as `write_checkpoint` says.
    """
    note = {"posewright": json.dumps({"posewright": __version__, **metadata})}
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    write_bytes(Path(path), safetensors_bytes(plain, note))


def write_checkpoint(path: Source, values: Mapping[str, Any]) -> None:
    """Write a checkpoint: nested dicts, lists and tuples of tensors, numbers and strings; atomically.

    Posewright's own hold "posewright" (the version), "spec" (its name), "skeleton" (a COCO category), "model" (the
    state dict), "config", "codec" (its changes) and, once evaluated, "metrics".

    Raises:
        ValueError: an entry is of another kind, which `read_checkpoint` would refuse.
        OSError: the folder cannot be written.
    """
    portable = _portable(values, "checkpoint")
    write_with(Path(path), lambda file: torch.save(portable, file))


def read_checkpoint(path: Source) -> dict[str, Any]:
    """What `write_checkpoint` wrote, tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a checkpoint, or is damaged.
    """
    path = Path(path)
    with naming(path):
        return content(path)


def describe(path: Source) -> About | None:
    """What a file that Posewright wrote says of itself; None for files of others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    path = Path(path)
    with naming(path):
        note = notes(path)
        if not isinstance(note, dict) or not {"posewright", "spec", "skeleton"} <= note.keys():
            return None
        said = msgspec.convert(note, _Note)
        skeleton = from_category(said.skeleton, "skeleton")
        return About(said.posewright, said.spec, skeleton, said.metrics or {}, said.config or {}, said.codec or {})


class _Note(msgspec.Struct):
    """The types of what a file says of itself; see `write_checkpoint`."""

    posewright: Annotated[str, msgspec.Meta(max_length=200)]
    spec: Annotated[str, msgspec.Meta(max_length=200)]
    skeleton: dict[str, Any]
    metrics: dict[str, float] | None = None
    config: dict[str, Any] | None = None
    codec: dict[str, Any] | None = None


def convert(source: Source, target: Source, style: Format, spec: Spec | None = None, *, half: bool = False) -> Loaded:
    """Rewrite a file of weights with the names and in the format that other code loads.

    * "official": as the original PyTorch code of the family saves it;
    * "mmpose": as mmpose 1.x. Its MSPN and RSN have no biases before normalisations; ours go into the means;
    * "mindspore": a .ckpt as the published MindSpore networks have it, where there are any, and else with our names and
      MindSpore's words. The counters of batches, which only torch has, are written too: MindSpore ignores them;
    * "safetensors": our names, and what the file says of itself.

    Reading the result gives the same bits as before, but for biases that went into means.

    Args:
        source: any file that `load` reads.
        target: written atomically.
        style: see above.
        spec: what the source is; may be left out for Posewright's own files, which say so.
        half: write float16, half the size; networks are float32 again once loaded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not fit the spec, is of no known spec, or the other toolkit has no such network; or float16
            cannot hold its numbers.
        OSError: the target cannot be written.
    """
    source, target = Path(source), Path(target)
    about = describe(source)
    if spec is None and about is None:
        raise ValueError(f"{source} does not say what it is of: pass the pose system too, such as hrnet-w32-256x192")
    spec = spec or find(cast(About, about).spec)
    given = read(source)
    net = state_dict.blank(spec, given)
    state, loaded = _fitted(source, given, net, spec, ())
    try:
        names = conversion.foreign(naming_of(net), state, style)
    except ValueError as error:
        raise ValueError(f"{error} as {spec.name}: choose another format") from None
    if style == "mmpose":
        state = conversion.without_biases(state)
    if half:
        with naming(source):
            state = state_dict.halved(state)
    renamed = {names[k]: v for k, v in state.items()}
    if style == "safetensors":
        save(target, state, _metadata(spec, about, state))
    elif style == "mindspore":
        write_mindspore(target, renamed)
    else:
        saved = naming_of(net).wrap(renamed) if style == "official" else {"meta": {}, "state_dict": renamed}
        write_with(target, lambda file: torch.save(saved, file))
    return loaded


def _fitted(path: Path, given: State, net: nn.Module, spec: Spec, head: Collection[str]) -> tuple[State, Loaded]:
    """A file's tensors under the names of `net`, whole: the head stays as it is there. See `load`."""
    want = net.state_dict()
    training = [k for k in given if k not in want and _TRAINING.fullmatch(k)]
    with naming(path):
        names = conversion.ours(naming_of(net), want, (k for k in given if k not in training))
    found = {name: given[k] for k, name in names.items()}
    absent = [k for k in state_dict.optional(want, found, net) if k not in head]
    if problems := state_dict.problems(want, found, skip={*absent, *head}):
        advice = state_dict.advice(spec, want, found, {k: given[k] for k in names})
        raise ValueError(f"{path} does not fit {spec.name}: {'. '.join(filter(None, [advice, problems]))}")
    taken = {k: v for k, v in found.items() if k not in head}
    zeros = {k: torch.zeros(want[k].shape, dtype=want[k].dtype) for k in absent}
    renamed = {k: name for k, name in names.items() if k != name and name not in head}
    dropped = (*training, *(k for k, name in names.items() if name in head))
    return want | zeros | taken, Loaded(path, len(taken), renamed, dropped, tuple(absent), tuple(head))


def _metadata(spec: Spec, about: About | None, state: State) -> dict[str, Any]:
    """What a converted file says of itself: what the source said, else the spec's, as far as it is known to fit."""
    if about:
        note = {"metrics": about.metrics, "config": about.config, "codec": about.codec}
        note |= {"skeleton": to_category(about.skeleton)}
    elif state_dict.num_keypoints(state, state_dict.head(spec)) == spec.skeleton.num_keypoints:
        note = {"skeleton": to_category(spec.skeleton), "codec": codec_changes(spec)}
    else:
        note = {}
    return {"spec": spec.name} | note


def _portable(value: Any, where: str) -> Any:
    """The value in the types that `read_checkpoint` reads: NumPy's numbers become Python's."""
    match value:
        case Mapping():
            if stray := [k for k in value if not isinstance(k, str | int)]:
                raise ValueError(f"{where}: keys must be strings or integers, got {stray[0]!r}")
            return {k: _portable(v, f"{where}[{k!r}]") for k, v in value.items()}
        case list() | tuple():
            return type(value)(_portable(v, f"{where}[{i}]") for i, v in enumerate(value))
        case np.generic():
            return value.item()
        case torch.Tensor() | None | bool() | int() | float() | str():
            return value
    raise ValueError(f"{where}: expected a tensor, number, string or a container of those, got {type(value).__name__}")
