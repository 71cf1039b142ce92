"""One download: resumes after an interruption, begins again where it must, and gives up in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posewright.weights._download import download

pytestmark = pytest.mark.usefixtures("cache")
CONTENT = bytes(range(1, 256)) * 40


def test_an_interrupted_process_is_resumed_by_the_next(server: Any, tmp_path: Path) -> None:
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


def test_a_file_that_has_changed_meanwhile_is_downloaded_again(server: Any, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"of the old file")
    (tmp_path / "part.tag").write_text('"v0"')
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT


def test_what_is_already_complete_is_not_downloaded_again(server: Any, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT)
    (tmp_path / "part.tag").write_text(server.etag)
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_left_over_that_is_too_long_is_thrown_away(server: Any, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT + b"more")
    (tmp_path / "part.tag").write_text(server.etag)
    download(f"{server.root}/whole/net.pth", part)
    assert part.read_bytes() == CONTENT


def test_servers_that_never_get_further_are_given_up(server: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"untagged/net: interrupted after 4000 of 10200 bytes \(4 tries\)"):
        download(f"{server.root}/untagged/net", tmp_path / "part")
    with pytest.raises(OSError, match=r"503/net: 503 .* \(4 tries\)"):
        download(f"{server.root}/503/net", tmp_path / "other")
    assert [span for _, span in server.asked] == [None] * 8


def test_a_server_that_falls_silent_is_asked_again(server: Any, tmp_path: Path) -> None:
    download(f"{server.root}/stalls/net", tmp_path / "part", timeout=0.2)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [None, "bytes=4000-", "bytes=8000-"]


@pytest.mark.parametrize(
    ("kind", "message"), [("whole", "has 10200 bytes, more than the 9000"), ("endless", "sends more")]
)
def test_downloads_are_limited(server: Any, tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(OSError, match=message):
        download(f"{server.root}/{kind}/net", tmp_path / "part", limit=9000)
    assert not (tmp_path / "part").exists()
    assert len(server.asked) == 1
