"""The page stands alone and its charts hold their points."""

import re
from dataclasses import replace

import numpy as np
import pytest

from posewright.data import coco
from posewright.evaluate import evaluator
from posewright.image import read
from posewright.report import page as report
from posewright.synthetic import people as synthetic
from posewright.train.run_log import RunLog


def test_page_is_self_contained_and_escapes_text(tmp_path):
    with RunLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.add({"step": step, "loss": 1 / step, "accuracy": step / 10})
        log.add({"step": 5, "AP": 0.4, "AP50": 0.8, "AP75": 0.3})
    image = np.full((20, 30, 3), 200, np.uint8)
    sections = [
        report.Section("Figures", rows=[("AP", "AR"), ("0.400", "0.500")]),
        report.Section("Cases <b>", pictures=[report.Picture(image, "OKS 0.10 & falling")]),
    ]
    report.write(tmp_path / "page.html", "A run", "lead", tmp_path, sections)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 3  # loss, accuracy, AP
    assert "Cases &lt;b&gt;" in page
    assert "OKS 0.10 &amp; falling" in page
    assert 'width="30" height="20"' in page
    outside = [u for u in re.findall(r'(?:src|href)="([^"]+)"', page) if not u.startswith("data:")]
    assert outside == []
    assert "<script" not in page


def test_chart_maps_points_between_its_ticks():
    svg = report.curve("loss", {"loss": [(0.0, 0.0), (100.0, 2.0)]}, "step")
    (path,) = re.findall(r'polyline points="([^"]+)"', svg)
    assert path == "48.0,186.0 328.0,26.0"  # lower left and upper right corner of the plot
    assert report.curve("flat", {"a": [(1.0, 0.0)]}, "step").count("polyline") == 1


@pytest.mark.parametrize("sigmas", ["kept", "none"])
def test_cases_are_ordered_and_drawn(tmp_path, sigmas):
    people = coco.read(synthetic.make(tmp_path, 6, workers=1))
    if sigmas == "none":
        people = people.with_skeleton(replace(people.skeleton, sigmas=None))
    image_ids = [people[n].image_id for n in range(len(people))]
    results = [  # person n is found off by n pixels
        {"image_id": image_ids[n], "keypoints": np.insert(people[n].xy + n, 2, 1, axis=1).ravel().tolist()}
        for n in range(len(people))
    ]
    results = [r for r in results if r["image_id"] != image_ids[-1]]  # but nobody in the last image
    evaluation = evaluator.Evaluation({}, results, None, None, "", people.skeleton.points, "gt")
    quality, best = report.best_results(people, evaluation)
    assert quality[0] == (1 if sigmas == "kept" else 0)
    assert (quality[1:] < quality[0]).all()
    assert quality[-1] == (0 if sigmas == "kept" else -1)
    assert [b is None for b in best] == [i == image_ids[-1] for i in image_ids]
    worst = report.cases(people, evaluation, 3)["Worst"]
    assert len(worst) == 3
    assert worst[0].caption.startswith("OKS 0.00" if sigmas == "kept" else "off 1.00")
    paths = report.write_sheets(tmp_path, people, evaluation, 4)
    assert [p.name for p in paths] == ["worst.jpg", "random.jpg", "best.jpg"]
    assert read(paths[0]).shape == (240 + 18, 4 * 240, 3)
