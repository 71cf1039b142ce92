"""Files are written atomically, and a folder that cannot be written into is named."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from posewright import files


def test_round_trips(tmp_path):
    files.write_bytes(tmp_path / "new" / "deep" / "a.bin", b"\0\1")
    assert (tmp_path / "new/deep/a.bin").read_bytes() == b"\0\1"
    files.write_text(tmp_path / "a.txt", "grün")
    assert (tmp_path / "a.txt").read_text("utf-8") == "grün"
    files.write_json(tmp_path / "a.json", {"b": [1, 2.5]})
    assert (tmp_path / "a.json").read_text() == '{"b":[1,2.5]}'
    files.write_json(tmp_path / "a.json", {"b": [1, None]}, indent=2)
    assert "\n  " in (tmp_path / "a.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None]}


def test_permissions_are_those_of_any_new_file(tmp_path):
    files.write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fill(file):
        file.write(b"new, but")
        raise RuntimeError("the machine is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        files.write_with(path, fill)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_seen_before_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"

    def fill(file):
        file.write(b"x")
        file.flush()
        assert not path.exists()

    files.write_with(path, fill)
    assert path.read_text() == "x"


def test_json_cannot_hold_what_it_has_no_word_for(tmp_path):
    with pytest.raises(TypeError, match="object"):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert not list(tmp_path.iterdir())


def test_nan_becomes_null(tmp_path):
    files.write_json(tmp_path / "a.json", [float("nan"), float("inf")])
    assert (tmp_path / "a.json").read_text() == "[null,null]"


def test_ready_folder(tmp_path):
    assert files.ready_folder(tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a/b").iterdir())


def test_unwritable_folders_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write into .*file: .*; choose another folder"):
        files.ready_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"cannot write into .*file/inside"):
        files.write_text(tmp_path / "file" / "inside" / "x", "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot write into"):
        files.ready_folder(tmp_path)


def test_a_full_disk_names_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    files.write_text(tmp_path / "a.txt", "old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(
            OSError, match=r"cannot write .*a\.txt: File too large; free some space .*that was there is kept"
        ):
            files.write_text(tmp_path / "a.txt", "new" * 10)
        with pytest.raises(
            OSError, match=r"cannot write .*net\.pt: File too large; free some space .*nothing was left"
        ):
            files.write_with(tmp_path / "net.pt", lambda file: torch.save({"a": torch.zeros(100)}, file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


KILLED = """
import os, pathlib, signal, sys
from posewright import files
def fill(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
files.write_with(pathlib.Path(sys.argv[1]), fill)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "a[1].pt"
    files.write_text(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert path.read_text() == "old"
    files.write_text(tmp_path / "b.pt", "another file")
    assert len(list(tmp_path.iterdir())) == 3
    files.write_text(path, "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a[1].pt", "b.pt"]


def test_the_partial_file_of_a_running_writer_stays(tmp_path):
    path = tmp_path / "a.pt"

    def fill(file):
        file.write(b"first")
        files.write_text(path, "second")

    files.write_with(path, fill)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_character_in_json_names_the_file(tmp_path):
    (tmp_path / "a.json").write_text('{"name": "\\ud800"}')
    with pytest.raises(ValueError, match=r"a\.json: expected numbers by name"):
        files.read_json(tmp_path / "a.json", dict[str, int], "numbers by name")
