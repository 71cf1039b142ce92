"""The tables of pose systems: complete, up to date, and explained where they differ from what was published."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from posewright import catalogue, models
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
    assert any("trained on Leeds Sports Pose Extended: research only" in line for line in page)
    assert "              trained on AP-10K: CC BY 4.0" in catalogue.page("hrnet-w32-ap10k-256x256")
    assert catalogue.table(DEFAULT)[1].endswith("in the package")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A family of one file, without counts, weights, recipe or naming."""
    (tmp_path / "toy.py").write_text(
        "import torch\nfrom posewright.codecs.heatmap import GaussianHeatmap\n"
        "from posewright.skeletons import COCO17\nfrom posewright.spec import Spec\n\n\n"
        "def build(channels):\n"
        "    return torch.nn.Conv2d(3, channels, 3, 4, 1)\n\n\n"
        "CODEC = GaussianHeatmap((64, 48), (16, 12))\n"
        'SPECS = {"toy-64x48": Spec("toy-64x48", build, CODEC, COCO17, (64, 48))}\n'
    )
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "posewright.models.toy", raising=False)
    return "toy-64x48"


def test_a_new_family_is_one_file(toy):
    assert "toy" in families()
    line = catalogue.table("toy*")[1].split()
    assert (line[0], line[-2:]) == (toy, ["none", "published"])
    assert f"  parameters  {3 * 3 * 3 * 17 + 17}" in catalogue.page(toy)


def test_a_family_without_specs_is_named(toy, tmp_path):
    (tmp_path / "broken.py").write_text("")
    with pytest.raises(TypeError, match=r"broken\.py: expected SPECS, a dict of specs by their names"):
        names()


def test_layers_have_kernel_and_output_shape():
    lines = catalogue.layers(find("simplebaseline-r18-slim-128x96"))
    assert lines[0].split() == ["layer", "kind", "kernel", "output"]
    assert lines[1].split() == ["conv1", "Conv2d", "7x7,", "stride", "2", "64x64x48"]
    assert lines[-1].split() == ["final_layer", "Conv2d", "1x1,", "stride", "1", "17x32x24"]


def test_patterns_that_match_nothing_are_refused():
    with pytest.raises(LookupError, match="no pose system matches 'lpm"):
        catalogue.table("lpm*")
