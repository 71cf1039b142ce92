"""Charts hold the points of a run, thinned where there are too many, and uPlot gets them aligned."""

import json
import re

from posewright.report.charts import Chart, curves
from posewright.report.svg import curve


def test_a_log_becomes_curves_with_few_points_and_the_last_one(tmp_path):
    rows = [{"step": step, "loss": 1 / step, "accuracy": 0.5} for step in range(1, 7002)]
    rows.append({"step": 7001, "AP": 0.4, "AP50": 0.8})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loss, accuracy, ap = curves(tmp_path)
    assert [c.title for c in (loss, accuracy, ap)] == ["loss", "accuracy on training crops", "AP"]
    assert len(loss.series["loss"]) <= 2001
    assert loss.series["loss"][0] == (1, 1)
    assert loss.series["loss"][-1] == (7001, 1 / 7001)
    assert list(ap.series) == ["AP", "AP50"]
    assert curves(tmp_path / "nothing") == []


def test_series_of_different_places_are_aligned_with_gaps_and_without_infinities():
    content = Chart("loss", "step", {"a": [(1.0, 5.0), (3.0, float("inf"))], "b": [(2.0, 7.0)]}).content()
    assert content["data"] == [[1.0, 2.0, 3.0], [5.0, None, None], [None, 7.0, None]]
    assert content["names"] == ["a", "b"]


def test_an_svg_chart_maps_points_between_its_ticks():
    svg = curve("loss", {"loss": [(0.0, 0.0), (100.0, 2.0)]}, "step")
    (path,) = re.findall(r'polyline points="([^"]+)"', svg)
    assert path == "48.0,186.0 328.0,26.0"  # lower left and upper right corner of the plot
    assert curve("flat", {"a": [(1.0, 0.0)]}, "step").count("polyline") == 1
