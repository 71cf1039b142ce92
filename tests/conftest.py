"""Fixtures for all tests."""

from __future__ import annotations

import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# What `auto` takes depends on what is installed and writes into the user's cache; tests ask for other runtimes by name.
os.environ["POSEWRIGHT_RUNTIME"] = "torch"

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder of real data at {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def official_networks() -> dict[str, Any]:
    """Facts of every official network by its name: parameters, multiply-adds, outputs; see tests/golden/README.md."""
    return json.loads(lzma.decompress((TESTS / "golden" / "models.json.xz").read_bytes()))


@pytest.fixture(scope="module")  # of a module: Playwright keeps an event loop running, which others would trip over
def browser() -> Iterator[Any]:
    """Chromium without a window, with a camera of its own; tests of pages skip where it is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pages need playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no browser: apt-get install chromium")
    with playwright.sync_playwright() as running:
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = running.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, which may say nothing on their console, and ask nothing of others.

    Called with an address, what addresses of requests may begin with beside "data:" and "blob:", the statuses of
    answers that the test provokes, and Playwright's settings of a page.
    """
    complaints: list[str] = []
    pages = []

    def open_page(address: str, own: str, provoked: tuple[int, ...] = (), **settings: Any) -> Any:
        page = browser.new_page(**settings)
        expected = tuple(f"status of {status}" for status in provoked)
        page.on(
            "console",
            lambda message: (
                any(words in message.text for words in expected) or complaints.append(f"{page.url}: {message.text}")
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("request", lambda asked: asked.url.startswith((own, "data:", "blob:")) or complaints.append(asked.url))
        page.on(
            "response",
            lambda answer: (
                answer.status < 400 or answer.status in provoked or complaints.append(f"{answer.status} {answer.url}")
            ),
        )
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []
