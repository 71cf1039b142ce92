"""The page stands alone and escapes what it shows."""

import re

import numpy as np

from posewright.report import page as report
from posewright.report.gallery import Picture
from posewright.train.run_log import RunLog


def test_page_is_self_contained_and_escapes_text(tmp_path):
    with RunLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.add({"step": step, "loss": 1 / step, "accuracy": step / 10})
        log.add({"step": 5, "AP": 0.4, "AP50": 0.8, "AP75": 0.3})
    image = np.full((20, 30, 3), 200, np.uint8)
    sections = [
        report.Section("Metrics", rows=[("AP", "AR"), ("0.400", "0.500")]),
        report.Section("Cases <b>", pictures=[Picture(image, "OKS 0.10 & falling")]),
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
