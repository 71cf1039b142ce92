"""Shell completion offers what the parsers know."""

import shutil
import subprocess

import pytest


def completed(script, *words):
    """What bash offers after these words."""
    line = " ".join(f"'{w}'" for w in words)
    code = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _posewright; echo ${{COMPREPLY[*]}}"
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["we"], ["weights"]),
        (["weights", "p"], ["pull"]),
        (["weights", "pull", "--off"], ["--offline"]),
        (["predict", "photo.jpg", "--box-"], ["--box-threshold"]),
        (["completion", "z"], ["zsh"]),
        (["predict", "photo"], []),
    ],
)
def test_bash_completes_commands_tasks_options_and_choices(run, words, offered):
    _, script, _ = run("completion", "bash")
    assert completed(script, "posewright", *words) == offered


def test_each_shell_gets_a_script(run):
    assert "bashcompinit" in run("completion", "zsh")[1]
    fish = run("completion", "fish")[1].splitlines()
    assert any("__fish_seen_subcommand_from weights" in line and "-l offline" in line for line in fish)
    assert all(line.startswith("complete -c posewright -n ") for line in fish)
