"""A real server process: told to stop, it answers what it accepted first; broken HTTP does not stop it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import posewright
from posewright.cli import main


@pytest.fixture
def started(tmp_path):
    """A server whose network runs once the file `let` is there: the process and its address."""
    path = os.pathsep.join([str(Path(posewright.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(Path(__file__).with_name("served.py")), str(tmp_path / "let")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}) as server:
        yield server, re.search(r"http://\S+", server.stdout.readline())[0]
        server.kill()


def send(address: str, data: bytes) -> bytes:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1 << 16)


NO_HTTP = (
    b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /v1/poses HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/poses HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: image/png\r\n\r\nzz\r\n",
)
HUNG_UP = b"POST /v1/poses HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"


def test_broken_http_is_refused_and_sigterm_loses_no_accepted_request(started, png, boxes, tmp_path):
    server, address = started
    for data in NO_HTTP:
        answer = send(address, data)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (data[:60], answer)
    send(address, HUNG_UP)
    request = {"files": {"image": png}, "data": {"boxes": boxes}, "timeout": 60}
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(httpx.post, f"{address}/v1/poses", **request) for _ in range(6)]
        with httpx.Client() as client:
            while "posewright_requests_in_progress 6" not in client.get(f"{address}/metrics").text:
                assert not any(job.done() for job in jobs)
                time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        (tmp_path / "let").touch()
        assert [job.result().status_code for job in jobs] == [200] * 6
    assert server.wait(20) in (0, -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")


def test_a_port_in_use_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert re.fullmatch(r"posewright: cannot listen on 127\.0\.0\.1, port \d+: .*\n", capsys.readouterr().err)


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert main(["serve", "hrnet-w32-256x191", "--port", "0"]) == 2
    assert "hrnet-w32-256x192" in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("ex", "d2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.onnx").touch()
    assert main(["serve", "ex/a.onnx", "d2/a.onnx", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "ex/a.onnx and d2/a.onnx would both be served as 'a': name them apart, NAME=FILE" in said


@pytest.mark.parametrize("model", ["runs/lr=1/best.pt", "mine=runs/lr=1/best.onnx"])
def test_a_file_may_have_an_equals_sign_in_its_path(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / model.removeprefix("mine=")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"broken")
    assert main(["serve", model, "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "such as 'hrnet-w32-256x192': runs/lr=1/best.pt does" in said or "posewright: runs/lr=1/best.onnx: " in said
    assert main(["serve", f"{model}.gone", "--port", "0"]) == 2
    assert (
        f"posewright: {model}.gone: no such file; expected a pose system, FILE or NAME=FILE" in capsys.readouterr().err
    )


def test_an_exported_file_is_served_under_any_name(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("posewright.predict.predictor.load", lambda *given, **_: asked.append(given))
    monkeypatch.setattr("posewright.serve.service.Service", lambda models, *_: served.update(models))
    monkeypatch.setattr("posewright.serve.server.run", lambda *_: None)
    served = {}
    (tmp_path / "a.onnx").touch()
    assert main(["serve", f"mine={tmp_path}/a.onnx", f"{tmp_path}/a.onnx", "--port", "0"]) == 0
    assert list(served) == ["mine", "a"]
    assert asked == [(f"{tmp_path}/a.onnx",)] * 2
