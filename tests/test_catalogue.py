"""The tables of pose systems: complete, up to date, and explained where they differ from what was published."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from posewright import catalogue
from posewright.catalogue import count, counted
from posewright.models import DEFAULT, families, find, names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_table", ROOT / "benchmarks" / "models_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_system_is_counted():
    assert list(counted()) == names(), "run: python benchmarks/count.py"


@pytest.mark.parametrize(
    "name", ["simplebaseline-r18-slim-128x96", "hourglass-1-256x256", "lpn-50-256x192", "litehrnet-naive-18-256x192"]
)
def test_counts_are_up_to_date(name):
    parameters, gmacs = count(find(name))
    assert (parameters, round(gmacs, 4)) == counted()[name], "run: python benchmarks/count.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_all_counts_are_up_to_date(name):
    parameters, gmacs = count(find(name))
    assert (parameters, round(gmacs, 4)) == counted()[name], "run: python benchmarks/count.py"


def test_the_page_of_systems_is_up_to_date(table):
    page = table.page()
    assert table.DOCS.read_text("utf-8") == page, "run: python benchmarks/models_table.py"
    assert [name for name in names() if f"| `{name}` |" not in page] == []


def test_published_figures_are_met_or_the_difference_is_explained(table):
    assert list(table.NOTES) == list(table.TITLES) == families()
    for name, (parameters, gmacs) in table.published().items():
        ours, work = counted()[name]
        if parameters and name != "hourglass-8-dark-128x96":
            assert ours / 1e6 == pytest.approx(float(parameters), abs=0.12), name
        if gmacs and name.startswith(("hrnet", "hourglass", "lpn")):  # in units of 2^30
            assert work * 1e9 / 2**30 == pytest.approx(float(gmacs), rel=0.03), name
        if gmacs and name.startswith("litehrnet"):
            assert work == pytest.approx(float(gmacs), rel=0.06), name


def test_published_simplebaselines_count_transposed_convolutions_by_their_output(table):
    for name, (_, gmacs) in table.published().items():
        if name.startswith("simplebaseline"):
            height, width = find(name).size
            cells = height * width / 32**2 * (2048 + 4 * 256 + 16 * 256)  # input pixels times input channels
            more = cells * 256 * 4 * 4 * 3
            assert (counted()[name][1] * 1e9 + more) / 2**30 == pytest.approx(float(gmacs), rel=0.03), name


def test_the_default_model_is_shown_with_the_weights_in_the_package():
    page = catalogue.page("default")
    assert page[0] == DEFAULT
    assert page == catalogue.page(DEFAULT)
    assert any("in the package, at" in line for line in page)
    assert catalogue.table(DEFAULT)[1].endswith("in the package")


def test_patterns_that_match_nothing_are_refused():
    with pytest.raises(LookupError, match="no pose system matches 'lpm"):
        catalogue.table("lpm*")
