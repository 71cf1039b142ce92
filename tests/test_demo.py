"""The demo from nothing to its page, at a size for tests."""

from dataclasses import replace

from posewright import demo
from posewright.image import read
from posewright.train import recipes


def test_the_demo_shows_something_at_once_and_ends_with_a_page(tmp_path, monkeypatch, capsys):
    recipe = replace(recipes.find("finetune"), steps=2, batch=2, workers=0, flip_test=False, device="cpu")
    monkeypatch.setattr(demo, "SPLITS", {"val": 3, "test": 4, "train": 4})
    monkeypatch.setattr(demo, "PICTURES", 2)
    monkeypatch.setattr(demo.recipes, "find", lambda name: recipe)
    out = tmp_path / "demo"
    lines = list(demo.demo(out))
    early = capsys.readouterr().err
    assert f"a preview: {out / 'people.jpg'}" in early
    assert early.index("a preview") < early.index("drawing people (train)")
    assert str(out / "run" / "index.html") in early
    assert read(out / "people.jpg").shape == (264, 3 * 352, 3)
    assert lines[-1].startswith(f"open {out / 'index.html'}")
    assert "on unseen ones" in (out / "index.html").read_text()
    assert len(list((out / "pictures").glob("*.jpg"))) == 2
    again = list(demo.demo(out))  # all is found done
    assert again[-4].split(", in ")[0] == lines[-4].split(", in ")[0]
