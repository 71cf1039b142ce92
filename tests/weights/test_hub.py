"""Downloading published weights: against a local server that does what servers do."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from posewright.models import DEFAULT
from posewright.weights import _download, _registry, hub
from posewright.weights._download import download
from posewright.weights.hub import Entry

CONTENT = bytes(range(1, 256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def zipped() -> bytes:
    """An archive that holds CONTENT beside something else."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "nothing")
        archive.writestr("models/net.pth", CONTENT)
    return file.getvalue()


def encrypted() -> bytes:
    """The same, said to be encrypted in its directory and before the file."""
    data = bytearray(zipped())
    data[data.rindex(b"PK\x03\x04") + 6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; the path says what goes wrong. `asked` is a log of (path, Range)."""

    asked: list[tuple[str, str | None]]
    etag = '"v1"'

    def do_HEAD(self) -> None:
        self.asked.append((self.path, "HEAD"))
        self.send_response(404 if "404" in self.path else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
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
            self.answer(CONTENT[::-1])
        elif kind == "zip":
            self.answer(zipped())
        elif kind == "encrypted":
            self.answer(encrypted())
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            start = int(span[6:-1]) if span and self.headers.get("If-Range") == self.etag else 0
            self.partial(kind, start)

    def partial(self, kind: str, start: int) -> None:
        body = CONTENT[start:]
        if not body:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
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

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        return Handler.asked


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "asked", [], raising=False)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(http.server_address[1])
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POSEWRIGHT_OFFLINE", raising=False)
    monkeypatch.setattr(_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    return tmp_path / "cache"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """A table that tests fill in place of the real one."""
    entries: dict[str, Entry] = {}
    monkeypatch.setattr(hub, "table", lambda: entries)
    monkeypatch.setattr(_registry, "table", lambda: entries)
    return entries


def published(*urls: str, sha256: str = DIGEST[:8], file: str = "net.pth") -> Entry:
    return Entry("net", "toy-64x48", "coco", "64x48", urls, sha256, file, "us", "MIT", "")


def partials(cache: Path) -> list[str]:
    return [p.name for p in (cache / "partial").iterdir() if p.suffix != ".lock"]


@pytest.mark.parametrize("kind", ["whole", "slow", "redirect"])
def test_pull(server: Server, table: dict[str, Entry], cache: Path, kind: str) -> None:
    table["net"] = published(f"{server.root}/{kind}/net.pth")
    calls: list[tuple[int, int]] = []
    path = hub.pull("net", progress=lambda done, total: calls.append((done, total)))
    assert path == cache / "weights" / DIGEST / "net.pth"
    assert path.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert partials(cache) == []
    before = len(server.asked)
    assert hub.pull("net") == path
    assert len(server.asked) == before


def test_a_download_that_breaks_off_again_and_again_goes_on_each_time(server: Server, table: dict[str, Entry]) -> None:
    table["net"] = published(f"{server.root}/broken/net.pth")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [None, "bytes=4000-", "bytes=8000-"]


def test_an_interrupted_process_is_resumed_by_the_next(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.root}/broken/net.pth", part, progress=interrupt)
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    calls: list[int] = []
    download(f"{server.root}/whole/net.pth", part, progress=lambda done, total: calls.append(done))
    assert part.read_bytes() == CONTENT
    assert server.asked[-1] == ("/whole/net.pth", f"bytes={have}-")
    assert calls[0] > have


def test_a_file_that_has_changed_meanwhile_is_downloaded_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"of the old file")
    (tmp_path / "part.tag").write_text('"v0"')
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT


def test_what_is_already_complete_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT)
    (tmp_path / "part.tag").write_text(Handler.etag)
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_left_over_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT + b"more")
    (tmp_path / "part.tag").write_text(Handler.etag)
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT


def test_servers_that_never_get_further_are_given_up(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"untagged/net: interrupted after 4000 of 10200 bytes \(4 tries\)"):
        download(f"{server.root}/untagged/net", tmp_path / "part")
    with pytest.raises(OSError, match=r"503/net: 503 .* \(4 tries\)"):
        download(f"{server.root}/503/net", tmp_path / "other")
    assert [span for _, span in server.asked] == [None] * 8


def test_a_server_that_falls_silent_is_asked_again(server: Server, tmp_path: Path) -> None:
    download(f"{server.root}/stalls/net", tmp_path / "part", timeout=0.2)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [None, "bytes=4000-", "bytes=8000-"]


def test_mirrors_are_tried_in_order(server: Server, table: dict[str, Entry], cache: Path) -> None:
    bad = [f"{server.root}/{kind}/net.pth" for kind in ("404", "page", "login", "wrong")]
    table["net"] = published(*bad, f"{server.root}/whole/net.pth")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [path.split("/")[1] for path, _ in server.asked] == ["404", "page", "login", "wrong", "whole"]
    assert partials(cache) == []


def test_every_mirrors_reason_is_told(server: Server, table: dict[str, Entry], cache: Path) -> None:
    table["net"] = published(*(f"{server.root}/{kind}/net.pth" for kind in ("404", "page", "login", "wrong")))
    wrong = hashlib.sha256(CONTENT[::-1]).hexdigest()[:8]
    message = (
        r"net cannot be downloaded: .*404/net\.pth: 404 Not Found; .*page/net\.pth: answered with a web page.*; .* is "
        rf"a web page, not the file of net.*; net\.pth has the sha256 {wrong}, published was {DIGEST[:8]}: damaged, or "
        r"not the file of net\. Or: net: open .*404/net\.pth or .* in a browser, download net\.pth \(sha256 "
        rf"{DIGEST[:8]}…\), then `posewright weights import net net\.pth`"
    )
    with pytest.raises(OSError, match=message):
        hub.pull("net")
    assert not (cache / "weights").exists()
    assert hub.cached("net") is None


def test_nobody_listens(table: dict[str, Entry]) -> None:
    table["net"] = published("http://127.0.0.1:9/net.pth")
    with pytest.raises(OSError, match=r"net cannot be downloaded: .*refused"):
        hub.pull("net")


def test_folders_in_a_browser_say_what_to_do(table: dict[str, Entry]) -> None:
    table["net"] = published("https://drive.google.com/drive/folders/x")
    message = (
        r"net: open https://drive\.google\.com/drive/folders/x in a browser, download net\.pth "
        rf"\(sha256 {DIGEST[:8]}…\), then `posewright weights import net net\.pth`"
    )
    with pytest.raises(OSError, match=message):
        hub.pull("net")
    assert hub.entry("net").access == "browser-only"
    table["net"] = published(file="", sha256="")
    message = (
        r"net: find it \(no address is known\), download FILE \(no checksum was published\), then `posewright weights"
    )
    with pytest.raises(OSError, match=message):
        hub.pull("net")
    assert hub.entry("net").access == "unavailable"


def test_offline(server: Server, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    table["net"] = published(f"{server.root}/whole/net.pth")
    monkeypatch.setenv("POSEWRIGHT_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"net is not in the cache .* the network is switched off"):
        hub.pull("net")
    assert server.asked == []
    path = hub.pull("net", offline=False)
    assert hub.pull("net") == path
    assert hub.pull("net", offline=True) == path


def test_import(table: dict[str, Entry], tmp_path: Path, cache: Path) -> None:
    table["net"] = published("https://pan.baidu.com/s/x", file="")
    (tmp_path / "got.pth").write_bytes(CONTENT)
    path = hub.import_file("net", tmp_path / "got.pth")
    assert path == cache / "weights" / DIGEST / "got.pth"
    assert hub.pull("net") == path
    assert (tmp_path / "got.pth").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, not the file of net"),
        (b"<!DOCTYPE html>", "is a web page, not the file of net"),
        (b"other", "net.pth has the sha256 .* published was"),
    ],
)
def test_import_of_something_else(table: dict[str, Entry], tmp_path: Path, content: bytes, message: str) -> None:
    table["net"] = published("https://pan.baidu.com/s/x")
    (tmp_path / "got.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        hub.import_file("net", tmp_path / "got.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        hub.import_file("net", tmp_path / "none.pth")
    assert hub.cached("net") is None


def test_verify(table: dict[str, Entry], tmp_path: Path) -> None:
    table["net"] = published("https://pan.baidu.com/s/x")
    assert hub.verify() == []
    (tmp_path / "got.pth").write_bytes(CONTENT)
    path = hub.import_file("net", tmp_path / "got.pth")
    assert [(c.id, c.path, c.problem) for c in hub.verify()] == [("net", path, "")]
    path.write_bytes(CONTENT[:-1])
    assert "its bytes have changed since it was stored: delete it and pull net again" in hub.verify("net")[0].problem
    path.unlink()
    assert hub.verify() == []


def test_a_file_within_a_zip_archive(server: Server, table: dict[str, Entry], cache: Path) -> None:
    table["net"] = published(f"{server.root}/zip/net.whl#models/net.pth")
    path = hub.pull("net")
    assert path == cache / "weights" / DIGEST / "net.pth"
    assert path.read_bytes() == CONTENT
    assert partials(cache) == []


@pytest.mark.parametrize("place", ["zip/net.whl#models/other.pth", "whole/net.whl#models/net.pth"])
def test_an_archive_that_is_none_or_lacks_the_file(
    server: Server, table: dict[str, Entry], cache: Path, place: str
) -> None:
    table["net"] = published(f"{server.root}/{place}")
    with pytest.raises(OSError, match=r"expected a zip archive with models/\w+.pth, got another"):
        hub.pull("net")
    assert partials(cache) == []


def test_a_file_is_given_by_its_path_or_its_id(table: dict[str, Entry], tmp_path: Path) -> None:
    table["net"] = published("https://pan.baidu.com/s/x")
    assert hub.resolve("nowhere.pth") == Path("nowhere.pth")
    with pytest.raises(
        FileNotFoundError, match=r"net is not in the cache: download it first \(posewright weights pull net"
    ):
        hub.resolve("net")
    (tmp_path / "net.pth").write_bytes(CONTENT)
    kept = hub.import_file("net", tmp_path / "net.pth")
    assert hub.resolve("net") == kept
    assert hub.resolve("default") == hub.local_weights(DEFAULT)


def test_unknown_names(table: dict[str, Entry]) -> None:
    table["net"] = published("https://pan.baidu.com/s/x")
    with pytest.raises(LookupError, match=r"no published weights are named 'nett'; nearest: net \(`posewright weights"):
        hub.pull("nett")
    with pytest.raises(LookupError, match=r"'toy-64x48'; nearest: net"):
        hub.pull("toy-64x48")


@pytest.mark.parametrize(
    ("kind", "message"), [("whole", "has 10200 bytes, more than the 9000"), ("endless", "sends more")]
)
def test_downloads_are_limited(server: Server, tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(OSError, match=message):
        download(f"{server.root}/{kind}/net", tmp_path / "part", limit=9000)
    assert not (tmp_path / "part").exists()
    assert len(server.asked) == 1


def test_nothing_unhashed_without_https(server: Server, table: dict[str, Entry]) -> None:
    table["net"] = published(f"{server.root}/whole/net.pth", sha256="")
    with pytest.raises(OSError, match="not requested over http, for no checksum was published"):
        hub.pull("net", unverified=True)
    assert server.asked == []


def test_an_unhashed_file_is_taken_only_when_told(
    server: Server, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The server has no https here: the addresses are given another scheme on the way."""
    table["net"] = published(server.root.replace("http:", "https:") + "/whole/net.pth", sha256="")

    def plainly(url: str, part: Path, **options: Any) -> None:
        download(url.replace("https:", "http:"), part, **options)

    monkeypatch.setattr(hub, "download", plainly)
    with pytest.raises(
        ValueError, match=rf"no checksum was published.* sha256 of the downloaded file is {DIGEST}.*--no-verify"
    ):
        hub.pull("net")
    assert hub.cached("net") is None
    assert hub.pull("net", unverified=True) == cache / "weights" / DIGEST / "net.pth"
    assert [span for _, span in server.asked] == [None, f"bytes={len(CONTENT)}-"]  # it was not downloaded twice


def test_a_mirror_is_asked_first(server: Server, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEWRIGHT_MIRROR", f"{server.root}/mirror/")
    table["net"] = published("https://drive.google.com/drive/folders/x")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/mirror/net/net.pth"]


def test_check_asks_for_headers_alone(server: Server, table: dict[str, Entry]) -> None:
    urls = [f"{server.root}/whole/net.pth", f"{server.root}/404/net.pth", "http://127.0.0.1:9/net.pth"]
    table["net"] = published(*urls)
    told = list(hub.check())
    assert [(id, url) for id, url, _ in told] == [("net", url) for url in urls]
    assert [t for _, _, t in told][:2] == ["200, 10200 bytes", "404 Not Found"]
    assert "refused" in told[2][2]
    assert {span for _, span in server.asked} == {"HEAD"}


def test_an_encrypted_archive_is_named(server: Server, table: dict[str, Entry], cache: Path) -> None:
    table["net"] = published(f"{server.root}/encrypted/net.whl#models/net.pth")
    with pytest.raises(OSError, match=r"the zip archive with models/net\.pth cannot be unpacked: .*encrypted"):
        hub.pull("net")
    assert partials(cache) == []
