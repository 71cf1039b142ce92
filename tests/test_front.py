"""What is there after `import posewright`."""

from __future__ import annotations

import posewright as pw


def test_drawing_and_boxes_are_there_without_another_import():
    assert pw.draw.draw.__module__ == "posewright.draw"
    assert pw.detect.annotated.__module__ == "posewright.predict.boxes"
    assert {"draw", "detect", "load", "Pose"} <= set(dir(pw))
    assert all(getattr(pw, name) is not None for name in pw.__all__)
