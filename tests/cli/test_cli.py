"""The command line as a whole: help at once, and usage where it helps."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "words", [[], ["train"], ["eval"], ["predict"], ["demo"], ["models"], ["data", "synth"], ["weights", "pull"]]
)
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from posewright.cli import main\n"
        f"try: main({[*words, '--help']!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'rich', 'msgspec'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "usage: posewright" in out
    assert out.splitlines()[-1] == "[]"
