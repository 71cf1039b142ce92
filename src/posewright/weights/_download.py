"""One file over HTTP: resumed where it was interrupted, retried while it makes progress."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from posewright import __version__

Progress = Callable[[int, int], None]
"""Called with the bytes downloaded and the bytes in all (0 where the server does not say)."""

_CHUNK = 1 << 20
_TRIES = 4  # in a row that bring nothing new
_HEADERS = {"User-Agent": f"posewright/{__version__}", "Accept-Encoding": "identity"}
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def download(
    url: str,
    part: Path,
    *,
    limit: int = 4 << 30,
    progress: Progress | None = None,
    timeout: float = 30,
    pause: float = 1,
) -> None:
    """Download a URL into the file `part`, resuming from what an earlier call left there.

    What was left is used only if the server can tell, by its ETag or date, that the file is still the same one.

    Args:
        url: http or https; redirects are followed.
        part: written into; the validator is kept beside it, under ".tag".
        limit: most bytes to take; a larger file is an error, and nothing of it is kept.
        progress: called about once per MiB.
        timeout: seconds without a byte after which a connection counts as broken.
        pause: seconds before the second try; doubled for each one after it.

    Raises:
        OSError: it cannot be downloaded; the partial file is kept for the next call.
    """
    tries = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, limit, progress or (lambda done, total: None), timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _PASSING:
                raise OSError(f"{url}: {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        tries = 1 if _size(part) > before else tries + 1
        if tries >= _TRIES:
            raise OSError(f"{url}: {reason} ({tries} tries)")
        time.sleep(pause * 2 ** (tries - 1))


def head(url: str, timeout: float = 30) -> str:
    """What a server says of a file without sending it: "200, 1234 bytes", or what failed."""
    request = urllib.request.Request(url.partition("#")[0], headers=_HEADERS, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            size = response.headers.get("Content-Length")
            return f"{response.status}, {f'{size} bytes' if size else response.headers.get_content_type()}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"{error.code} {error.reason}"
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def _attempt(url: str, part: Path, limit: int, progress: Progress, timeout: float) -> None:
    tag = part.with_name(f"{part.name}.tag")
    have = _size(part) if tag.is_file() else 0
    headers = _HEADERS
    if have:
        headers = headers | {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    try:
        response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # the last call downloaded all of it but was interrupted before reporting
        part.unlink(missing_ok=True)
        raise ConnectionError("the file on the server has become shorter") from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise OSError(f"{url}: answered with a web page instead of the file")
        try:
            _copy(response, part, tag, have, limit, progress)
        except _TooLarge as error:
            part.unlink(missing_ok=True)
            raise OSError(f"{url}: {error}") from None


class _TooLarge(Exception):
    """More bytes than the limit."""


def _copy(response: HTTPResponse, part: Path, tag: Path, have: int, limit: int, progress: Progress) -> None:
    resumed = response.status == 206 and (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
    if resumed:
        total = int(re.sub(r".*/", "", response.headers["Content-Range"]))
    else:
        have, total = 0, int(response.headers.get("Content-Length") or 0)
        part.unlink(missing_ok=True)
        _keep_validator(response, tag)
    if total > limit:
        raise _TooLarge(f"has {total} bytes, more than the {limit} allowed")
    with part.open("ab") as file:
        while chunk := response.read1(_CHUNK):
            if have + len(chunk) > limit:
                raise _TooLarge(f"sends more than the {limit} bytes allowed")
            file.write(chunk)
            have += len(chunk)
            progress(have, total)
    if total and have != total:
        raise ConnectionError(f"interrupted after {have} of {total} bytes")


def _keep_validator(response: HTTPResponse, tag: Path) -> None:
    """Keep what tells this version of the file from others; a weak ETag does not."""
    etag, date = response.headers.get("ETag") or "", response.headers.get("Last-Modified")
    if validator := date if etag.startswith("W/") or not etag else etag:
        tag.write_text(validator)
    else:
        tag.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
