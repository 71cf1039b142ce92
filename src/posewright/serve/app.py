"""The server as a FastAPI application: its routes, its page, and errors of one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from posewright import __version__
from posewright.serve.answer import Answer, Failure, Models
from posewright.serve.service import Service

_PAGE_MAY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FIELDS = {
    "model": {"type": "string", "description": "name of a served model; the first of /v1/models where left out"},
    "detector": {"type": "string", "description": "name of a served detector, or none: the image is of one person"},
    "boxes": {"type": "string", "description": "JSON [[x, y, width, height], ...] in image pixels, for a detector's"},
    "threshold": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.3},
    "format": {"type": "string", "enum": ["json", "jpeg"], "default": "json"},
}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary", "description": "an image file"}, **_FIELDS},
}
_POSES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": _FORM}, "image/*": {"schema": {"format": "binary"}}},
    },
    "parameters": [
        {"name": name, "in": "query", "schema": schema, "description": "as in the form, where the body is an image"}
        for name, schema in _FIELDS.items()
    ],
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": why}
    for status, why in (
        (400, "not a request that can be read"),
        (408, "the body took too long to arrive"),
        (413, "more bytes, pixels or boxes than the server takes"),
        (415, "neither a form nor an image"),
        (422, "not an image, or a field with a wrong value"),
        (431, "more headers than the server takes"),
        (429, "as many requests are in progress as may be: try again"),
        (503, "it took too long: try again later"),
    )
}


def create_app(service: Service, token: str = "") -> FastAPI:
    """The application over a service, which is closed when it stops.

    Args:
        service: what answers.
        token: where given, `/v1/` and `/metrics` ask for `Authorization: Bearer TOKEN`.
    """

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(title="Posewright", version=__version__, lifespan=running, docs_url=None, redoc_url=None)
    app.include_router(_routes(service), dependencies=[Depends(_bearer(token))] if token else [])
    app.include_router(_pages())
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    return app


def _routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/poses", response_model=Answer, responses=_REFUSALS, openapi_extra=_POSES)
    async def poses(request: Request) -> Response:
        """The poses in an image, as JSON or drawn into it."""
        start, status = time.monotonic(), 500
        try:
            body, kind = await service.poses(request)
            status = 200
        except AnyHTTPException as error:
            status = error.status_code
            raise
        finally:
            service.metrics.answered(status, time.monotonic() - start)
        return Response(body, media_type=kind)

    @router.get("/v1/models")
    async def models() -> Models:
        """The models and detectors to choose from, and the server's limits."""
        return service.about()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """What the server counts, in Prometheus's text format."""
        return PlainTextResponse(service.metrics.text(service.models), media_type="text/plain; version=0.0.4")

    return router


def _pages() -> APIRouter:
    """What needs no token: the pages, and whether the server is up."""
    router = APIRouter()

    def page(path: str, file: str) -> None:
        text = (resources.files("posewright.serve") / file).read_text("utf-8")
        headers = {"Content-Security-Policy": _PAGE_MAY, "Referrer-Policy": "no-referrer"}
        router.add_api_route(path, lambda: HTMLResponse(text, headers=headers), include_in_schema=False)

    page("/", "page.html")
    page("/docs", "api.html")

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Whether the server is up."""
        return "ok\n"

    return router


def _bearer(token: str) -> Callable[[Request], None]:
    expected = f"Bearer {token}".encode()

    def check(request: Request) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), expected):
            raise HTTPException(
                401,
                "expected the header 'Authorization: Bearer TOKEN' with this server's token",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


def _refused(_: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
    return JSONResponse({"error": str(getattr(error, "detail", error))}, status, headers)


def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the server failed ({type(error).__name__}); its log says more"}, 500)
