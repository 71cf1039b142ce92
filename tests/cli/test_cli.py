"""The command line as a whole: help at once, usage where it helps, wrong paths before anything loads, and --json."""

import argparse
import json
import subprocess
import sys

import pytest

from posewright.cli import main, parser


def commands(whole=None):
    """Every parser, by how it is called."""
    whole = whole or parser()
    yield whole
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in {id(choice): choice for choice in action.choices.values()}.values():
                yield from commands(sub)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


HEAVY = "print(sorted({'torch', 'numpy', 'cv2', 'rich', 'msgspec'} & set(sys.modules)))"


@pytest.mark.parametrize(
    "words", [[], ["train"], ["eval"], ["predict"], ["demo"], ["models"], ["data", "synth"], ["weights", "pull"]]
)
def test_help_imports_nothing_heavy(words):
    lines = python(
        "import sys; from posewright.cli import main\n"
        f"try: main({[*words, '--help']!r})\n"
        f"except SystemExit: pass\n{HEAVY}"
    )
    assert lines[0].startswith("usage: posewright")
    assert lines[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "nowhere.jpg"],
        ["predict", ".", "--weights", "nowhere.pt"],
        ["predict", ".", "--boxes", "nowhere.json"],
        ["eval", "--data", "nowhere.json"],
        ["train", "lpn_50_coco", "--train", "nowhere.json"],
        ["train", "--resume", "nowhere"],
        ["weights", "convert", "nowhere.pth", "--to", "official", "--out", "x.pth"],
    ],
)
def test_a_wrong_path_is_reported_before_torch_is_loaded(words):
    lines = python(
        "import sys; sys.stderr = sys.stdout; from posewright.cli import main\n"
        f"print(main({words!r}))\nprint('torch' in sys.modules)"
    )
    assert lines[0].startswith("posewright: nowhere")
    assert "no such file" in lines[0]
    assert lines[1:] == ["2", "False"]


def test_an_unknown_option_shows_the_usage_of_its_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["predict", ".", "--typo"])
    errors = capsys.readouterr().err
    assert left.value.code == 2
    assert errors.startswith("usage: posewright predict")
    assert "--typo" in errors.splitlines()[-1]


def test_every_option_says_what_it_does_and_what_it_takes():
    wrong = []
    for each in commands():
        for action in each._actions:
            if not action.help and not isinstance(action, argparse._SubParsersAction):
                wrong.append(f"{each.prog} {action.dest}: no help")
            if action.nargs != 0 and action.option_strings and not (action.metavar or action.choices):
                wrong.append(f"{each.prog} {action.dest}: no metavar")
    assert not wrong, "\n".join(wrong)


def test_python_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "posewright", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("posewright ")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["models", "mspn-2stg-*"], "models"),
        (["models", "show", "lpn-50-256x192"], "lines"),
        (["recipes"], "recipes"),
        (["recipes", "show", "lpn_50_coco"], "model"),
        (["weights", "list", "lpn*"], "weights"),
        (["weights", "verify"], "weights"),
        (["completion", "bash"], "script"),
    ],
)
def test_json_is_one_object_on_standard_output(run, monkeypatch, tmp_path, words, key):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path))
    status, text, _ = run(*words, "--json")
    assert status == 0
    assert key in json.loads(text)
    assert run(*words, "--quiet")[1] == ""


def test_models_show_prints_kernel_and_output_shape_of_each_layer(run):
    status, text, _ = run("models", "show", "simplebaseline-r18-slim-128x96", "--layers")
    rows = [line.split() for line in text.splitlines()]
    assert status == 0
    assert ["layer", "kind", "kernel", "output"] in rows
    assert ["conv1", "Conv2d", "7x7,", "stride", "2", "64x64x48"] in rows
    assert rows[-1] == ["final_layer", "Conv2d", "1x1,", "stride", "1", "17x32x24"]
    assert text.startswith(run("models", "show", "simplebaseline-r18-slim-128x96")[1].rstrip())
    for words in (("models", "--layers"), ("models", "lpn*", "--layers")):
        status, _, errors = run(*words)
        assert status == 2
        assert "--layers is for one pose system: posewright models show NAME --layers" in errors


def test_recipes_shows_one_with_or_without_the_word(run):
    assert run("recipes", "show", "people14") == run("recipes", "people14")
    assert json.loads(run("recipes", "people14")[1])["model"] == "litebaseline-192x192"
    assert run("recipes", "show")[0] == 2


def test_a_wrong_name_is_answered_with_few_near_ones(run):
    for words in (("models", "show", "lpn"), ("recipes", "zzz"), ("weights", "pull", "hrnet-w32-256x192")):
        status, _, errors = run(*words)
        assert status == 2
        assert errors.count(",") <= 5
