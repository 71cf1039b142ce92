"""Pose systems on a GPU from crops to keypoints: pixels go there as they are read, and only keypoints come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.backends import cudnn

from posewright.progress import say
from posewright.runtime.graph import PoseGraph
from posewright.spec import Spec

_Run: TypeAlias = Callable[[], tuple[Tensor, Tensor]]
"""Finds the keypoints and scores of the crops that lie on the GPU."""

SLOTS = 2
"""Batches under way: one is sent, or read, while the GPU computes the other."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Memory of the host that a GPU reads and writes by itself, for one batch."""

    crops: Tensor  # [B, H, W, 3] uint8
    keypoints: Tensor  # [B, K, 2] float32
    scores: Tensor  # [B, K] float32


class GpuNetwork:
    """A pose system on a GPU. Safe to call from several threads.

    Batches are filled up to a power of two, and for each of these sizes what the GPU does is recorded once, as a CUDA
    graph, and replayed: small networks spend more time on starting their hundreds of operations than on them. A network
    that cannot be recorded, such as one whose path hangs on values, is run operation by operation, which is said.

    Args:
        graph: on the GPU, in evaluation mode; it decodes.
        spec: its pose system.
        device: the GPU.
        batch: most crops of a run.
    """

    def __init__(self, graph: PoseGraph, spec: Spec, device: torch.device, batch: int) -> None:
        size, num_keypoints = spec.size, spec.skeleton.num_keypoints
        self._graph, self._device, self._batch = graph, device, batch
        self._stream, self._lock = torch.cuda.Stream(self._device), Lock()
        self._crops = torch.zeros((batch, *size, 3), dtype=torch.uint8, device=self._device)
        self._recorded: dict[int, _Run] = {}
        self._memory = torch.cuda.graph_pool_handle()
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        for _ in range(SLOTS):
            shapes = (batch, num_keypoints, 2), (batch, num_keypoints)
            keypoints, scores = (torch.empty(shape, pin_memory=True) for shape in shapes)
            self._free.put(_Slot(torch.empty((batch, *size, 3), dtype=torch.uint8, pin_memory=True), keypoints, scores))
        torch.cuda.synchronize(device)  # our stream does not wait for what other streams do, such as these zeros

    def keypoints(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops [N, H, W, 3] uint8 RGB to keypoints [N, K, 2] in input pixels and scores [N, K], float64.

        Raises:
            ValueError: the network yields NaN or infinity.
            torch.OutOfMemoryError: the GPU has no room for a batch.
        """
        parts = [self._run(crops[start : start + self._batch]) for start in range(0, len(crops), self._batch)]
        xy, score = (np.concatenate(arrays) for arrays in zip(*parts))
        if not (np.isfinite(xy).all() and np.isfinite(score).all()):
            raise ValueError("the network yields NaN or infinity; its weights are unusable")
        return xy, score

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, slot = len(crops), self._free.get()
        try:
            slot.crops[:count].copy_(torch.from_numpy(crops))
            with (
                self._lock,
                exact_convolutions(),
                torch.inference_mode(),
                torch.cuda.device(self._device),
                torch.cuda.stream(self._stream),
            ):
                run = self._of_size(min(1 << (count - 1).bit_length(), self._batch))
                self._crops[:count].copy_(slot.crops[:count], non_blocking=True)
                for kept, found in zip((slot.keypoints, slot.scores), run()):
                    kept[:count].copy_(found[:count], non_blocking=True)
                done = self._stream.record_event()
            done.synchronize()  # without the lock: another thread sends its batch meanwhile
            return slot.keypoints[:count].numpy().astype(np.float64), slot.scores[:count].numpy().astype(np.float64)
        finally:
            self._free.put(slot)

    def _of_size(self, count: int) -> _Run:
        """What finds the keypoints of the first `count` crops on the GPU, recorded the first time."""
        if count not in self._recorded:
            self._recorded[count] = self._record(self._crops[:count])
        return self._recorded[count]

    def _record(self, crops: Tensor) -> _Run:
        run = partial(self._graph, crops)
        recording = torch.cuda.CUDAGraph()
        try:
            for _ in range(3):  # cuDNN chooses its kernels, and libraries get their memory, before anything is recorded
                run()
            self._stream.synchronize()
            with torch.cuda.graph(recording, self._memory, self._stream, capture_error_mode="thread_local"):
                found = run()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            say(f"GPU: the network runs operation by operation, as it cannot be recorded: {str(error).splitlines()[0]}")
            return run

        def replay() -> tuple[Tensor, Tensor]:
            recording.replay()
            return found

        return replay


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions on a GPU in float32, not rounded to the 10 bits of TF32 as by default, in the fastest way tried."""
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32 = True, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before
