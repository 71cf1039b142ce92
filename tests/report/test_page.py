"""The page stands alone, escapes what it shows, and holds what the evaluation says."""

import json
import re
from dataclasses import replace

from posewright.evaluate import evaluator
from posewright.report import cases, page


def data_of(path):
    text = path.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_is_self_contained_and_escapes_text(written):
    text = written.read_text("utf-8")
    assert "A run &lt;/script&gt;&lt;b&gt;" in text
    assert "subtitle &amp; more" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    outside = [u for u in re.findall(r'(?:src|href)="([^"]+)"', text) if not u.startswith("data:")]
    assert outside == []
    assert len(text) < 15_000_000
    assert "leeoniya/uPlot" in text  # its licence asks for the notice


def test_the_page_holds_metrics_losses_curves_errors_and_cases(written, people):
    data = data_of(written)
    assert [c["title"] for c in data["curves"]] == ["loss", "accuracy on training crops", "AP"]
    assert data["metrics"][0][:2] == ["Arch", "AP"]
    assert data["metrics"][2][1] == "0.765"  # published with annotated boxes
    assert len({len(row) for row in data["metrics"]}) == 1
    assert any("people who were not found: 1 of" in line for line in data["losses"])
    errors = {row[0]: row[1] for row in data["errors"]}
    assert errors["missed person"] == "1 people"
    assert errors["background"] == "1 detections"
    assert max(data["skeleton"]["shares"]["missed person"]) > 0
    assert len(data["cases"]) == len(people) + 1
    missed = [c for c in data["cases"] if "missed person" in c["errors"]]
    assert len(missed) == 1
    assert missed[0]["found"] is None
    assert {c["type"] for c in data["cases"]} == {"person", "background"}


def test_without_sigmas_the_page_is_in_terms_of_pck(people, results, tmp_path):
    plain = people.with_skeleton(replace(people.skeleton, sigmas=None))
    evaluation = evaluator.evaluate_found(plain, results)
    content = page.sections("own", plain, evaluation, settings="")
    page.write(tmp_path / "page.html", "Own points", "", tmp_path, content)
    data = data_of(tmp_path / "page.html")
    assert data["metrics"][0][1] == "PCK"
    assert data["losses"][0].startswith("largest losses of PCK")
    assert data["skeleton"]["measure"] == "similarity"


def test_a_gallery_stays_small_and_says_what_it_left_out(people, results, monkeypatch):
    from posewright.evaluate.diagnosis import diagnose

    d = diagnose(people, results)
    chosen, line = cases.gallery(d, results, people.paths, count=3)
    assert line.startswith(f"3 of {len(people)} people")
    assert sum(c["type"] == "person" for c in chosen) == 3
    monkeypatch.setattr(cases, "MOST_BYTES", 10)
    few, line = cases.gallery(d, results, people.paths)
    assert len(few) < len(people)
    assert "left out" in line
    none, line = cases.gallery(d, results, {})
    assert none == []
