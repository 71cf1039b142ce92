"""A run made ready: data, network, weights to start from, loss, optimiser and memory, all checked before step 0."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count, takewhile
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

from posewright.data import sources
from posewright.data.dataset import KeypointDataset
from posewright.data.loader import Loader
from posewright.data.selection import selected
from posewright.data.skeleton_file import read as read_skeleton
from posewright.data.skeleton_file import with_sigmas
from posewright.evaluate import evaluator
from posewright.losses import LossSettings, Objective, objective
from posewright.models import find
from posewright.progress import say
from posewright.runtime import torch_runtime
from posewright.runtime.depthwise import train_fast_in_bf16
from posewright.spec import Spec
from posewright.train.config import TrainConfig
from posewright.train.distributed import Team
from posewright.train.domains import balanced, of_samples
from posewright.train.optim import Ema, optimizer
from posewright.train.state import Run
from posewright.types import Boxes, Skeleton
from posewright.weights import checkpoint, hub


@contextmanager
def prepared(config: TrainConfig, team: Team, *, resume: bool = False) -> Iterator[Run]:
    """A run at its beginning, or where its folder's checkpoint stopped; its loader ends with the block."""
    device = torch_runtime.device_of(team.device(config.device))
    _check_precision(config.precision, device)
    people, val = _data(config)
    say(people.summary())
    if val:
        say(val[0].summary())
    if people.skeleton.sigmas is None:
        say(f"no OKS sigmas are known for {people.skeleton.name}: evaluated with PCK, not AP (see the setting sigmas)")
    spec = find(config.model).with_codec(config.codec).with_skeleton(people.skeleton)
    if config.select_data:
        people = selected(people, spec)
        say(f"select_data keeps {len(people)} people")
    if not (people.skeleton.can_flip or config.flip_without_pairs):
        say(
            f"{people.skeleton.name} has no mirror pairs, so nothing is flipped, in training or in the flip test: name "
            "the pairs in a skeleton file (--skeleton), or --set flip_without_pairs=true"
        )
        config = replace(config, flip_test=False, augment=replace(config.augment, flip=0.0))
    torch.manual_seed(config.seed)
    net = spec.build()
    if not resume:  # a checkpoint has all weights: the files that the run started from are no longer needed
        if config.init:
            say(checkpoint.load(net, hub.resolve(config.init), spec, reset_head=config.reset_head).summary())
        elif config.backbone:
            say(checkpoint.load_backbone(net, hub.resolve(config.backbone)).summary())
    run = _run(config, spec, net, people, val, device, team)
    if config.freeze and not (resume or config.init or config.backbone):
        raise ValueError(
            f"freeze would keep {', '.join(config.freeze)} at random values, because neither --backbone nor --init "
            "gives weights to start from: give one, or --set freeze=[]"
        )
    if run.people_per_step < config.accumulate * team.size:
        raise ValueError(
            f"a batch of {run.people_per_step} people cannot be split into {config.accumulate} micro-batches by "
            f"{team.size} processes: choose a larger batch, or a smaller accumulate"
        )
    if device.type == "cuda":
        preflight(run.dry_run, ceil(run.people_per_step / team.size), config.accumulate, f"the memory of {device}")
    if resume:
        run.restore()
    with closing(run.loader):
        yield run


def preflight(attempt: Callable[[int], None], people: int, accumulate: int, where: str) -> None:
    """Try a batch; where it does not fit, find out into how many micro-batches it must be split.

    Args:
        attempt: tries a dummy batch of n people, or raises `torch.OutOfMemoryError`.
        people: of one process in a step.
        accumulate: micro-batches that they are split into.
        where: what may be too small, in words.

    Raises:
        ValueError: they do not fit; the message says how to split them, or that one sample is
            too much.
    """
    if _fits(attempt, ceil(people / accumulate)):
        return
    for parts in [*takewhile(lambda n: n < people, (accumulate * 2**i for i in count(1))), people]:
        if _fits(attempt, ceil(people / parts)):
            raise ValueError(
                f"{people} people split into {accumulate} micro-batches do not fit into {where}: split into {parts} "
                f"they do, which learns the same (--set accumulate={parts})"
            )
    raise ValueError(f"not even one sample fits into {where}: choose a smaller pose system, or precision bf16")


def _fits(attempt: Callable[[int], None], people: int) -> bool:
    try:
        attempt(people)
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 is for CUDA devices, with scaled gradients; on the CPU use bf16 or float32")
    if precision == "bf16" and not torch_runtime.can_bf16(device):
        raise ValueError(f"this {device.type} has no bf16 arithmetic: use float32")


def _data(config: TrainConfig) -> tuple[KeypointDataset, tuple[KeypointDataset, dict[int, Boxes]] | None]:
    """The people to learn from, and those to evaluate on with their boxes, all of the skeleton that is asked for."""
    skeleton, outside = read_skeleton(config.skeleton) if config.skeleton else None, config.allow_outside
    unlabelled = [place for place, domain in enumerate(config.domains) if domain == "unlabelled"]
    people = sources.read_all(
        *config.files,
        skeleton,
        allow_outside=outside,
        same_points=config.same_points,
        unlabelled=unlabelled,
        categories=config.adaptation.categories,
    )
    _note_same_points(config.same_points, people.skeleton)
    val = None
    if config.val:
        val = sources.read_all([config.val], [config.val_images], people.skeleton, allow_outside=outside)
    if val and people.skeleton.sigmas is None:
        people = people.with_skeleton(val.skeleton)  # sigmas are for evaluation: its file may be the one that has them
    skeleton = with_sigmas(people, config.sigmas)
    people = people.with_skeleton(skeleton)
    if val is None:
        return people, None
    val = val.with_skeleton(skeleton)
    return people, (val, evaluator.boxes_for(val, config.val_boxes))


def _note_same_points(same: Mapping[str, str], skeleton: Skeleton) -> None:
    """Name the points that the skeleton lacks; not refused, because those of a recipe are of its own data sets."""
    if strange := [name for name in same.values() if name not in skeleton.points]:
        near = difflib.get_close_matches(strange[0], skeleton.points, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        say(f"same_points: nothing is matched with {', '.join(strange)}: no points of {skeleton.name}{hint}")


def _run(
    config: TrainConfig,
    spec: Spec,
    net: nn.Module,
    people: KeypointDataset,
    val: tuple[KeypointDataset, dict[int, Boxes]] | None,
    device: torch.device,
    team: Team,
) -> Run:
    people = _repeated(config, people)
    origin = np.zeros(len(people), int) if people.origin is None else people.origin
    domains = of_samples(net, config.domains, origin, config.adaptation) if config.domains else None
    learned = domains.learner if domains else _Supervised(net)
    frozen = _freeze(net, config.freeze)
    learned.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
    if config.precision == "bf16" and device.type == "cpu":
        train_fast_in_bf16(net)
    learner = team.wrap(learned, device)
    if config.compile:
        learner.compile()
    loader = _loader(config, spec, people, team)
    return Run(
        config,
        spec,
        net,
        learner,
        _objective(config, spec),
        optimizer(
            learned,
            config.optimizer,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            nesterov=config.nesterov,
        ),
        torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        Ema(net, config.ema) if config.ema else None,
        loader,
        val,
        frozen,
        domains,
        device,
        team,
        total=config.steps or config.epochs * len(loader),
    )


def _repeated(config: TrainConfig, people: KeypointDataset) -> KeypointDataset:
    """The training samples, those of smaller domains and turns repeated until there are as many of each."""
    domains = config.domains if config.adaptation.balanced else ()
    for kinds in (domains, config.turns):
        if kinds and people.origin is not None:
            kind_of_file = np.unique(kinds, return_inverse=True)[1]
            people = people.subset(balanced(kind_of_file[people.origin]))
    return people


def _loader(config: TrainConfig, spec: Spec, people: KeypointDataset, team: Team) -> Loader:
    return Loader(
        people,
        spec,
        config.augment,
        config.batch,
        seed=config.seed,
        workers=config.workers,
        shuffle=config.shuffle,
        share=(team.rank, team.size),
        keep_last=config.keep_last,
        turns=np.array(config.turns)[people.origin] if config.turns and people.origin is not None else None,
    )


def _objective(config: TrainConfig, spec: Spec) -> Objective:
    settings = LossSettings(
        config.loss_factor,
        config.ohkm_topk,
        config.coarse_to_fine,
        config.class_factor,
        config.offset_factor,
        config.use_target_weight,
        config.keypoint_weight,
    )
    loss = objective(spec.codec, config.loss, spec.skeleton, settings)
    if not config.file_partial:
        return loss
    # a loss that may leave weights out; which of them count depends on the sample's file, see Run._weighted
    return objective(spec.codec, config.loss, spec.skeleton, replace(settings, use_target_weight=True))


def _freeze(net: nn.Module, parts: tuple[str, ...]) -> tuple[nn.Module, ...]:
    """Take the parameters whose names begin so out of the training; the modules that hold nothing else."""
    names = [name for name, _ in net.named_parameters()]
    for part in parts:
        if not any(_within(name, part) for name in names):
            raise ValueError(
                f"freeze: no parameter's name begins with {part!r}; they are such as {', '.join(names[:3])}"
            )
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not any(_within(name, part) for part in parts))
    modules = [m for m in net.modules() if any(True for _ in m.parameters())]
    return tuple(m for m in modules if not any(p.requires_grad for p in m.parameters()))


def _within(name: str, part: str) -> bool:
    """Whether a parameter belongs to a part of the network: "layer1" has "layer1.0.bias", but not "layer10.bias"."""
    return f"{name}.".startswith(f"{part.rstrip('.')}.")


class _Supervised(nn.Module):
    """A network whose forward pass yields all supervised maps."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net.supervised(images)  # pyright: ignore[reportCallIssue]
