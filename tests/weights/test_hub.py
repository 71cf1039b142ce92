"""Published weights, from their addresses to the cache: against a local server that does what servers do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from posewright.models import DEFAULT
from posewright.weights import _registry, hub
from posewright.weights._download import download
from posewright.weights.hub import Entry

pytestmark = pytest.mark.usefixtures("cache")
CONTENT = bytes(range(1, 256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


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
def test_pull(server: Any, table: dict[str, Entry], cache: Path, kind: str) -> None:
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


def test_a_download_that_breaks_off_again_and_again_goes_on_each_time(server: Any, table: dict[str, Entry]) -> None:
    table["net"] = published(f"{server.root}/broken/net.pth")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [None, "bytes=4000-", "bytes=8000-"]


def test_mirrors_are_tried_in_order(server: Any, table: dict[str, Entry], cache: Path) -> None:
    bad = [f"{server.root}/{kind}/net.pth" for kind in ("404", "page", "login", "wrong")]
    table["net"] = published(*bad, f"{server.root}/whole/net.pth")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [path.split("/")[1] for path, _ in server.asked] == ["404", "page", "login", "wrong", "whole"]
    assert partials(cache) == []


def test_every_mirrors_reason_is_told(server: Any, table: dict[str, Entry], cache: Path) -> None:
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


def test_offline(server: Any, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_file_within_a_zip_archive(server: Any, table: dict[str, Entry], cache: Path) -> None:
    table["net"] = published(f"{server.root}/zip/net.whl#models/net.pth")
    path = hub.pull("net")
    assert path == cache / "weights" / DIGEST / "net.pth"
    assert path.read_bytes() == CONTENT
    assert partials(cache) == []


@pytest.mark.parametrize("place", ["zip/net.whl#models/other.pth", "whole/net.whl#models/net.pth"])
def test_an_archive_that_is_none_or_lacks_the_file(
    server: Any, table: dict[str, Entry], cache: Path, place: str
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


def test_nothing_unhashed_without_https(server: Any, table: dict[str, Entry]) -> None:
    table["net"] = published(f"{server.root}/whole/net.pth", sha256="")
    with pytest.raises(OSError, match="not requested over http, for no checksum was published"):
        hub.pull("net", unverified=True)
    assert server.asked == []


def test_an_unhashed_file_is_taken_only_when_told(
    server: Any, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, cache: Path
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


def test_a_mirror_is_asked_first(server: Any, table: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEWRIGHT_MIRROR", f"{server.root}/mirror/")
    table["net"] = published("https://drive.google.com/drive/folders/x")
    assert hub.pull("net").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/mirror/net/net.pth"]


def test_check_asks_for_headers_alone(server: Any, table: dict[str, Entry]) -> None:
    urls = [f"{server.root}/whole/net.pth", f"{server.root}/404/net.pth", "http://127.0.0.1:9/net.pth"]
    table["net"] = published(*urls)
    told = list(hub.check())
    assert [(id, url) for id, url, _ in told] == [("net", url) for url in urls]
    assert [t for _, _, t in told][:2] == ["200, 10200 bytes", "404 Not Found"]
    assert "refused" in told[2][2]
    assert {span for _, span in server.asked} == {"HEAD"}


def test_an_encrypted_archive_is_named(server: Any, table: dict[str, Entry], cache: Path) -> None:
    table["net"] = published(f"{server.root}/encrypted/net.whl#models/net.pth")
    with pytest.raises(OSError, match=r"the zip archive with models/net\.pth cannot be unpacked: .*encrypted"):
        hub.pull("net")
    assert partials(cache) == []
