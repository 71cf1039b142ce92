"""Corrupted files of every kind, and full disks: `python tests/fuzz --seconds 120 --seed 0` (or `make fuzz`).

The property: a reader either works or raises ValueError, OSError or LookupError in a few words that name the file;
never another exception, a crash, a hang or a gigabyte of memory. A writer that runs out of disk raises OSError, keeps
the old file and leaves nothing beside it. The counts are printed; the exit status is 1 where anything failed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

HANG = 10
"""Seconds that a file of a few kB may take."""
MEMORY = 1 << 30
"""Bytes that it may take beyond what the process had before."""
LONGEST = 2000
"""Characters of a message."""


class Hang(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


def main() -> int:
    """Runs workers until the time is over: one that crashes is counted, and the next goes on behind the fatal file."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--cases", type=int, default=0, help="so many cases instead of so many seconds")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, help="folder for the files that failed")
    options.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker is not None:
        return work(given.worker, given.seed, given.seconds, given.cases, given.keep)
    first, crashes, failed, end = 0, 0, False, time.monotonic() + given.seconds
    while crashes < 20 and (left := end - time.monotonic()) > 0:
        with tempfile.NamedTemporaryFile() as place:
            command = [
                sys.executable,
                __file__,
                "--seed",
                str(given.seed),
                "--seconds",
                str(left),
                "--worker",
                str(first),
            ]
            command += ["--keep", str(given.keep)] if given.keep else []
            command += ["--cases", str(given.cases)]
            done = subprocess.run(command, env=os.environ | {"FUZZ_PLACE": place.name}, timeout=left + 120, check=False)
            failed |= done.returncode != 0
            if done.returncode >= 0:
                break
            number, what = Path(place.name).read_text().split(maxsplit=1)
            print(f"CRASH by signal {-done.returncode} at case {number}: {what}", flush=True)
            first, crashes = int(number) + 1, crashes + 1
    return int(failed)


def work(first: int, seed: int, seconds: float, cases: int, keep: Path | None) -> int:
    """Cases from the `first` on, in this process."""
    from inputs import corrupted, kinds

    warnings.simplefilter("ignore")
    counts, failures = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = kinds(folder)
        for kind in every:
            if (wrong := outcome(kind, folder, kind.good)) != "works":
                print(f"FAILED on a good {kind.name}: {wrong}")
                return 1
        failures.update(full_disks(folder, random.Random(seed)))
        limit_memory()
        end, case = time.monotonic() + seconds, first
        while case < cases if cases else case - first < len(every) or time.monotonic() < end:
            kind, rng = every[case % len(every)], random.Random(f"{seed}/{case}")
            data = corrupted(kind.good, rng)
            Path(os.environ["FUZZ_PLACE"]).write_text(f"{case} {kind.name}")
            result = outcome(kind, folder, data)
            counts[result if result in ("works", "refused") else "failed"] += 1
            if result not in ("works", "refused"):
                failures[f"{kind.name}: {result}"] += 1
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{case}-{kind.name}").write_bytes(data)
            case += 1
    print(
        f"seed {seed}: {case - first} corrupted files of {len(every)} kinds: "
        + ", ".join(f"{n} {k}" for k, n in counts.items())
    )
    for what, times in failures.most_common():
        print(f"FAILED {times} times: {what}")
    return int(bool(failures))


def outcome(kind, folder: Path, data: bytes) -> str:
    """ "works", "refused", or what was wrong."""
    path = folder / kind.name
    path.write_bytes(data)
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG)
    try:
        kind.read(path)
    except (ValueError, OSError, LookupError) as error:
        text = str(error)
        # A run's folder may stand for its file, and a name in the file may be what is missing.
        named = path.name in text or str(folder) in text
        if not named:
            return f"{type(error).__name__} without the file's name: {text[:200]!r}"
        return (
            "refused" if len(text) <= LONGEST else f"{type(error).__name__} of {len(text)} characters: {text[:100]!r}"
        )
    except Hang:
        return f"took more than {HANG} s"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    finally:
        signal.alarm(0)
        path.unlink(missing_ok=True)
    return "works"


def hang(*_: object) -> None:
    raise Hang


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def full_disks(folder: Path, rng: random.Random) -> list[str]:
    """Every writer with too little room, several times each; what was wrong."""
    import numpy as np
    import torch

    from posewright import files, image
    from posewright.weights import checkpoint

    state = {"weight": torch.randn(50, 50)}
    pixels = rng.randbytes(64 * 64 * 3)
    writers = {
        "full.pt": lambda path: checkpoint.write_checkpoint(path, {"model": state}),
        "full.safetensors": lambda path: checkpoint.save(path, state, {}),
        "full.ckpt": lambda path: checkpoint.write_mindspore(path, state),
        "full.json": lambda path: files.write_json(path, list(range(5000))),
        "full.txt": lambda path: files.write_text(path, "x" * 9000),
        "full.png": lambda path: image.write(path, np.frombuffer(pixels, np.uint8).reshape(64, 64, 3)),
    }
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    wrong, tried = [], 0
    for name, write in writers.items():
        room = folder / "disk"
        room.mkdir(exist_ok=True)
        path = room / name
        write(path)
        whole = path.read_bytes()
        for _ in range(5):
            resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(len(whole)), resource.RLIM_INFINITY))
            try:
                write(path)
                said = "no error"
            except OSError as error:
                said = "" if name in str(error) else f"OSError without the file's name: {str(error)[:200]!r}"
            except BaseException as error:
                said = f"{type(error).__name__}: {str(error)[:200]!r}"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            if path.read_bytes() != whole:
                said += " and the old file was damaged"
            if left := [p.name for p in room.iterdir() if p != path]:
                said += f" and {left} stayed"
            wrong += [f"full disk, {name}: {said}"] if said else []
            tried += 1
        path.unlink()
    print(f"{tried} writes to a full disk: {tried - len(wrong)} ended as they must")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
