"""The server under load: people per second with many clients at once against one at a time, by the same server.

    python benchmarks/serve.py --clients 64 --seconds 60
    python benchmarks/serve.py --requests 5000          # the server's memory on the way
    python benchmarks/serve.py --malformed 1000         # what broken requests are answered
    python benchmarks/serve.py --stop 64                # SIGTERM while so many requests are in progress

It starts `posewright serve` with the default model on a free port, draws a person, and sends the image with its box.
Alternating rounds of one client and of many keep other work on the machine out of the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import httpx

from posewright.synthetic import people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--malformed", type=int, default=0)
    parser.add_argument("--stop", type=int, default=0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "posewright", "serve", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout
        address = re.search(r"http://\S+", server.stdout.readline())[0]  # pyright: ignore[reportOptionalSubscript]
        listing = json.loads(people.make(Path(folder), 1, split="val", workers=1).read_text())
        image = next(Path(folder).rglob("*.jpg")).read_bytes()
        box = json.dumps([listing["annotations"][0]["bbox"]])
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, pid {server.pid}, {resident(server.pid)} MB")
        load(address, image, box, 1, 3)  # warm
        if options.requests:
            memory(server.pid, address, image, box, options)
        elif options.malformed:
            malformed(address, image, box, options.malformed)
        elif options.stop:
            stop(server, address, image, box, options.stop)
            return
        else:
            ratio(address, image, box, options)
        print(f"{resident(server.pid)} MB at the end")
        server.terminate()


def ratio(address: str, image: bytes, box: str, options: argparse.Namespace) -> None:
    """Alternate one client and many."""
    each, sums = options.seconds / options.rounds, {1: [0, 0.0], options.clients: [0, 0.0]}
    for _ in range(options.rounds):
        for clients, total in sums.items():
            answers, seconds = load(address, image, box, clients, each)
            total[0] += answers[200]
            total[1] += seconds
            print(f"{clients} clients: {dict(answers)} in {seconds:.1f} s, {answers[200] / seconds:.1f} people/s")
    alone, together = (answered / seconds for answered, seconds in sums.values())
    print(f"one at a time {alone:.1f}, {options.clients} at once {together:.1f} people/s: {together / alone:.2f} times")


def memory(pid: int, address: str, image: bytes, box: str, options: argparse.Namespace) -> None:
    """Send many requests and say what memory is in use on the way."""
    done = 0
    while done < options.requests:
        answers, _ = load(address, image, box, 16, 600, most=500)
        done += sum(answers.values())
        print(f"{done} requests, {dict(answers)}: {resident(pid)} MB")


def malformed(address: str, image: bytes, box: str, count: int) -> None:
    """Send broken requests of every kind, count their answers, and see that the server serves on."""
    rng, answers, kinds = random.Random(0), Counter[int](), Counter[str]()
    whole = httpx.Request("POST", address, files={"image": image}, data={"boxes": box})
    body, form = whole.read(), whole.headers["Content-Type"]
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    bomb = head + zlib.crc32(head[12:]).to_bytes(4, "big") + b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
    with httpx.Client(timeout=60) as client:
        for n in range(count):
            place, noise = rng.randrange(len(body)), rng.randbytes(rng.randrange(1, 200))
            kind, content, headers = (
                ("cut short", body[:place], {"Content-Type": form}),
                ("overwritten", body[:200] + noise + body[200 + len(noise) :], {"Content-Type": form}),
                ("random bytes", noise, {"Content-Type": rng.choice([form, "image/png", "text/plain", "image/jpeg"])}),
                ("a bomb", bomb, {"Content-Type": "image/png"}),
                ("wrong types", image, {"Content-Type": "application/json"}),
                ("a huge header", body, {"Content-Type": form, "X-Huge": "a" * 100_000}),
                ("too large", bytes(21 << 20) if n < 14 else noise, {"Content-Type": "image/png"}),
            )[n % 7]
            reply = client.post(f"{address}/v1/poses", content=content, headers=headers)
            answers[reply.status_code] += 1
            kinds[kind] += 400 <= reply.status_code < 500
        after = client.post(f"{address}/v1/poses", files={"image": image}, data={"boxes": box}).status_code
    print(f"{count} malformed requests: {dict(sorted(answers.items()))}; the next one: {after}")
    print(f"answered 4xx, by kind: {dict(kinds)}")


def stop(server: subprocess.Popen[str], address: str, image: bytes, box: str, count: int) -> None:
    """Stop the server while requests are in progress: each that it accepted is answered."""
    answers: Counter[int] = Counter()

    def ask() -> None:
        answers[
            httpx.post(f"{address}/v1/poses", files={"image": image}, data={"boxes": box}, timeout=120).status_code
        ] += 1

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    accepted = 0
    while accepted < count - answers.total():
        text = httpx.get(f"{address}/metrics", timeout=60).text
        accepted = int(re.search(r"in_progress (\d+)", text)[1])  # pyright: ignore[reportOptionalSubscript]
    server.terminate()
    for thread in threads:
        thread.join()
    print(f"SIGTERM with {accepted} of {count} requests in progress: {dict(answers)}; it ended with {server.wait(120)}")


def load(
    address: str, image: bytes, box: str, clients: int, seconds: float, most: int = 1 << 30
) -> tuple[Counter[int], float]:
    """Ask from `clients` threads, without a pause, until the time or `most` requests are over: answers by status."""
    answers: Counter[int] = Counter()
    start, lock = time.monotonic(), threading.Lock()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while time.monotonic() - start < seconds and answers.total() < most:
                reply = client.post(f"{address}/v1/poses", files={"image": image}, data={"boxes": box})
                with lock:
                    answers[reply.status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - start


def resident(pid: int) -> int:
    """Memory of a process, MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024  # pyright: ignore


if __name__ == "__main__":
    main()
