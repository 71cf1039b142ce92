"""The documentation's site in a real browser: pages, pictures, search, a phone, the dark."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from posewright.weights import hub

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.docs


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quietly = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quietly)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(built):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(watched, address):
    """Opens pages of the site."""

    def open_page(path="/", **settings):
        return watched(f"{address}{path}", address, **settings)

    return open_page


def test_generated_pages_are_complete(built):
    """The build itself is strict: a broken link or a missing reference fails it."""
    weights = (built / "weights/index.html").read_text("utf-8")
    assert all(entry.id in weights for entry in hub.entries())
    assert all(terms.terms in weights for terms in hub.datasets().values())
    assert "posewright data synth" in (built / "commands/index.html").read_text("utf-8")
    assert "instance_score" in (built / "api/index.html").read_text("utf-8")
    for drawing in (ROOT / "docs" / "drawings").glob("*.svg"):
        pages = (page.read_text("utf-8") for page in built.rglob("index.html"))
        assert any(f"drawings/{drawing.name}" in page for page in pages), f"no page shows {drawing.name}"
    assert "cpn_101_384x288_coco" in (built / "cpn/index.html").read_text("utf-8")
    assert "AP 0.493" in (built / "cpn/index.html").read_text("utf-8")


def test_all_pages_load_with_their_pictures(opened, built, address):
    paths = [file.parent.relative_to(built).as_posix() for file in built.rglob("index.html")]
    assert len(paths) > 25
    page = opened()
    for path in paths:
        page.goto(f"{address}/{path}/".replace("/./", "/"))
        assert page.locator("h1").first.is_visible(), path
        sizes = "all => all.filter(one => !one.complete || !one.naturalWidth).map(one => one.src)"
        assert page.eval_on_selector_all("article img", sizes) == [], path


def test_search_finds_a_page(opened):
    page = opened()
    page.fill(".md-search__input", "quarter shift")
    result = page.locator(".md-search-result__item").first
    result.wait_for()
    assert "dark" in "".join(page.locator(".md-search-result__item").all_inner_texts()).lower()


@pytest.mark.parametrize("path", ["/", "/models/", "/hrnet/", "/weights/", "/coordinates/", "/zh/"])
def test_a_phone_scrolls_down_only(opened, path):
    page = opened(path, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_dark_is_dark_and_is_left_by_the_switch(opened):
    page = opened("/hrnet/", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    assert max(page.evaluate(background)) < 64
    page.locator("label[for='__palette_0']").click()
    page.wait_for_function("document.body.getAttribute('data-md-color-scheme') === 'default'")
    assert min(page.evaluate(background)) > 200
