"""Run: a training under way, one step of it, and its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from posewright import __version__
from posewright.data import coco
from posewright.data.loader import Loader
from posewright.data.skeleton_file import read as read_skeleton
from posewright.data.skeleton_file import with_sigmas
from posewright.evaluate import evaluator
from posewright.losses import LossSettings, Objective, objective
from posewright.models import find
from posewright.progress import say
from posewright.runtime import torch_runtime
from posewright.runtime.depthwise import train_fast_in_bf16
from posewright.skeletons import to_category
from posewright.spec import Spec
from posewright.train._preflight import preflight
from posewright.train.config import TrainConfig
from posewright.train.distributed import Team
from posewright.train.optim import Ema, optimizer
from posewright.types import Batch, Boxes
from posewright.weights import checkpoint, hub

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(slots=True)
class Run:
    """What changes while a run goes on, with what it needs to go on.

    Attributes:
        config, spec: what is trained, and how.
        net: the network.
        learner: images to its supervised maps; with several processes, it averages their gradients.
        objective: the loss.
        optimizer, scaler, ema: what follows the gradients; the scaler does nothing but for fp16.
        loader: this process's share of the training people.
        val: the people to evaluate on, and their boxes, or None.
        frozen: modules whose statistics do not change.
        device: where the network is.
        team: the processes.
        total: steps of the whole run.
        step: steps done.
        judged: the step of the last evaluation.
        stale: evaluations since the best one.
        best: its metrics.
        halted: whether the processes have agreed to stop here.
    """

    config: TrainConfig
    spec: Spec
    net: nn.Module
    learner: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: Ema | None
    loader: Loader
    val: tuple[coco.KeypointDataset, dict[int, Boxes]] | None
    frozen: tuple[nn.Module, ...]
    device: torch.device
    team: Team
    total: int
    step: int = 0
    judged: int = 0
    stale: int = 0
    best: dict[str, float] = field(default_factory=dict)
    halted: bool = False

    @property
    def out(self) -> Path:
        """The run's folder."""
        return Path(self.config.out)

    @property
    def over(self) -> bool:
        """Whether all steps are done, or no evaluation was better for long enough."""
        return self.step >= self.total or 0 < self.config.patience <= self.stale

    def learn(self, batch: Batch, lr: float) -> tuple[float, Tensor]:
        """One optimiser step.

        Args:
            batch: this process's share.
            lr: the learning rate.

        Returns:
            loss: what this share adds to the mean over the whole batch.
            maps: the last supervised maps of this share.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        for part in self.frozen:
            part.eval()
        self.optimizer.zero_grad(set_to_none=True)
        parts = list(_parts(batch, self.config.accumulate))
        done = []
        for part in parts:
            with nullcontext() if part is parts[-1] else self.team.apart(self.learner):
                done.append(self._gradients(part))
        if self.config.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema:
            self.ema.update(self.net)
        return sum(loss.item() for loss, _ in done), torch.cat([maps for _, maps in done])

    def _gradients(self, part: Batch) -> tuple[Tensor, Tensor]:
        """Add up the gradients of a part of the batch; what it adds to the mean loss, and its last maps."""
        loss, maps = self._loss(self.learner, part)
        loss = loss * len(part.images) / self.loader.people_in(self.step % len(self.loader))
        # The team takes the mean over its processes, where the sum of their shares is wanted.
        self.scaler.scale(loss * self.team.size).backward()
        return loss.detach(), maps.detach()

    def _loss(self, learner: Callable[[Tensor], tuple[Tensor, ...]], part: Batch) -> tuple[Tensor, Tensor]:
        images = part.images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        target, weight = part.target.to(self.device), part.weight.to(self.device)
        precision = self.config.precision
        with torch.autocast(self.device.type, _TYPES[precision], enabled=precision != "float32"):
            outputs = learner(images)
        outputs = tuple(o.float() for o in outputs)
        return self.objective(outputs, target, weight), outputs[-1]

    def rehearse(self, people: int) -> None:
        """Work on so many made-up people, with as much memory as in a step; nothing changes by it.

        Raises:
            torch.OutOfMemoryError: they do not fit.
        """
        codec, points = self.spec.codec, self.spec.skeleton.num_keypoints
        xy, visibility = np.zeros((people, points, 2)), np.full((people, points), 2, np.uint8)
        target, weight = map(torch.from_numpy, codec.encode(xy, visibility))
        part = Batch(torch.zeros(people, 3, *self.spec.size), target, weight, xy, visibility, np.arange(people))
        self.net.eval()  # batch norms then keep their statistics, and need nobody else's
        moments = [torch.empty_like(p) for p in self.net.parameters() for _ in range(2)]  # such as Adam's
        loss, _ = self._loss(self.net.supervised, part)  # pyright: ignore[reportArgumentType]
        loss.backward()
        self.optimizer.zero_grad(set_to_none=True)
        del moments

    @property
    def people_a_step(self) -> int:
        """People in a batch, of all processes together."""
        return min(self.config.batch, len(self.loader.people))

    def state(self) -> dict[str, Tensor]:
        """The weights to evaluate: the average, where there is one."""
        return self.ema.state if self.ema else self.net.state_dict()

    def identity(self) -> dict[str, Any]:
        """What every checkpoint says of itself."""
        return {
            "posewright": __version__,
            "spec": self.spec.name,
            "skeleton": to_category(self.spec.skeleton),
            "config": msgspec.to_builtins(self.config),
        }

    def save(self) -> None:
        """Write `last.pt`: all that `restore` needs. One process does it for all."""
        if not self.team.lead:
            return
        content = self.identity() | {
            "model": self.net.state_dict(),
            "ema": None if self.ema is None else {"state": self.ema.state, "updates": self.ema.updates},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "judged": self.judged,
            "stale": self.stale,
            "best": self.best,
        }
        checkpoint.write_checkpoint(self.out / "last.pt", content)

    def restore(self) -> None:
        """Go on where `last.pt` stopped."""
        path = self.out / "last.pt"
        content = checkpoint.read_checkpoint(path)
        if content.get("spec") != self.spec.name:
            raise ValueError(f"{path}: holds a run of {content.get('spec')!r}, not of {self.spec.name!r}")
        if not {"model", "ema", "optimizer", "scaler", "rng", "step", "judged", "stale", "best"} <= content.keys():
            raise ValueError(
                f"{path}: of another version of Posewright; begin a new run with its weights (--init {path})"
            )
        self.net.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.ema:
            state = {name: value.to(self.device) for name, value in content["ema"]["state"].items()}
            self.ema.state, self.ema.updates = state, content["ema"]["updates"]
        torch.set_rng_state(content["rng"])
        self.step, self.judged, self.stale, self.best = (content[k] for k in ("step", "judged", "stale", "best"))


@contextmanager
def prepared(config: TrainConfig, team: Team, *, resume: bool = False) -> Iterator[Run]:
    """A run at its beginning, or where its folder's checkpoint stopped; its loader ends with the block."""
    tell = say if team.lead else _say_nothing
    device = torch_runtime.device_of(team.device(config.device))
    _check_precision(config.precision, device)
    people, val = _data(config)
    tell(people.summary())
    if val:
        tell(val[0].summary())
    if people.skeleton.sigmas is None:
        tell(f"no OKS sigmas are known for {people.skeleton.name}: judged by PCK, not AP (see the setting sigmas)")
    spec = find(config.model).with_skeleton(people.skeleton)
    torch.manual_seed(config.seed)
    net = spec.build()
    if not resume:  # whose checkpoint has all weights: the files that it began with need not be there any more
        if config.init:
            tell(checkpoint.load(net, hub.resolve(config.init), spec, reset_head=config.reset_head).summary())
        elif config.backbone:
            tell(checkpoint.load_backbone(net, hub.resolve(config.backbone)).summary())
    run = _run(config, spec, net, people, val, device, team)
    if run.people_a_step < config.accumulate * team.size:
        raise ValueError(
            f"a batch of {run.people_a_step} people cannot be worked on in {config.accumulate} parts by {team.size} "
            "processes: choose a larger batch, or a smaller accumulate"
        )
    if device.type == "cuda":
        preflight(run.rehearse, ceil(run.people_a_step / team.size), config.accumulate, f"the memory of {device}")
    if resume:
        run.restore()
    with closing(run.loader):
        yield run


def _say_nothing(text: str) -> None:
    """What processes other than the leading one say."""


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 is for CUDA devices, with scaled gradients; on the CPU use bf16 or float32")
    if precision == "bf16" and not torch_runtime.can_bf16(device):
        raise ValueError(f"this {device.type} has no bf16 arithmetic: use float32")


def _data(config: TrainConfig) -> tuple[coco.KeypointDataset, tuple[coco.KeypointDataset, dict[int, Boxes]] | None]:
    """The people to learn from, and those to evaluate on with their boxes, all of the skeleton that is asked for."""
    files = (config.train,) if isinstance(config.train, str) else config.train
    folders = (config.train_images,) * len(files) if isinstance(config.train_images, str) else config.train_images
    people = coco.read_all(files, folders, read_skeleton(config.skeleton) if config.skeleton else None)
    val = coco.read_all([config.val], [config.val_images], people.skeleton) if config.val else None
    if val and people.skeleton.sigmas is None:
        people = people.with_skeleton(val.skeleton)  # sigmas are for evaluation: its file may be the one that has them
    skeleton = with_sigmas(people, config.sigmas)
    people = people.with_skeleton(skeleton)
    if val is None:
        return people, None
    val = val.with_skeleton(skeleton)
    return people, (val, evaluator.boxes_for(val, config.val_boxes))


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """The batch in so many parts, as even as can be."""
    for places in np.array_split(np.arange(len(batch.images)), count):
        here = slice(places[0], places[-1] + 1)
        yield Batch(*(getattr(batch, field.name)[here] for field in fields(Batch)))


def _run(
    config: TrainConfig,
    spec: Spec,
    net: nn.Module,
    people: coco.KeypointDataset,
    val: tuple[coco.KeypointDataset, dict[int, Boxes]] | None,
    device: torch.device,
    team: Team,
) -> Run:
    share = (team.rank, team.size)
    loader = Loader(
        people,
        spec,
        config.augment,
        config.batch,
        seed=config.seed,
        workers=config.workers,
        shuffle=config.shuffle,
        share=share,
        keep_last=config.keep_last,
    )
    settings = LossSettings(
        config.loss_factor,
        config.ohkm_topk,
        config.coarse_to_fine,
        config.class_factor,
        config.offset_factor,
        config.use_target_weight,
        config.keypoint_weight,
    )
    learned = objective(spec.codec, config.loss, spec.skeleton, settings)
    frozen = _freeze(net, config.freeze)
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
    if config.precision == "bf16" and device.type == "cpu":
        train_fast_in_bf16(net)
    learner = team.joined(_Supervised(net), device)
    if config.compile:
        learner.compile()
    steps = optimizer(
        net,
        config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        nesterov=config.nesterov,
    )
    return Run(
        config,
        spec,
        net,
        learner,
        learned,
        steps,
        torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        Ema(net, config.ema) if config.ema else None,
        loader,
        val,
        frozen,
        device,
        team,
        total=config.steps or config.epochs * len(loader),
    )


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
