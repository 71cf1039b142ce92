"""Several processes that train and evaluate as one, on one machine or more, as `torchrun` starts them.

Each takes its share of every batch, and gradients are averaged (DistributedDataParallel). Batch norms take their
statistics over the whole batch, by torch's SyncBatchNorm on GPUs and `SyncedBatchNorm` elsewhere, so that N processes
compute what one does, but for the order of sums.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from posewright.predict.predictor import Image, Predictor, Where
from posewright.spec import Spec
from posewright.types import Poses

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run, or the only one: which one this is, of how many."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the main process (rank 0), which writes files and reports."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Each of the values, summed over the processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank."""
        found: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Wait until every process is here; then all see what the main process wrote."""
        self.gather(None)

    def device(self, name: str) -> torch.device:
        """The device of that name ("auto": a GPU where there is one); GPUs are dealt out over a machine's processes."""
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda" and self.size > 1:
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return torch.device(name)

    def wrap(self, learner: nn.Module, device: torch.device) -> nn.Module:
        """A module that trains together with those of the other processes; alone it stays as it is."""
        if self.size == 1:
            return learner
        if device.type == "cuda":
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)
        else:
            _synchronise(learner)
        return DistributedDataParallel(learner, device_ids=[device] if device.type == "cuda" else None)

    def no_sync(self, learner: nn.Module) -> AbstractContextManager[None]:
        """While it lasts, gradients add up in each process, and are averaged after it."""
        return learner.no_sync() if isinstance(learner, DistributedDataParallel) else nullcontext()


@contextmanager
def team() -> Iterator[Team]:
    """The processes that `torchrun` started together with this one; without it, this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    initialised = distributed.is_initialized()
    if not initialised:
        # What is small, such as sums and poses, goes by gloo, which needs no GPU's attention.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield Team(distributed.get_rank(), distributed.get_world_size())
    if not initialised:  # after an error the others may wait for this one: it ends, and torchrun ends them
        gc.collect()  # networks that average their gradients must not outlive the group that they do it by
        distributed.destroy_process_group()


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' samples, of any number in each."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, h, w], unchanged in shape."""
        if not self.training:
            return super().forward(input)
        x, over = input.float(), (0, 2, 3)
        average, spread = x.mean(over).double(), x.var(over, correction=0).double()
        number = torch.full_like(average, x.numel() / x.shape[1])
        # In double precision nothing is lost by subtracting squares.
        count, first, second = _Sum.apply(
            number * torch.stack([torch.ones_like(average), average, spread + average.square()])
        )
        mean = first / count
        variance = second / count - mean.square()
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.running_mean.lerp_(mean.float(), self.momentum or 0.0)
            self.running_var.lerp_((variance * count / (count - 1)).float(), self.momentum or 0.0)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt().float()
        shift = self.bias - mean.float() * scale
        return (x * scale[:, None, None] + shift[:, None, None]).to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over processes of what each has; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def _synchronise(module: nn.Module) -> None:
    """Make the batch norms within a module `SyncedBatchNorm`s, with the parameters that they have."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(module, name, synced)
        else:
            _synchronise(child)


class TeamPredictor(Predictor):
    """A predictor whose processes share the images among them; every one gets all poses."""

    def __init__(self, spec: Spec, net: nn.Module, team: Team, *, flip: bool, device: torch.device) -> None:
        super().__init__(spec, net, flip=flip, device=device)
        self.team = team

    def many(self, items: Iterable[Image | tuple[Image, Where]], *, upright: bool = True) -> Iterator[Poses]:
        """See `Predictor.many`; all processes must ask for the same images."""
        rank, size = self.team.rank, self.team.size
        rest = iter(items)
        while chunk := list(islice(rest, 16 * self.batch * size)):
            shares = self.team.gather(list(super().many(chunk[rank::size], upright=upright)))
            yield from (shares[n % size][n // size] for n in range(len(chunk)))
