"""A local server that does what servers do, and an empty cache."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from posewright.weights import _download


def zipped(content: bytes) -> bytes:
    """An archive that holds that content beside something else."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "nothing")
        archive.writestr("models/net.pth", content)
    return file.getvalue()


def encrypted(content: bytes) -> bytes:
    """The same, said to be encrypted in its directory and before the file."""
    data = bytearray(zipped(content))
    data[data.rindex(b"PK\x03\x04") + 6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; the path says what goes wrong. `asked` is a log of (path, Range)."""

    content: bytes
    asked: list[tuple[str, str | None]]
    etag = '"v1"'

    def do_HEAD(self) -> None:
        self.asked.append((self.path, "HEAD"))
        self.send_response(404 if "404" in self.path else 200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self) -> None:
        span = self.headers.get("Range")
        self.asked.append((self.path, span))
        kind = self.path.strip("/").split("/")[0]
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "/whole/net.pth")
            self.end_headers()
        elif kind in ("404", "503"):
            self.send_error(int(kind))
        elif kind == "page":
            self.answer(b"<html>sign in</html>", kind="text/html")
        elif kind == "login":
            self.answer(b"\n <html>sign in</html>")
        elif kind == "wrong":
            self.answer(self.content[::-1])
        elif kind == "zip":
            self.answer(zipped(self.content))
        elif kind == "encrypted":
            self.answer(encrypted(self.content))
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)
        else:
            start = int(span[6:-1]) if span and self.headers.get("If-Range") == self.etag else 0
            self.partial(kind, start)

    def partial(self, kind: str, start: int) -> None:
        body = self.content[start:]
        if not body:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if kind != "untagged":
            self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.body(kind, body)

    def body(self, kind: str, body: bytes) -> None:
        if kind in ("broken", "untagged"):
            body = body[:4000]
        if kind == "stalls":
            self.wfile.write(body[:4000])
            time.sleep(0.6)
            return
        for at in range(0, len(body), 3000):
            self.wfile.write(body[at : at + 3000])
            time.sleep(0.02 if kind == "slow" else 0)

    def answer(self, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


class Server:
    """The address, and what was asked for."""

    etag = Handler.etag

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        return Handler.asked


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves the test file's CONTENT."""
    monkeypatch.setattr(Handler, "content", request.module.CONTENT, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "asked", [], raising=False)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(http.server_address[1])
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache's folder; tries follow each other without a pause."""
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POSEWRIGHT_OFFLINE", raising=False)
    monkeypatch.setattr(_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    return tmp_path / "cache"
