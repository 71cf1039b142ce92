"""Concurrent callers share runs of the network: what is waiting when a run ends goes into the next one together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias, cast

import numpy as np
from torch import Tensor

from posewright.predict.predictor import Predictor

Keypoints: TypeAlias = tuple[np.ndarray, np.ndarray]
_Waiting: TypeAlias = "tuple[np.ndarray, Future[Keypoints]]"


class SharedPredictor(Predictor):
    """A predictor for many threads at once: their crops are stacked into one run of the network, in one thread.

    Nothing waits for company: a lone caller's crops run at once, and those that arrive meanwhile run next, together.
    It gives the keypoints of the predictor that it stands for, whose batch is the most crops of a run.

    Args:
        predictor: the one to stand for.

    Attributes:
        runs: how often the network ran.
        crops: how many crops ran in all.
    """

    def __init__(self, predictor: Predictor) -> None:
        net = cast("Callable[[Tensor], Tensor]", predictor.net.__call__)  # a network itself would be fitted once more
        super().__init__(predictor.spec, net, flip=predictor.flip, batch=predictor.batch, device=predictor.device)
        self.calibration = predictor.calibration
        self.runs = self.crops = 0
        self._predictor = predictor
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="posewright-network", daemon=True)
        self._thread.start()

    def keypoints(self, crops: np.ndarray) -> Keypoints:
        """See `Predictor.keypoints`; returns once the run with these crops has ended.

        Raises:
            RuntimeError: the predictor is closed.
        """
        if not len(crops):
            return self._predictor.keypoints(crops)
        done: Future[Keypoints] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("this predictor is closed")
            self._waiting.append((crops, done))
            self._changed.notify()
        return done.result()

    def close(self) -> None:
        """End the thread, after all that waits has run."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while together := self._next():
            crops = [crops for crops, _ in together]
            try:
                xy, score = self._predictor.keypoints(np.concatenate(crops) if len(crops) > 1 else crops[0])
            except BaseException as error:  # each caller hears of it, and the thread lives on
                for _, done in together:
                    done.set_exception(error)
                continue
            self.runs += 1
            self.crops += len(xy)
            start = 0
            for part, done in together:
                done.set_result((xy[start : start + len(part)], score[start : start + len(part)]))
                start += len(part)

    def _next(self) -> list[_Waiting]:
        """What fits into one run of what waits, in its order; nothing once it is closed and all has run."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            together: list[_Waiting] = []
            room = self.batch
            while self._waiting and (not together or len(self._waiting[0][0]) <= room):
                together.append(self._waiting.popleft())
                room -= len(together[-1][0])
            return together
