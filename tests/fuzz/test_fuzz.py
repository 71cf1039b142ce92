"""The short form of `make fuzz`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="limits on memory and file sizes are those of POSIX")
def test_corrupted_files_and_full_disks(tmp_path):
    """Every kind of file, some of them corrupted dozens of times, and every writer; the counts are in the output."""
    command = [sys.executable, str(Path(__file__).parent), "--cases", "800", "--seed", "1", "--keep", str(tmp_path)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "corrupted files of" in done.stdout
