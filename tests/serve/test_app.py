"""The server's routes: poses as the predictor finds them, limits, and one clear sentence for whatever else comes."""

import asyncio
import json
import random
import re
import struct
import threading
import zlib

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from posewright import image
from posewright.predict.calibrated import Calibration
from posewright.predict.predictor import Predictor
from posewright.serve.app import create_app
from posewright.serve.limits import Limits
from posewright.serve.service import Service

ADDRESS = "http://posewright"


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS)


def ask(app: FastAPI, method: str = "POST", path: str = "/v1/poses", **request) -> httpx.Response:
    async def once():
        async with client(app) as session:
            return await session.request(method, path, **request)

    return asyncio.run(once())


@pytest.fixture
def service(predictor):
    service = Service({"dots": predictor}, limits=Limits(bytes=200_000, pixels=100_000, boxes=3, requests=4, threads=4))
    yield service
    service.close()


@pytest.fixture
def app(service):
    return create_app(service)


def test_poses_are_those_of_the_predictor(app, predictor, pixels, png, boxes):
    told = ask(app, files={"image": png}, data={"boxes": boxes, "threshold": "0.5"}).json()
    poses = predictor(pixels, json.loads(boxes))
    assert {k: told[k] for k in ("model", "boxes", "width", "height", "threshold")} == {
        "model": "dots", "boxes": "request", "width": 120, "height": 90, "threshold": 0.5,
    }  # fmt: skip
    points = [[(p["x"], p["y"]) for p in pose["keypoints"]] for pose in told["poses"]]
    np.testing.assert_allclose(points, poses.xy, atol=1e-3)
    assert [p["name"] for p in told["poses"][0]["keypoints"]] == ["left_red", "right_green", "blue"]
    assert [[p["shown"] for p in pose["keypoints"]] for pose in told["poses"]] == (poses.score > 0.5).tolist()


def test_calibrated_scores_stand_beside_the_raw_ones(predictor, png, boxes):
    def told():
        service = Service({"dots": predictor})
        reply = ask(create_app(service), files={"image": png}, data={"boxes": boxes}).json()
        service.close()
        return reply["poses"]

    plain = told()
    assert [pose["calibrated"] for pose in plain] == [None, None]
    predictor.calibration = Calibration((0.0, 1.0), (0.5, 0.5), 20, 0.3, 0.1)
    assert [pose["calibrated"] for pose in told()] == [0.5, 0.5]
    assert [pose["score"] for pose in told()] == [pose["score"] for pose in plain]


def test_an_image_alone_is_a_body_too_and_comes_back_drawn(app, png, pixels, boxes):
    reply = ask(
        app, content=png, params={"boxes": boxes}, headers={"Content-Type": "image/png", "Accept": "image/jpeg"}
    )
    assert reply.headers["content-type"] == "image/jpeg"
    drawn = image.decode(reply.content, "answer")
    assert drawn.shape == pixels.shape
    assert (drawn[:, :, 1] > 200).sum() > (pixels[:, :, 1] > 200).sum()


def test_people_are_found_by_the_detector_unless_told_otherwise(predictor, finder, png):
    service = Service({"dots": predictor}, {"finder": finder}, Limits(boxes=1))
    app = create_app(service)
    told = ask(app, files={"image": png}).json()
    assert told["boxes"] == "dots.onnx, best 1 of 2"
    assert [pose["box"] for pose in told["poses"]] == [[60, 40, 24, 32]]
    assert ask(app, files={"image": png}, data={"detector": "none"}).json()["boxes"].startswith("whole image")
    assert ask(app, "GET", "/v1/models").json()["detectors"] == ["finder", "none"]
    service.close()


def test_models_say_what_a_page_needs(app):
    (model,) = ask(app, "GET", "/v1/models").json()["models"]
    assert model["name"], model["system"] == ("dots", "dots-64x48")
    assert model["bones"] == [[0, 2], [1, 2]]
    assert model["point_colours"][:2] == ["#00ff00", "#ff8000"]  # left and right


def test_the_page_is_one_file_and_health_and_openapi_answer(app):
    page = ask(app, "GET", "/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for text in (page.text, ask(app, "GET", "/docs").text):
        assert "https://" not in text
        assert not any(f'src="{scheme}' in text for scheme in ("http", "//", "/"))
    assert ask(app, "GET", "/healthz").text == "ok\n"
    form = ask(app, "GET", "/openapi.json").json()["paths"]["/v1/poses"]["post"]["requestBody"]["content"]
    assert set(form["multipart/form-data"]["schema"]["properties"]) == {
        "image", "model", "detector", "boxes", "threshold", "format",
    }  # fmt: skip


def test_metrics_count_answers_people_and_runs(app, png, boxes):
    ask(app, files={"image": png}, data={"boxes": boxes})
    ask(app, files={"image": b"x"})
    lines = ask(app, "GET", "/metrics").text.splitlines()
    for line in (
        'posewright_requests_total{status="200"} 1',
        'posewright_requests_total{status="422"} 1',
        "posewright_people_total 2",
        "posewright_requests_in_progress 0",
        "posewright_request_seconds_count 2",
        'posewright_network_runs_total{model="dots"} 1',
        'posewright_network_crops_total{model="dots"} 2',
    ):
        assert line in lines


def test_a_token_is_asked_for_where_there_is_one(service, png):
    app = create_app(service, token="sésame")
    for path in ("/v1/models", "/metrics"):
        assert ask(app, "GET", path).status_code == 401
    refused = ask(app, files={"image": png}, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert "Authorization: Bearer TOKEN" in refused.json()["error"]
    right = {"Authorization": "Bearer sésame".encode()}
    assert ask(app, files={"image": png}, headers=right).status_code == 200
    assert ask(app, "GET", "/").status_code == ask(app, "GET", "/healthz").status_code == 200


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def form(image: bytes = b"", **fields: str) -> dict:
    return {"files": {"image": ("../../etc/passwd", image)}, "data": fields}


@pytest.mark.parametrize(
    ("status", "text", "request_"),
    [
        (422, "not an image", form(b"hello")),
        (422, "not an image", form(b"")),
        (413, "30000 x 30000 .* limit of 100,000 of this server.*--max-megapixels$", form(bomb(30_000, 30_000))),
        (413, "image", form(bomb(2**31 - 1, 2**31 - 1))),
        (422, "expected a file in the field 'image', got text", {"files": {"other": b"x"}, "data": {"image": "x"}}),
        (422, "got no such field", {"files": {"boxes": (None, "[]")}}),
        (422, "unknown field 'treshold'", form(b"x", treshold="0.2")),
        (422, "field threshold: expected a number from 0 to 1", form(b"x", threshold="high")),
        (422, "field threshold", form(b"x", threshold="nan")),
        (422, "field format: expected json or jpeg", form(b"x", format="png")),
        (422, r"field boxes\[1\]: expected a JSON list", form(b"x", boxes="[[1, 2, 3, 4], [1, 2, 3]]")),
        (422, "field boxes: expected a JSON list", form(b"x", boxes="[" * 50_000)),
        (422, "field boxes", form(b"x", boxes="[[NaN, 0, 1, 1]]")),
        (422, "no model is named 'other'; there are: dots", form(b"x", model="other")),
        (422, "no detector is named '/etc/passwd'", form(b"x", detector="/etc/passwd")),
        (413, "4 boxes; this server takes at most 3", form(b"x", boxes=json.dumps([[1, 2, 3, 4]] * 4))),
        (413, "more than 200000 bytes", form(bytes(300_000))),
        (413, "more than 200000 bytes", {"content": [bytes(1000)] * 300, "headers": {"Content-Type": "image/png"}}),
        (415, "expected a multipart/form-data body", {"json": {"image": "x"}}),
        (415, "expected a multipart/form-data body", {}),
        (431, r"the headers are 20\d+ bytes; this server takes at most 16384", {"headers": {"X-Huge": "a" * 20_000}}),
        (400, "boundary", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, "many files", {"files": [("image", b"x"), ("image", b"x")]}),
        (400, "exceeded", form(b"x", boxes="[" * 100_000)),
    ],
)  # fmt: skip
def test_a_malformed_request_gets_one_sentence(app, status, text, request_):
    async def stream(parts):
        for part in parts:
            yield part

    if isinstance(parts := request_.get("content"), list):
        request_ = request_ | {"content": stream(parts)}
    reply = ask(app, **request_)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert re.search(text, error)
    assert "\n" not in error
    assert "passwd" not in error or "no detector" in error


@pytest.mark.parametrize("where", ["outside", "empty", "infinite"])
def test_a_box_that_no_image_has_is_refused(app, png, where):
    box = {"outside": [500, 8, 24, 32], "empty": [10, 8, 0, 32], "infinite": [0, 0, 1e308, 1e308]}[where]
    reply = ask(app, files={"image": png}, data={"boxes": json.dumps([box])})
    assert reply.status_code == 422
    assert re.search("box|crop", reply.json()["error"])


# Starlette leaves the file of a part without an end to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_body_cut_short_is_refused(app, png):
    whole = httpx.Request("POST", ADDRESS, files={"image": png})
    for keep in range(0, len(whole.read()), 97):
        headers = {"Content-Type": whole.headers["Content-Type"]}
        reply = ask(app, content=whole.content[:keep], headers=headers)
        assert 400 <= reply.status_code < 500
        assert reply.json()["error"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_requests_are_refused_and_the_next_is_served(app, png, boxes):
    whole = httpx.Request("POST", ADDRESS, files={"image": png}, data={"boxes": boxes})
    body, kind, rng = whole.read(), whole.headers["Content-Type"], random.Random(0)

    async def damaged():
        async with client(app) as session:
            for n in range(100):
                place, noise = rng.randrange(len(body)), rng.randbytes(rng.randrange(1, 60))
                damaged_ones = (body[:place], body[:place] + noise + body[place + len(noise) :], noise)[n % 3]
                declared = kind if n % 5 else rng.choice(["image/png", "text/plain", "multipart/form-data; boundary="])
                yield await session.post("/v1/poses", content=damaged_ones, headers={"Content-Type": declared})
            yield await session.post("/v1/poses", content=body, headers={"Content-Type": kind})

    async def statuses():
        return [(reply.status_code, list(reply.json())) async for reply in damaged()]

    *damaged_ones, last = asyncio.run(statuses())
    assert last[0] == 200
    assert all(status == 200 or (400 <= status < 500 and keys == ["error"]) for status, keys in damaged_ones)
    assert sum(status >= 400 for status, _ in damaged_ones) > 80


def test_other_paths_and_methods_are_refused(app):
    assert ask(app, "GET", "/etc/passwd").json() == {"error": "Not Found"}
    assert ask(app, "GET", "/v1/poses").status_code == 405


class Held:
    """A network that runs when it is let."""

    def __init__(self, net):
        self.net, self.let, self.started = net, threading.Event(), threading.Event()

    def __call__(self, images):
        self.started.set()
        assert self.let.wait(20)
        return self.net(images)


@pytest.fixture
def held(predictor):
    net = Held(predictor.net)
    yield net
    net.let.set()


def test_a_full_queue_answers_429_and_loses_nothing_it_accepted(predictor, held, png, boxes):
    service = Service({"dots": Predictor(predictor.spec, held, flip=False)}, limits=Limits(requests=3, threads=2))

    async def crowd():
        async with client(create_app(service)) as session:
            request = {"files": {"image": png}, "data": {"boxes": boxes}}
            post = [asyncio.create_task(session.post("/v1/poses", **request)) for _ in range(3)]
            await asyncio.to_thread(held.started.wait, 20)
            while service.metrics.in_progress < 3:
                await asyncio.sleep(0.01)
            late = await session.post("/v1/poses", files={"image": png})
            held.let.set()
            again = [await task for task in post]
            return late, again, await session.post("/v1/poses", files={"image": png}, data={"boxes": boxes})

    late, accepted, after = asyncio.run(crowd())
    assert late.status_code == 429
    assert late.headers["retry-after"] == "1"
    assert [reply.status_code for reply in [*accepted, after]] == [200] * 4
    assert len({reply.text for reply in [*accepted, after]}) == 1
    service.close()


def test_an_answer_that_takes_too_long_is_503_and_keeps_its_place_until_it_is_done(predictor, held, png, boxes):
    service = Service({"dots": Predictor(predictor.spec, held, flip=False)}, limits=Limits(requests=1, seconds=0.2))
    app = create_app(service)
    slow = ask(app, files={"image": png}, data={"boxes": boxes})
    assert slow.status_code == 503
    assert "no answer within 0.2 s" in slow.json()["error"]
    assert service.metrics.in_progress == 1
    held.let.set()
    service.close()


def test_a_body_that_never_ends_is_408(predictor, png):
    service = Service({"dots": predictor}, limits=Limits(seconds=0.2))

    async def drip():
        yield png[:10]
        await asyncio.sleep(5)

    reply = ask(create_app(service), content=drip(), headers={"Content-Type": "image/png"})
    assert reply.status_code == 408
    assert service.metrics.in_progress == 0
    service.close()


def test_a_failure_of_the_server_is_a_500_that_tells_nothing_of_it(predictor, png, boxes):
    def broken(images):
        raise RuntimeError("at /home/somebody/secret")

    service = Service({"dots": Predictor(predictor.spec, broken, flip=False)})

    async def once():
        transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as session:
            return await session.post("/v1/poses", files={"image": png}, data={"boxes": boxes})

    reply = asyncio.run(once())
    assert (reply.status_code, reply.json()) == (500, {"error": "the server failed (RuntimeError); its log says more"})
    service.close()


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match="limit of boxes: expected more than 0, got 0"):
        Limits(boxes=0)
