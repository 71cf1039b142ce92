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
