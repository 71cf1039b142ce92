"""Models and detectors behind the limits: what the server's routes call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from fastapi import HTTPException, Request

from posewright import image
from posewright.draw import draw
from posewright.predict.boxes import Detector
from posewright.predict.predictor import Predictor
from posewright.serve import upload
from posewright.serve.answer import Models, about, answer
from posewright.serve.limits import Limits
from posewright.serve.metrics import Metrics
from posewright.serve.shared_runs import SharedPredictor
from posewright.types import Boxes

NONE = "none"
"""The detector that is none: the image is taken for one person."""

_T = TypeVar("_T")


class Service:
    """Models and detectors behind the limits: what the routes call.

    Args:
        models: predictors by the names that requests choose them by; the first is the default.
        detectors: of people, by name; the first is the default, and without any the image is taken for one person.
        limits: see `Limits`.

    Raises:
        ValueError: there is no model.
    """

    def __init__(
        self,
        models: Mapping[str, Predictor],
        detectors: Mapping[str, Detector] | None = None,
        limits: Limits | None = None,
    ) -> None:
        if not models:
            raise ValueError("serve: expected at least one model")
        self.models = {name: SharedPredictor(predictor) for name, predictor in models.items()}
        self.detectors, self.limits, self.metrics = dict(detectors or {}), limits or Limits(), Metrics()
        self._pool = ThreadPoolExecutor(self.limits.threads, "posewright-request")

    def about(self) -> Models:
        """What a request may choose from."""
        limits = {name: float(getattr(self.limits, name)) for name in ("bytes", "pixels", "boxes")}
        models = [about(name, predictor) for name, predictor in self.models.items()]
        return Models(models=models, detectors=[*self.detectors, NONE], limits=limits)

    async def poses(self, request: Request) -> tuple[bytes, str]:
        """The body of a request's answer, and its media type.

        An accepted request holds its place until it is worked off, also where its client has stopped waiting.

        Raises:
            HTTPException: 429 where as many requests are in progress as may be, 503 where it took too long, and those
                of `upload.read` and of the work itself.
        """
        if self.metrics.in_progress >= self.limits.requests:
            raise HTTPException(
                429, f"{self.limits.requests} requests are in progress; try again shortly", {"Retry-After": "1"}
            )
        self.metrics.in_progress += 1
        try:
            asked = await upload.read(request, self.limits)
            job = self._pool.submit(self._work, asked)
        except BaseException:
            self.metrics.left()
            raise
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self.metrics.left))
        try:
            body, kind, people = await asyncio.wait_for(asyncio.wrap_future(job), self.limits.seconds)
        except asyncio.TimeoutError:
            raise HTTPException(503, f"no answer within {self.limits.seconds:g} s; try again later") from None
        self.metrics.people += people
        return body, kind

    def close(self) -> None:
        """Work off what was accepted, and end the threads."""
        self._pool.shutdown()
        for predictor in self.models.values():
            predictor.close()

    def _work(self, asked: upload.Asked) -> tuple[bytes, str, int]:
        """Decode, find, answer, in a thread of the pool: the body, its media type and how many people are in it."""
        name = asked.model or next(iter(self.models))
        predictor = _chosen("model", name, self.models)
        try:
            where = self._where(asked)  # before the image: what costs less is checked first
            pixels = image.decode(asked.image, "image", max_pixels=self.limits.pixels)
            poses = predictor(pixels, where)
        except image.TooLargeError as error:
            raise HTTPException(413, f"{error.found} of this server, which is set with --max-megapixels") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        if asked.format == "jpeg":
            return image.encode(draw(pixels, poses, threshold=asked.threshold), ".jpg"), "image/jpeg", len(poses)
        told = answer(name, poses, (pixels.shape[0], pixels.shape[1]), asked.threshold)
        return told.model_dump_json().encode(), "application/json", len(poses)

    def _where(self, asked: upload.Asked) -> Boxes | Detector | None:
        """Where the people are, as a predictor takes it."""
        if asked.boxes is not None:
            if len(asked.boxes) > self.limits.boxes:
                most = self.limits.boxes
                raise HTTPException(413, f"{len(asked.boxes)} boxes; this server takes at most {most}")
            return Boxes.of(asked.boxes, source="request")
        name = asked.detector or next(iter(self.detectors), NONE)
        if name == NONE:
            return None
        detector = _chosen("detector", name, self.detectors, NONE)
        return lambda pixels: self._best(detector(pixels))

    def _best(self, boxes: Boxes) -> Boxes:
        """As many boxes as the limit allows, the best; their source says so where some were left out."""
        if len(boxes) <= (most := self.limits.boxes):
            return boxes
        best = boxes[(-boxes.score).argsort(kind="stable")[:most]]
        return replace(best, source=f"{boxes.source}, best {most} of {len(boxes)}")


def _chosen(what: str, name: str, known: Mapping[str, _T], *more: str) -> _T:
    if name not in known:
        raise HTTPException(422, f"no {what} is named {name[:80]!r}; there are: {', '.join([*known, *more])}")
    return known[name]
