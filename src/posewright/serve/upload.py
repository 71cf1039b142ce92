"""A request's body and fields, read within the limits: what is asked, or an error of one sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from fastapi import HTTPException, Request
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.requests import ClientDisconnect

from posewright.serve.limits import Limits

HEAD = 1 << 14
"""Bytes of a request's headers."""

_FIELDS = ("model", "detector", "boxes", "threshold", "format")
_Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        image: the encoded file.
        model: name of a served model; empty for the first.
        detector: name of a served detector, "none" for the whole image, empty for the first detector there is.
        boxes: x, y, width, height in image pixels; None lets the detector find them.
        threshold: score above which keypoints are drawn and marked as shown.
        format: of the answer.
    """

    image: bytes
    model: str = ""
    detector: str = ""
    boxes: list[tuple[float, float, float, float]] | None = None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    format: Literal["json", "jpeg"] = "json"


async def read(request: Request, limits: Limits) -> Asked:
    """What a request asks for: a form with the file `image`, or an image alone with the fields in the query.

    Raises:
        HTTPException: 400, 408, 413, 415, 422 or 431, with one sentence.
    """
    if (size := sum(len(name) + len(value) for name, value in request.headers.raw)) > HEAD:
        raise HTTPException(431, f"the headers are {size} bytes; this server takes at most {HEAD}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    within = Request(request.scope, _bounded(request.receive, request.headers, limits))
    try:
        if kind == "multipart/form-data":
            async with within.form(max_files=1, max_fields=len(_FIELDS), max_part_size=1 << 16) as form:
                if not isinstance(image := form.get("image"), UploadFile):
                    got = "text" if image else "no such field"
                    raise HTTPException(422, f"expected a file in the field 'image', got {got}")
                return _asked(await image.read(), form, request)
        if kind.startswith("image/") or kind == "application/octet-stream":
            return _asked(await within.body(), request.query_params, request)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the whole body had arrived") from None
    raise HTTPException(
        415, f"expected a multipart/form-data body with a file 'image', or an image as the body, got {kind[:80]!r}"
    )


def _asked(image: bytes, fields: FormData | QueryParams, request: Request) -> Asked:
    if unknown := sorted(set(fields) - {*_FIELDS, "image"}):
        raise HTTPException(422, f"unknown field {unknown[0][:80]!r}; expected {', '.join(_FIELDS)}")
    given = {name: value for name in _FIELDS if isinstance(value := fields.get(name), str) and value}
    if "format" not in given and "image/jpeg" in request.headers.get("accept", ""):
        given["format"] = "jpeg"
    try:
        boxes = msgspec.json.decode(given["boxes"]) if "boxes" in given else None
        return msgspec.convert({**given, "image": image, "boxes": boxes}, Asked, strict=False)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        reason, _, place = str(error).partition(" - at `$")
        field = place.strip(".`") or "boxes"
        wanted = _EXPECTED.get(field.partition("[")[0], "text")
        raise HTTPException(422, f"field {field}: expected {wanted}, got another ({reason})") from None


_EXPECTED = {
    "boxes": "a JSON list of [x, y, width, height] in image pixels",
    "threshold": "a number from 0 to 1",
    "format": "json or jpeg",
}


def _bounded(
    receive: Callable[[], Awaitable[_Message]], headers: Any, limits: Limits
) -> Callable[[], Awaitable[_Message]]:
    """A request's messages, until there are too many bytes or they take too long."""
    too_many = HTTPException(413, f"the request has more than {limits.bytes} bytes, the most that this server takes")
    if (claimed := headers.get("content-length", "0")).isdigit() and int(claimed) > limits.bytes:
        raise too_many
    deadline, taken = time.monotonic() + limits.seconds, 0

    async def bounded() -> _Message:
        nonlocal taken
        try:
            message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0.001))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request's body did not arrive within {limits.seconds:g} s") from None
        taken += len(message.get("body", b""))
        if taken > limits.bytes:
            raise too_many
        return message

    return bounded
