"""Every command and line of Python in the documents works: it parses, names what exists, and the short ones run."""

import argparse
import ast
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import posewright as pw
from posewright.cli import main, parser
from posewright.synthetic import people as synthetic
from posewright.train import recipes
from posewright.train.loop import TrainConfig, fit

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
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


COMMANDS = [pytest.param(words, id=f"{name}: {' '.join(words)[:60]}") for name, words in commands()]
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
        elif path.suffix == ".json":
            shutil.copy(drawn / "annotations" / "person_keypoints_val.json", path)
            shutil.copytree(drawn / "val", path.parent / "val", dirs_exist_ok=True)
        elif path.suffix == ".jpg":
            shutil.copy(drawn / "val" / "000000000001.jpg", path)
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
    words = laid_out(words, drawn, tmp_path)
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
    others = re.search(r"\b[A-Z]{2,}\b|--detector|/lspet/", " ".join(words))  # a placeholder, or files not drawn here
    if " ".join(words).startswith(SHORT) and not others:
        small = [
            ("3" if words[place - 1] == "--images" and word.isdigit() else word) for place, word in enumerate(words)
        ]
        assert main(small) == 0, capsys.readouterr().err


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
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not wrong, "\n".join(wrong)
