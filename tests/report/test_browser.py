"""The page in a real browser: it loads, filters, sorts, zooms, is dark where that is wished, and fits a phone."""

import pytest

from posewright.evaluate import evaluator
from posewright.report.page import sections, write


@pytest.fixture
def opened(watched, written):
    """Opens the page, which may not leave its file."""

    def open_page(width=1200, scheme="light"):
        return watched(written.as_uri(), "file:", viewport={"width": width, "height": 850}, color_scheme=scheme)

    return open_page


def test_it_loads_with_all_its_parts_and_shows_values_below_the_pointer(opened):
    page = opened()
    heads = [head.inner_text() for head in page.query_selector_all("h2")]
    assert heads == ["Metrics", "Where it is lost", "Training", "Curves", "Errors", "Gallery", "Settings"]
    assert page.title() == "A run </script><b>"
    chart = page.query_selector(".chart")
    assert page.query_selector(".chart .u-legend .u-series:nth-child(2) .u-value").inner_text() == "–"
    box = chart.query_selector(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
    page.wait_for_function("document.querySelectorAll('.chart .u-value')[1].textContent === '0.125'")
    assert page.query_selector(".skeleton [aria-label^='left_ankle: ']")


def test_the_gallery_filters_and_sorts_and_layers_are_switched_by_key(opened, people):
    page = opened()
    shown = page.query_selector_all(".case")
    assert len(shown) == min(len(people) + 1, 24)
    assert "OKS 0.00" in shown[0].inner_text()
    page.select_option("select[aria-label=order]", "best")
    assert "OKS 1.00" in page.query_selector(".case").inner_text()
    page.select_option("select[aria-label=error]", "missed person")
    assert len(page.query_selector_all(".case")) == 1
    page.select_option("select[aria-label=error]", "background")
    assert page.query_selector(".case .found")
    assert page.query_selector(".case .truth") is None
    page.select_option("select[aria-label=error]", "")
    page.locator("body").press("p")
    assert not page.locator(".case .found").first.is_visible()
    assert page.locator(".case .truth").first.is_visible()
    page.locator("body").press("a")
    assert not page.locator(".case .truth").first.is_visible()


def test_a_case_is_enlarged_by_the_keyboard_and_left_again(opened):
    page = opened()
    page.locator(".case").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog svg").is_visible()
    first = page.locator("dialog p").first.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog p").first.inner_text() != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_heatmaps_are_drawn_on_demand_of_all_points_or_of_one(opened):
    page = opened()
    assert page.locator(".heat").count() == 0  # nothing is decoded before it is asked for
    page.locator("body").press("h")
    page.locator(".case .heat").first.wait_for()
    assert page.locator("#layer-heat").is_checked()
    page.locator(".case").first.click()
    heat = page.locator("dialog .heat")
    heat.wait_for()
    every = heat.get_attribute("href")
    assert every.startswith("data:image/png;base64,")
    page.locator("dialog select").select_option("left_wrist")
    page.wait_for_function(
        "before => document.querySelector('dialog .heat').getAttribute('href') !== before", arg=every
    )
    page.locator("dialog button", has_text="heatmaps").click()
    assert not heat.is_visible()
    page.keyboard.press("h")
    assert heat.is_visible()


def test_without_heatmaps_their_control_is_absent(browser, people, results, tmp_path):
    evaluation = evaluator.evaluate_found(people, results, boxes="gt")
    write(tmp_path / "page.html", "plain", "", tmp_path, sections("own", people, evaluation, settings=""))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".case").first.wait_for()
    assert page.locator("#layer-heat").count() == page.locator("select[aria-label='heatmap of']").count() == 0
    page.locator("body").press("h")
    assert page.locator(".heat").count() == 0
    page.close()


def test_dark_mode_follows_the_system_and_the_button(opened):
    page = opened(scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 23, 29)"
    page.locator("#theme").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_it_fits_a_phone(opened):
    page = opened(width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".uplot").first.bounding_box()["width"] <= 390
    page.set_viewport_size({"width": 800, "height": 850})
    page.wait_for_function("document.querySelector('.uplot canvas').clientWidth > 330")
