"""Real faults: a disk that is full, a worker that is killed, a folder that two trainings want, a stale lock."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from posewright.cli import main
from posewright.synthetic import people as synthetic
from posewright.train import _lock
from posewright.train._lock import locked

SMALL = "lpn-18-128x96"  # whose last.pt takes 20 MB


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return str(synthetic.make(tmp_path_factory.mktemp("people"), 6, workers=1))


@pytest.fixture
def disk(tmp_path):
    """Mounts a disk of so many MB; called again, it becomes as large."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(megabytes):
        again = ["-o", f"remount,size={megabytes}m"] if os.path.ismount(folder) else ["-t", "tmpfs", "-o"]
        again += [] if "remount" in again[1] else [f"size={megabytes}m"]
        mount = subprocess.run(["mount", *again, "tmpfs", str(folder)], capture_output=True, text=True)
        if mount.returncode:
            pytest.skip(f"no disk can be mounted here: {mount.stderr.strip()}")
        return folder

    if sys.platform != "linux":
        pytest.skip("disks are mounted on Linux only")
    yield sized
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def train(listing, out, *settings):
    defaults = ("batch=4", "steps=6", "workers=0", "device=cpu", "rounds=1")
    return main(["train", SMALL, "--train", listing, "--out", str(out), "--set", *defaults, *settings])


def started(listing, out, *settings):
    """A training that does not end by itself, in a process of its own."""
    command = [sys.executable, "-m", "posewright", "train", SMALL, "--train", listing, "--out", str(out), "--set"]
    defaults = ("rounds=1", "batch=4", "steps=100000", "workers=0", "device=cpu")
    return subprocess.Popen(
        [*command, *defaults, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for(process, path):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [1, 8, 30])
def test_a_full_disk_is_one_line_and_the_run_can_go_on_later(listing, disk, capsys, megabytes):
    out = disk(megabytes) / "run"
    assert train(listing, out) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("posewright: ")]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]  # half a file
    kept = (out / "last.pt").exists()
    assert kept == (megabytes == 30)  # the first checkpoint fits, but the next one not beside it
    disk(200)
    status = main(["train", "--resume", str(out)]) if kept else train(listing, out)
    assert status == 0
    assert (out / "last.pt").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the worker under /proc")
def test_a_worker_killed_by_the_system_gives_one_line_and_a_checkpoint(listing, tmp_path):
    out = tmp_path / "run"
    process = started(listing, out, "workers=1")
    try:
        wait_for(process, out / "last.pt")  # the first epoch is done, and the worker runs
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("posewright: ")]
    assert f"the run is saved: resume it (--resume {out})" in line


@pytest.mark.slow
def test_of_two_trainings_at_once_the_later_one_is_refused(listing, tmp_path):
    process = started(listing, tmp_path / "run")
    try:
        wait_for(process, tmp_path / "run" / "last.pt")  # a run to resume, were it not for the lock
        other = started(listing, tmp_path / "run")
        _, errors = other.communicate(timeout=120)
        assert other.returncode == 2
        assert f"is in use: process {process.pid} on " in errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()
    with locked(tmp_path / "run"):  # the killed one's lock is known to be stale
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_of_many_that_find_a_stale_lock_one_takes_it_over(tmp_path, monkeypatch):
    stale = {"pid": 1, "host": socket.gethostname(), "started": "", "born": "0"}
    (tmp_path / "run.lock").write_text(json.dumps(stale))
    runs = _lock._runs

    def slowly(owner):
        time.sleep(0.05)
        return runs(owner)

    monkeypatch.setattr(_lock, "_runs", slowly)
    taken, all_tried = [], threading.Barrier(4, timeout=60)

    def attempt():
        try:
            with locked(tmp_path):
                taken.append(True)
                all_tried.wait()
        except FileExistsError:
            all_tried.wait()

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [True]
    assert not (tmp_path / "run.lock").exists()
