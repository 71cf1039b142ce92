"""Every command and line of Python in the documents works: it parses, names what exists, and the short ones run."""

import argparse
import ast
import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import posewright as pw
from posewright import catalogue, image
from posewright.cli import main, parser
from posewright.predict.video_file import VideoFile
from posewright.synthetic import people as synthetic
from posewright.train import recipes
from posewright.train.loop import TrainConfig, fit
from posewright.weights import hub

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "CHANGELOG.md"})
CHINESE = {ROOT / "README.zh-CN.md": ROOT / "README.md"} | {
    page: ROOT / "docs" / page.name for page in sorted(ROOT.glob("docs/zh/*.md"))
}
SYSTEMS = ("cpn", "grmi", "hourglass", "hrnet", "litebaseline", "litehrnet", "lpn", "mspn", "rsn", "simplebaseline")
"""Families of networks, each with a drawing."""
GENERATED = ("weights.md", "commands.md")
"""Pages that docs/hooks.py makes."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(language):
    return [
        (path.name, found[2])
        for path in DOCUMENTS
        for found in BLOCK.finditer(path.read_text())
        if found[1] == language
    ]


def commands():
    """Each command of a block or between backquotes, as (document, words); comments and the way to .venv left out."""
    for name, text in blocks(""):
        for line in text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield name, words
    for path in DOCUMENTS:
        prose = BLOCK.sub("", path.read_text())
        for code in re.findall(r"`((?:posewright|make) [^`]+)`", prose):
            yield path.name, shlex.split(re.sub(r"\s+", " ", code))


COMMANDS = [
    pytest.param(list(words), id=f"{name}: {' '.join(words)[:60]}")
    for words, name in {tuple(words): name for name, words in reversed(list(commands()))}.items()
]
SHORT = ("predict", "eval", "models", "recipes", "weights list", "data")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three drawn images, detections in them, and weights trained for one step."""
    folder = tmp_path_factory.mktemp("drawn")
    listing = synthetic.make(folder, 3, split="val", workers=1)
    model = "simplebaseline-r18-slim-128x96"
    fit(TrainConfig(model=model, train=str(listing), out=str(folder / "run"), steps=1, batch=2, workers=0))
    people = json.loads(listing.read_text())["annotations"]
    boxes = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for a in people]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    found = [{k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 0.9} for a in people]
    (folder / "results.json").write_text(json.dumps(found))
    return folder


def laid_out(words, drawn, folder):
    """The command with every file and folder that it names in place, under `folder`; absolute paths become relative."""
    placed = list(words)
    for place, word in enumerate(words):
        if not re.search(r"/|\.\w{2,5}$|^infer_img$", word) or words[place - 1] == "--out" or word.startswith("--"):
            continue
        path = folder / word.lstrip("/")
        placed[place] = word.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if words[place - 1] == "--boxes":
            shutil.copy(drawn / "boxes.json", path)
        elif path.name == "results.json":
            shutil.copy(drawn / "results.json", path)
        elif path.suffix == ".json":
            shutil.copy(drawn / "annotations" / "person_keypoints_val.json", path)
            for split in ("train", "val"):
                shutil.copytree(drawn / "val", path.parent / split, dirs_exist_ok=True)
        elif path.suffix == ".jpg":
            shutil.copy(drawn / "val" / "000000000001.jpg", path)
        elif path.suffix == ".onnx":
            path.touch()
        elif path.suffix == ".mp4":
            pytest.importorskip("av")
            video = VideoFile(path, (96, 128), 5)
            for n in range(3):
                video.add(n / 5, image.read(drawn / "val" / "000000000001.jpg"))
            video.close()
        elif path.suffix in (".pt", ".pth", ".ckpt"):
            shutil.copy(drawn / "run" / "last.pt", path)
        elif not path.suffix:
            shutil.copytree(drawn / "val", path, dirs_exist_ok=True)
    return placed


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_documents_works(words, drawn, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, *words = words
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M), f"no target {words[0]}"
        return
    if not program.endswith("posewright"):
        assert program in ("pip", "source", ".venv/bin/python")
        return
    words = laid_out([{"FILE": "FILE.pt", "RUN": "RUN/"}.get(word, word) for word in words], drawn, tmp_path)
    if words in (
        ["models", "show"],
        ["weights", "convert"],
        ["data", "convert"],
    ):  # a mention of a task, without what it takes
        return
    if words[-1] in ("--boxes", "--skeleton", "--detector", "--set"):  # a mention of an option, without its value
        words = words[:-1]
    if words == ["--help"]:
        return
    if len(words) == 1 and words[0] not in ("demo", "models", "recipes"):
        assert words[0] in next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
        return
    options = parser().parse_args(words)
    if words[0] == "train" and options.recipe and not options.recipe.isupper():
        recipes.find(options.recipe)
    others = re.search(
        r"\b[A-Z]{2,}\b|--detector|/lspet/|--model|\.onnx|FILE", " ".join(words)
    )  # a placeholder, or files not drawn here
    if " ".join(words).startswith(SHORT) and not others:
        small = [
            ("3" if words[place - 1] == "--images" and word.isdigit() else word) for place, word in enumerate(words)
        ]
        assert main(small) == 0, capsys.readouterr().err


LONG = [
    param
    for param in COMMANDS
    for words in param.values
    if words[0] == "posewright" and len(words) > 3 and words[1] in ("train", "predict", "eval", "export", "report",
        "compare", "bench") + ("weights",) * (words[2] == "convert")
    if not {"--detector", "--resume", "--shards", "people14", "RECIPE", "REPORT", "--target"} & set(words)
    if not words[2].startswith("people14_")
    if not re.search(r"\.onnx --|\.onnx$|small.xml$|PROJECT|EXPORT|export/|bucket|report --weights", " ".join(words))
    if not " ".join(words[1:]).startswith(SHORT) or "--model" in words or "FILE" in words
]  # fmt: skip
"""Commands that work a while: trainings, published systems, exports."""


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Weights of a pose system, of random values, as one file."""
    folder, files = tmp_path_factory.mktemp("weights"), {}

    def of(system):
        if system not in files:
            files[system] = folder / f"{system}.pth"
            torch.save(pw.find(system).build().state_dict(), files[system])
        return str(files[system])

    return of


@pytest.mark.docs
@pytest.mark.parametrize("words", LONG)
def test_a_long_command_of_the_documents_works(words, drawn, random_weights, tmp_path, monkeypatch, capsys):
    """With drawn pictures, random weights in the place of downloaded ones, and trainings of one step."""
    monkeypatch.chdir(tmp_path)
    words = laid_out([{"FILE": "FILE.pt"}.get(word, word) for word in words[1:]], drawn, tmp_path)
    if "--backbone" in words:  # what it names is downloaded
        place = words.index("--backbone")
        del words[place : place + 2]
    if "--init" in words:
        words[words.index("--init") + 1] = random_weights(recipes.find(words[1]).model)
    if "--model" in words:
        weights = random_weights(words[words.index("--model") + 1])
        given = words.index("--weights") + 1 if "--weights" in words else 0
        words = [*words[: given - 1], *words[given + 1 :]] if given else words
        words += ["--weights", weights]
    if words[0] == "train":
        words += [*(["--set"] if "--set" not in words else []), "steps=1", "batch=2", "workers=0", "rounds=1"]
    if words[0] == "bench":
        words += ["--turns", "1", "--batch", "1", "--runtime", "torch"]
    assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("name", "text"), blocks("python"))
def test_python_of_the_documents_names_what_exists(name, text):
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("pw."):
            found = pw
            for part in ast.unparse(node).split(".")[1:]:
                found = getattr(found, part)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pw.find", "pw.names"):
            assert eval(ast.unparse(node), {"pw": pw})
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "poses":
            assert hasattr(pw.Poses, node.attr) or node.attr in pw.Poses.__dataclass_fields__


@pytest.mark.docs
@pytest.mark.parametrize(("name", "text"), [block for block in blocks("python") if block[0] != "collections.md"])
def test_python_of_the_documents_runs(name, text, drawn, random_weights, tmp_path, monkeypatch):
    """`collections.md` reads what a run over shards has written, which tests/predict does."""
    monkeypatch.chdir(tmp_path)
    laid_out(["photo.jpg", "annotations.json", "results.json", "runs/mine/best.pt", "x.mp4"], drawn, tmp_path)
    if "mspn_2stg.pth" in text:
        shutil.copy(random_weights("mspn-2stg-256x192"), "mspn_2stg.pth")
    names = {"boxes": np.array([[10.0, 10, 60, 90]])}
    if "interop" in text:
        pytest.importorskip("supervision")
        names["poses"] = pw.load()("photo.jpg")
    exec(compile(text, name, "exec"), names)


def test_the_skeleton_file_of_the_documents_is_one(tmp_path):
    from posewright.data import skeleton_file

    ((_, text),) = blocks("json")
    (tmp_path / "hand.json").write_text(text)
    assert skeleton_file.read(tmp_path / "hand.json").name == "hand"


def test_links_of_the_documents_lead_somewhere():
    wrong = [
        f"{path.name}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text())
        if "://" not in target and Path(target).name not in GENERATED and not (path.parent / target).exists()
    ]
    assert not wrong, "\n".join(wrong)


def shape(path):
    """What a translation keeps: levels of headings, blocks without their comments, rows of tables, links, pictures."""
    text = path.read_text("utf-8")
    code = [(kind, re.sub(r"\s*#.*", "", block)) for kind, block in BLOCK.findall(text)]
    prose = BLOCK.sub("", text)
    links = [Path(link).name for link in re.findall(r"\]\(([^)]+)\)", prose)]
    return {
        "headings": [len(level) for level in re.findall(r"^(#+) ", prose, re.M)],
        "code": code,
        "tables": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "links": sorted(link for link in links if not link.startswith("README") and "index.md" not in link),
        "numbers": sorted(re.findall(r"\b0\.\d{3}\b", prose)),
    }


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_has_the_structure_of_the_english_one(page):
    chinese, english = shape(page), shape(CHINESE[page])
    for part in english:
        assert chinese[part] == english[part], part


def test_the_table_of_systems_has_the_numbers_of_the_tree():
    counts = catalogue.counted()
    table = (ROOT / "README.md").read_text("utf-8").split("\n| for |")[1].split("\n\n")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[2:-1]] for line in table.splitlines()[2:]]
    assert len(rows) > 5
    measured = (ROOT / "benchmarks" / "systems.md").read_text("utf-8")
    rates = {
        name: max(float(rate) for rate in found.split("|")[:3] if rate.strip() != "–")
        for name, found in re.findall(r"^\| `([^`]+)` \|(.+)", measured, re.M)
    }
    for system, value, gmacs, rate, parameters, weights in rows:
        measured_rate = rates[system.split("`")[0]]
        assert rate == (f"{measured_rate:.0f}" if measured_rate >= 10 else f"{measured_rate:.1f}"), system
        spec = pw.find(system.split("`")[0])
        number, work = counts[spec.name]
        assert (gmacs, parameters) == (f"{work:.2f}", f"{number / 1e6:.1f}"), system
        published = hub.entry(weights.split("`")[0]).published if re.match(r"\w+_", weights) else ()
        if published:
            assert float(value) in {p.metrics.get("AP") for p in published}
            assert published[0].spec == spec.name
        else:
            assert value == "–" or value.split("]")[0].lstrip("[PCK ") in (ROOT / "docs/default-model.md").read_text()


@pytest.fixture(scope="module")
def drawings():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("draw_networks"), importlib.import_module("draw_rules")


def test_drawings_are_those_of_the_networks(drawings):
    networks, rules = drawings
    assert sorted(networks.DRAWINGS) == sorted(SYSTEMS)
    made = {name: networks.draw(system, boxes()) for name, (system, boxes) in networks.DRAWINGS.items()}
    for name, drawing in (made | {name: drawing() for name, drawing in rules.DRAWINGS.items()}).items():
        stored = (ROOT / "docs" / "drawings" / f"{name}.svg").read_text("utf-8")
        assert stored == drawing, f"run: python docs/draw_{'networks' if name in made else 'rules'}.py"


@pytest.mark.parametrize("family", sorted({*SYSTEMS, "dark", "udp"} - {"litebaseline"}))
def test_every_system_has_a_page_with_all_its_parts(family):
    text = (ROOT / "docs" / f"{family}.md").read_text("utf-8")
    assert "](drawings/" in text
    assert "## What makes it itself" in text
    for part in ("systems", "recipes", "reproduced"):
        assert f"<!-- {part} " in text
    assert f"{family}.md" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.docs
def test_own_data_in_ten_minutes(tmp_path, monkeypatch, capsys):
    """The page's own commands, one after the other, with fewer pictures and steps."""
    monkeypatch.chdir(tmp_path)
    drawn = tmp_path / "data/drawn"
    for _, text in BLOCK.findall((ROOT / "docs/own-data.md").read_text("utf-8")):
        for line in text.replace("\\\n", " ").splitlines():
            words = [{"300": "24", "30": "5"}.get(w, w) for w in shlex.split(line)][1:]
            words += ["--set", "steps=2", "batch=4", "workers=0"] if words[0] == "train" else []
            if words[:2] == ["data", "split"]:  # a project of the reader's own
                kind = "labelstudio" if words[2].endswith(".json") else "deeplabcut"
                listing = str(drawn / "annotations/person_keypoints_val.json")
                place = Path(words[2]).parent if kind == "labelstudio" else Path("PROJECT/labeled-data/images")
                shutil.copytree(drawn / "val", place)
                assert main(["data", "convert", listing, words[2], "--format", kind]) == 0, capsys.readouterr().err
            assert main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "drawn" / "results.json").is_file()


def test_notebooks_hold_their_outputs_which_are_small():
    for path in ROOT.glob("docs/notebooks/*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), path.name
        assert any(cell["outputs"] for cell in cells), path.name
        assert path.stat().st_size < 30_000


@pytest.mark.docs
@pytest.mark.parametrize("notebook", sorted(ROOT.glob("docs/notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"display": print}
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{notebook.name}, {cell.get('id')}", "exec"), names)
