"""The page in a real browser: an upload is drawn, hovered, switched, downloaded; on a phone and by keyboard."""

import json
import socket
import threading

import pytest
import uvicorn

from posewright import image
from posewright.serve.app import create_app
from posewright.serve.limits import Limits
from posewright.serve.service import Service


@pytest.fixture
def address(predictor, finder):
    app = create_app(Service({"dots": predictor}, {"finder": finder}, Limits(threads=2)))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(watched, address, request):
    """The page, ready to be used."""
    page = watched(address, address, (422,), **getattr(request, "param", {}))
    page.wait_for_selector("#detector option", state="attached")
    return page


@pytest.fixture
def photograph(tmp_path, png):
    (tmp_path / "two people.png").write_bytes(png)
    return tmp_path / "two people.png"


def test_an_upload_is_drawn_hovered_switched_and_downloaded(page, photograph, tmp_path, pixels):
    page.set_input_files("#files", [photograph, photograph])
    page.locator("article svg").nth(1).wait_for()
    card = page.locator("article").first
    assert "2 poses, 6 points" in card.inner_text()
    assert card.locator(".dot").count() == 6
    assert card.locator(".dot").first.get_attribute("fill") == "#00ff00"  # a left point
    assert card.locator(".bone").count() == 4

    card.locator(".dot").first.hover()
    assert page.locator("#tip").inner_text().startswith("left_red 0.")
    page.uncheck("#dots")
    assert not card.locator(".dot").first.is_visible()
    page.check("#names")
    assert card.locator(".name").first.is_visible()

    with page.expect_download() as file:
        card.locator(".json").click()
    assert file.value.suggested_filename == "two people-poses.json"
    assert len(json.loads(file.value.path().read_text())["poses"]) == 2
    page.check("#dots")
    with page.expect_download() as file:
        card.locator(".png").click()
    drawn = image.read(file.value.path())
    assert drawn.shape == pixels.shape
    assert (drawn != pixels).any()

    page.locator("#threshold").fill("1")
    assert card.locator(".dot").count() == 0
    card.locator(".gone").click()
    assert page.locator("article").count() == 1


def test_the_detector_can_be_switched_off(page, photograph):
    page.set_input_files("#files", photograph)
    page.get_by_text("2 poses").wait_for()
    page.select_option("#detector", "none")
    page.get_by_text("1 pose,").wait_for()


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}], indirect=True
)
def test_a_phone_shows_it_without_scrolling_sideways_and_in_the_dark(page, photograph):
    page.set_input_files("#files", photograph)
    page.locator("article svg").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"
    assert all(box["height"] >= 40 for box in (b.bounding_box() for b in page.locator("article button").all()))


def test_the_keyboard_reaches_everything(page, photograph):
    page.set_input_files("#files", photograph)
    page.locator("article svg").wait_for()
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(e => e.id || e.getAttribute('class') || e.tagName)(document.activeElement)"))
    assert {
        "files",
        "camera",
        "model",
        "detector",
        "threshold",
        "dots",
        "bones",
        "names",
        "svg",
        "png",
        "json",
        "gone",
    } <= reached
    page.locator("article svg").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text().startswith("right_green 0.")
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_the_camera_takes_a_photograph(page):
    page.click("#camera")
    page.click("#shoot")  # enabled once the camera shows something
    page.get_by_text("photograph-1.jpg").wait_for()
    page.locator("article svg").wait_for()


def test_a_pasted_image_is_taken(page):
    page.evaluate(
        """() => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File(["torn"], "pasted.png", { type: "image/png" }));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }"""
    )
    page.locator("article h2").get_by_text("pasted.png").wait_for()
    page.get_by_text("not an image that can be read").wait_for()  # the server's sentence, on the card
