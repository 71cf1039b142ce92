"""`posewright serve`: poses over HTTP, and a page to drop photographs on."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posewright.cli._options import Commands, answer, command, existing, running_options, weights_file

if TYPE_CHECKING:
    from posewright.predict.predictor import Predictor

_EXPORTED = (".onnx", ".xml")


def add(commands: Commands) -> None:
    parser = command(commands, "serve", run, "find keypoints over HTTP, with a page to drop photographs on")
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        help="a run's best.pt, an exported file, a pose system whose weights are available locally, or NAME=FILE (of "
        "other toolkits' weights the pose system's name); the first is the default of requests (default: the model "
        "inside the package)",
    )
    parser.add_argument("--detector", metavar="ONNX", type=weights_file, help="YOLOX-style detector of people")
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument("--port", type=int, metavar="N", default=8000, help="port to listen on (default: %(default)s)")
    running_options(parser)
    parser.add_argument(
        "--token-file", metavar="FILE", type=existing, help="its text is asked of clients; or $POSEWRIGHT_TOKEN"
    )
    parser.add_argument(
        "--queue", type=int, default=128, metavar="N", help="requests in progress (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=30, metavar="S", help="seconds per request (default: 30)")
    parser.add_argument("--max-mb", type=float, default=20, metavar="MB", help="of a request (default: 20)")
    parser.add_argument("--max-megapixels", type=float, default=40, metavar="N", help="of an image (default: 40)")
    parser.add_argument("--max-boxes", type=int, default=100, metavar="N", help="of an image (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    try:
        from posewright.serve import server
        from posewright.serve.service import Service
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is missing: pip install 'posewright[serve]'") from None
    from posewright.predict.boxes import OnnxDetector
    from posewright.serve.limits import Limits
    from posewright.weights import hub

    limits = Limits(
        bytes=int(options.max_mb * (1 << 20)),
        pixels=int(options.max_megapixels * 1e6),
        boxes=options.max_boxes,
        requests=options.queue,
        seconds=options.timeout,
    )
    with server.listen(options.host, options.port) as listener:  # a port in use is told before anything is loaded
        named = _named(options.models or ["default"])
        models = {name: _loaded(name, file, options) for name, file in named.items()}
        detectors = {}
        if options.detector:
            detectors[Path(options.detector).stem] = OnnxDetector(hub.resolve(options.detector))
        file, own = options.token_file, os.environ.get("POSEWRIGHT_TOKEN", "")
        token = Path(file).read_text().strip() if file else own
        service, at = Service(models, detectors, limits), server.address(listener)
        text = f"{', '.join(models)}: {at} (Ctrl-C stops)"
        if not token and not server.private(listener):
            text += "\nanyone who reaches this address may use it: --token-file asks clients for a token"
        answer(options, text, address=at, models=list(models))
        sys.stdout.flush()  # also where a pipe reads it
        server.run(service, listener, token)
    return 0


def _named(given: Sequence[str]) -> dict[str, str]:
    """The files of models by the names that they are served under; "" for a pose system's own weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: two have one name.
    """
    files, first = dict[str, str](), dict[str, str]()
    for model in given:
        name, file = _name_and_file(model)
        if name in files:
            raise ValueError(
                f"{first[name]} and {model} would both be served as {name!r}: name them apart, NAME=FILE (files of "
                "other toolkits need their pose system for a name)"
            )
        files[name], first[name] = file, model
    return files


def _name_and_file(given: str) -> tuple[str, str]:
    """Of an exported file its own name, of a run's checkpoint that of the run's folder, else what stands before "="."""
    path = Path(given)
    if path.is_file():
        return path.stem if path.suffix in _EXPORTED else path.resolve().parent.name, given
    for found in re.finditer("=", given):
        if found.start() and Path(given[found.end() :]).exists():
            return given[: found.start()], given[found.end() :]
    if "=" in given or path.suffix in _EXPORTED:
        raise FileNotFoundError(f"{given}: no such file; expected a pose system, FILE or NAME=FILE")
    return given, ""


def _loaded(name: str, file: str, options: argparse.Namespace) -> Predictor:
    """A model by what `_named` says of it; a name that was given may be the file's pose system, or any."""
    from posewright.models import names
    from posewright.predict.predictor import load
    from posewright.weights.checkpoint import describe

    settings: dict[str, Any] = {"device": options.device, "flip": options.flip_test, "runtime": options.runtime}
    alone = file in options.models
    if not file or Path(file).suffix in _EXPORTED:
        return load(file or name, **settings)
    says_itself = describe(file) is not None and name not in names()
    return load(None if alone or says_itself else name, file, **settings)
