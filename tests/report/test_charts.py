"""A chart holds its points."""

import re

from posewright.report.charts import curve


def test_chart_maps_points_between_its_ticks():
    svg = curve("loss", {"loss": [(0.0, 0.0), (100.0, 2.0)]}, "step")
    (path,) = re.findall(r'polyline points="([^"]+)"', svg)
    assert path == "48.0,186.0 328.0,26.0"  # lower left and upper right corner of the plot
    assert curve("flat", {"a": [(1.0, 0.0)]}, "step").count("polyline") == 1
