"""Run: a training under way, one step of it, and its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from posewright import __version__
from posewright.data.dataset import KeypointDataset
from posewright.data.loader import Batch, Loader
from posewright.losses import Objective
from posewright.models import codec_changes
from posewright.skeletons import to_category
from posewright.spec import Spec
from posewright.train.config import TrainConfig
from posewright.train.distributed import Team
from posewright.train.domains import Domains
from posewright.train.optim import Ema
from posewright.types import Boxes
from posewright.weights import checkpoint

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(slots=True)
class Run:
    """What changes during a run, with all that it needs to continue.

    Attributes:
        config, spec: what is trained, and how.
        net: the network.
        learner: images to its supervised maps; with several processes, it averages their gradients.
        objective: the loss.
        optimizer, scaler, ema: what follows the gradients; the scaler does nothing but for fp16.
        loader: this process's share of the training samples.
        val: the people to evaluate on, and their boxes, or None.
        frozen: modules whose statistics do not change.
        domains: those of the training samples, where the run adapts to one (WS-CDA).
        device: where the network is.
        team: the processes.
        total: steps of the whole run.
        step: steps done.
        last_eval_step: the step of the last evaluation.
        stale: evaluations since the best one.
        best: its metrics.
        first_loss: the loss of the first step since the run began or was resumed; 0 before it.
        domain_loss: the discriminator's loss of this process's last samples, where the run adapts to a domain.
        stopped: whether the processes have agreed to stop here.
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
    val: tuple[KeypointDataset, dict[int, Boxes]] | None
    frozen: tuple[nn.Module, ...]
    domains: Domains | None
    device: torch.device
    team: Team
    total: int
    step: int = 0
    last_eval_step: int = 0
    stale: int = 0
    best: dict[str, float] = field(default_factory=dict)
    first_loss: float = 0.0
    domain_loss: Tensor | None = None
    stopped: bool = False

    @property
    def out(self) -> Path:
        """The run's folder."""
        return Path(self.config.out)

    @property
    def over(self) -> bool:
        """Whether all steps are done, or no evaluation was better for long enough."""
        return self.step >= self.total or 0 < self.config.patience <= self.stale

    def train_step(self, batch: Batch, lr: float) -> tuple[float, Tensor]:
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
            with nullcontext() if part is parts[-1] else self.team.no_sync(self.learner):
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

    def _loss(self, learner: Callable[..., tuple[Tensor, ...]], part: Batch) -> tuple[Tensor, Tensor]:
        images = part.images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        target, weight = part.target.to(self.device), part.weight.to(self.device)
        precision = self.config.precision
        rows, inputs = None, (images,)
        if self.domains:
            rows = torch.from_numpy(self.domains.estimated(part.index)).to(self.device)
            inputs = images, torch.from_numpy(self.domains.animal[part.index]).to(self.device), rows
        with torch.autocast(self.device.type, _TYPES[precision], enabled=precision != "float32"):
            outputs = learner(*inputs)
        outputs = tuple(o.float() for o in outputs)
        if self.domains is None or rows is None:
            return self._weighted(outputs, target, weight, part.index), outputs[-1]
        *maps, logits = outputs
        pose = self._weighted(tuple(maps), target[rows], weight[rows], part.index[rows.cpu().numpy()])
        found = maps[-1].new_zeros(len(images), *maps[-1].shape[1:])  # those that were not estimated are empty
        found[rows] = maps[-1].detach()
        total, of_domain = self.domains.loss(logits, pose, part.index)
        self.domain_loss = of_domain.detach()
        return total, found

    def _weighted(self, outputs: tuple[Tensor, ...], target: Tensor, weight: Tensor, index: np.ndarray) -> Tensor:
        """The loss of samples, each counted as much as its file and its species do.

        Where unlabelled points are learned as empty, those of partly labelled files are left out.
        """
        origin, partial = self.loader.people.origin, self.config.file_partial
        if partial:
            file = np.zeros_like(index) if origin is None else origin[index]
            partly = torch.from_numpy(np.array(partial)[file]).to(weight.device)
            weight = torch.where(partly[:, None], weight, 1.0)
        files = self.config.file_weights
        if not files and (self.domains is None or self.domains.settings.animal_factor == 1):
            return self.objective(outputs, target, weight)
        factors = np.ones(len(index))
        if files and origin is not None:
            factors *= np.array(files)[origin[index]]
        if self.domains:
            factors[self.domains.animal[index]] *= self.domains.settings.animal_factor
        losses = []
        for factor in np.unique(factors):
            rows = np.flatnonzero(factors == factor)
            loss = self.objective(tuple(o[rows] for o in outputs), target[rows], weight[rows])
            losses.append(loss * float(factor) * len(rows) / len(index))
        return torch.stack(losses).sum()

    def dry_run(self, people: int) -> None:
        """Compute the gradients of a dummy batch of n people, with as much memory as in a step; nothing changes by it.

        Raises:
            torch.OutOfMemoryError: they do not fit.
        """
        codec, points = self.spec.codec, self.spec.skeleton.num_keypoints
        xy, visibility = np.zeros((people, points, 2)), np.full((people, points), 2, np.uint8)
        target, weight = map(torch.from_numpy, codec.encode(xy, visibility))
        part = Batch(torch.zeros(people, 3, *self.spec.size), target, weight, xy, visibility, np.arange(people))
        self.net.eval()  # batch norms then keep their statistics and do not synchronise
        moments = [torch.empty_like(p) for p in self.net.parameters() for _ in range(2)]  # such as Adam's
        learner = self.domains.learner if self.domains else self.net.supervised
        loss, _ = self._loss(learner, part)  # pyright: ignore[reportArgumentType]
        loss.backward()
        self.optimizer.zero_grad(set_to_none=True)
        del moments

    @property
    def people_per_step(self) -> int:
        """People in a batch, of all processes together."""
        return self.loader.people_in(0)

    def state(self) -> dict[str, Tensor]:
        """The weights to evaluate: the average, where there is one."""
        return self.ema.state if self.ema else self.net.state_dict()

    def identity(self) -> dict[str, Any]:
        """What every checkpoint says of itself."""
        return {
            "posewright": __version__,
            "spec": self.spec.name,
            "codec": codec_changes(self.spec),
            "skeleton": to_category(self.spec.skeleton),
            "config": msgspec.to_builtins(self.config),
        }

    def save(self) -> None:
        """Write `last.pt`: all that `restore` needs. One process does it for all."""
        if not self.team.is_main:
            return
        content = self.identity() | {
            "model": self.net.state_dict(),
            "ema": None if self.ema is None else {"state": self.ema.state, "updates": self.ema.updates},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "discriminator": self.domains and self.domains.learner.discriminator.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "last_eval_step": self.last_eval_step,
            "stale": self.stale,
            "best": self.best,
        }
        checkpoint.write_checkpoint(self.out / "last.pt", content)

    def restore(self) -> None:
        """Resume where `last.pt` stopped.

        Raises:
            ValueError: it is of another pose system or version, or holds values of the wrong kind.
        """
        path = self.out / "last.pt"
        content = checkpoint.read_checkpoint(path)
        if content.get("spec") != self.spec.name:
            raise ValueError(f"{path}: holds a run of {content.get('spec')!r}, not of {self.spec.name!r}")
        if (
            not {"model", "ema", "optimizer", "scaler", "rng", "step", "last_eval_step", "stale", "best"}
            <= content.keys()
        ):
            raise ValueError(
                f"{path}: of another version of Posewright; start a new run with its weights (--init {path})"
            )
        try:
            self._load(content)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: damaged, or not of this configuration ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); start a new run with --init and intact weights, "
                f"such as {self.out / 'best.pt'}"
            ) from None

    def _load(self, content: dict[str, Any]) -> None:
        self.net.load_state_dict(content["model"])
        if self.domains:
            self.domains.learner.discriminator.load_state_dict(content["discriminator"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.ema:
            state = {name: value.to(self.device) for name, value in content["ema"]["state"].items()}
            self.ema.state, self.ema.updates = state, content["ema"]["updates"]
        torch.set_rng_state(content["rng"])
        counts = msgspec.convert([content[k] for k in ("step", "last_eval_step", "stale")], tuple[int, int, int])
        self.step, self.last_eval_step, self.stale = counts
        self.best = msgspec.convert(content["best"], dict[str, float])


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """The batch split into that many parts, as evenly as possible."""
    for places in np.array_split(np.arange(len(batch.images)), count):
        rows = slice(places[0], places[-1] + 1)
        yield Batch(*(getattr(batch, field.name)[rows] for field in fields(Batch)))
