"""The log holds every row once, whatever was interrupted."""

import csv
import sys
import types

import numpy as np
import pytest
import torch

from posewright.image import read
from posewright.report.run_folder import read_log
from posewright.train.run_log import COLUMNS, TAGS, RunLog


def test_rows_go_to_both_files(tmp_path):
    with RunLog(tmp_path, 0) as log:
        log.add({"step": 1, "loss": 0.5, "accuracy": float("nan")})
        log.add({"step": 2, "AP": 0.25})
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "AP": 0.25}]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [(r["step"], r["loss"], r["AP"]) for r in rows] == [("1", "0.5", ""), ("2", "", "0.25")]


def test_a_resumed_run_forgets_rows_beyond_its_checkpoint_and_a_torn_last_line(tmp_path):
    with RunLog(tmp_path, 0) as log:
        for step in (10, 20, 30):
            log.add({"step": step, "loss": 1.0 / step})
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"step": 40, "lo')
    with RunLog(tmp_path, 20) as log:
        log.add({"step": 30, "loss": 9.0})
    assert [(r["step"], r["loss"]) for r in read_log(tmp_path)] == [(10, 0.1), (20, 0.05), (30, 9.0)]
    with (tmp_path / "log.csv").open() as file:
        assert [r["loss"] for r in csv.DictReader(file)] == ["0.1", "0.05", "9.0"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b'{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n', "line 2 is damaged"),
        (b"[" * 100_000 + b'\n{"step": 3}\n', "line 1 is damaged"),
        (b'{"step\x80": 1}\n{"step": 3}\n', "line 1 is damaged"),
        (b'{"step": 1}\n[2]\n', r"line 2: expected an object with the step, got \[2\]"),
        (b'{"loss": 1}\n', "line 1: expected an object with the step"),
    ],
)
def test_damage_is_named_and_drops_no_row_in_silence(tmp_path, lines, message):
    (tmp_path / "log.jsonl").write_bytes(lines)
    with pytest.raises(ValueError, match=rf"log\.jsonl: {message}"):
        read_log(tmp_path)


@pytest.mark.parametrize("module", ["torch.utils.tensorboard", "tensorboardX"])
def test_tensorboard_gets_the_fields_own_tags_where_it_is_installed(tmp_path, monkeypatch, module):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, *scalar):
            written.append(scalar)

        def add_image(self, tag, image, step, dataformats):
            written.append((tag, image.shape, step, dataformats))

        def add_graph(self, net, images):
            written.append((type(net).__name__, net.training, tuple(images.shape)))

        def close(self):
            written.append("closed")

    for name in ("torch.utils.tensorboard", "tensorboardX"):
        tensorboard = types.SimpleNamespace(SummaryWriter=Writer) if name == module else None  # None: not installed
        monkeypatch.setitem(sys.modules, name, tensorboard)
    with RunLog(tmp_path, 4) as log:
        log.add({"step": 5, "epoch": 1, "loss": 0.5, "accuracy": float("nan")})
        log.add({"step": 6, "AP": 0.25, "AP50": 0.5})
        log.add_sheet(6, np.zeros((8, 6, 3), np.uint8))
        log.add_graph(torch.nn.Identity(), (1, 3, 4, 4), torch.device("cpu"))
    assert read(tmp_path / "batch.jpg").shape == (8, 6, 3)
    assert written == [
        (str(tmp_path), 5), ("train_loss", 0.5, 5), ("coco/AP", 0.25, 6), ("coco/AP .5", 0.5, 6),
        ("samples: image, target, prediction", (8, 6, 3), 6, "HWC"), ("Identity", False, (1, 3, 4, 4)), "closed",
    ]  # fmt: skip


def test_every_column_that_changes_has_a_tag():
    assert set(TAGS) == set(COLUMNS) - {"step", "epoch"}


def absent(monkeypatch, *names):
    for name in ("torch.utils.tensorboard", "tensorboardX", *names):
        monkeypatch.setitem(sys.modules, name, None)


class Client:
    """Stands in for the client of a tracker: it keeps what it is called with, by the names of W&B's and MLflow's."""

    def __init__(self):
        self.calls, self.id, self.info = [], "w1", types.SimpleNamespace(run_id="m1")

    def __getattr__(self, name):
        def call(*given, **more):
            self.calls.append((name, *given, *more.items()))
            found = {"get_experiment_by_name": None, "create_experiment": "7", "log_artifact": None}
            if name == "log_artifact":
                assert read(given[1]).shape == (8, 6, 3)
            return found.get(name, self)

        return call

    def of(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def wandb(monkeypatch):
    absent(monkeypatch)
    monkeypatch.setitem(sys.modules, "wandb", client := Client())
    return client


@pytest.fixture
def mlflow(monkeypatch):
    absent(monkeypatch)
    client = Client()
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=lambda: client))
    return client


def write_some(folder, step, logger):
    with RunLog(folder, step, (logger,), {"lr": 0.1, "model": "lpn-50"}) as log:
        log.add({"step": step + 1, "loss": 0.5, "accuracy": float("nan"), "epoch": 1})
        log.add({"step": step + 1, "AP": 0.25, "AP_M": 0.5})
        log.add_sheet(step + 1, np.zeros((8, 6, 3), np.uint8))
        log.add_graph(torch.nn.Identity(), (1, 3, 4, 4), torch.device("cpu"))


def test_wandb_gets_the_same_scalars_and_sheets_and_a_resumed_run_goes_on_in_its_own(tmp_path, wandb):
    write_some(tmp_path, 0, "wandb")
    (started,) = (dict(call) for call in wandb.of("init"))
    assert (started["id"], started["resume"], started["config"]["lr"]) == (None, None, 0.1)
    assert started["dir"] == str(tmp_path)
    assert wandb.of("log")[:2] == [
        ({"train_loss": 0.5}, ("step", 1)),
        ({"coco/AP": 0.25, "coco/AP (M)": 0.5}, ("step", 1)),
    ]
    assert list(wandb.of("log")[2][0]) == ["samples: image, target, prediction"]
    assert wandb.of("Image")[0][0].shape == (8, 6, 3)
    assert wandb.of("finish") == [(("exit_code", 0),)]
    write_some(tmp_path, 1, "wandb")
    assert dict(wandb.of("init")[1])["id"] == "w1"
    assert dict(wandb.of("init")[1])["resume"] == "allow"


def test_mlflow_gets_the_same_scalars_and_sheets_under_names_that_it_allows(tmp_path, mlflow):
    write_some(tmp_path, 0, "mlflow")
    assert mlflow.of("create_run") == [("7", ("run_name", str(tmp_path)))]
    assert mlflow.of("log_param") == [("m1", "lr", "0.1"), ("m1", "model", "lpn-50")]
    assert mlflow.of("log_metric") == [
        ("m1", "train_loss", 0.5, ("step", 1)),
        ("m1", "coco/AP", 0.25, ("step", 1)),
        ("m1", "coco/AP M", 0.5, ("step", 1)),
    ]
    ((run, path, folder),) = mlflow.of("log_artifact")
    assert (run, path.rpartition("/")[2], folder) == ("m1", "step1.jpg", "samples")
    assert mlflow.of("set_terminated") == [("m1", "FINISHED")]
    write_some(tmp_path, 1, "mlflow")
    assert mlflow.of("update_run") == [("m1", ("status", "RUNNING"))]
    assert len(mlflow.of("create_run")) == 1
    with pytest.raises(KeyboardInterrupt), RunLog(tmp_path, 2, ("mlflow",)):
        raise KeyboardInterrupt
    assert mlflow.of("set_terminated")[-1] == ("m1", "FAILED")


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_tracker_whose_client_is_missing_is_named_with_its_package(tmp_path, monkeypatch, name):
    absent(monkeypatch, "wandb", "mlflow")
    with pytest.raises(ModuleNotFoundError, match=f"loggers={name}: its client is not installed: pip install {name},"):
        RunLog(tmp_path, 0, (name,))


def test_a_tracker_that_fails_on_the_way_is_reported_once_and_the_run_goes_on(tmp_path, wandb, monkeypatch, capsys):
    def down(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(wandb, "log", down, raising=False)
    write_some(tmp_path, 0, "wandb")
    told = capsys.readouterr().err
    assert told == "Wandb gets no more of this run: no route to host; log.jsonl has all\n"
    assert [row.get("loss") for row in read_log(tmp_path)] == [0.5, None]


def test_a_client_that_cannot_start_is_one_error_with_its_reason(tmp_path, wandb, monkeypatch):
    def refuse(**_):
        raise RuntimeError("no API key is configured")

    monkeypatch.setattr(wandb, "init", refuse, raising=False)
    with pytest.raises(OSError, match="loggers=wandb: its client cannot start or resume a run: no API key is"):
        RunLog(tmp_path, 0, ("wandb",))
