"""MATLAB files are read as scipy writes them, and damaged ones end in one line."""

import numpy as np
import pytest

from posewright.data import matlab

io = pytest.importorskip("scipy.io")


@pytest.mark.parametrize("packed", [False, True])
def test_what_scipy_writes_is_read(tmp_path, packed):
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.arange(6.0).reshape(2, 3), "text"
    arrays = {
        kind: np.arange(24).reshape(2, 3, 4).astype(kind) for kind in ("u1", "i2", "u4", "i8", "f4", "f8")
    }  # fmt: skip
    io.savemat(
        tmp_path / "a.mat",
        {**{f"x{k}": v for k, v in arrays.items()}, "cells": cells, "one": {"b": 2.5, "a": {"c": "deep"}}, "none": []},
        do_compression=packed,
    )
    found = matlab.read(tmp_path / "a.mat", "something")
    for kind, values in arrays.items():
        assert found[f"x{kind}"].dtype == kind
        assert np.array_equal(found[f"x{kind}"], values)
    assert found["cells"].shape == (2, 1)
    assert np.array_equal(found["cells"][0, 0], cells[0, 0])
    assert found["cells"][1, 0].tolist() == ["text"]
    one = found["one"][0, 0]
    assert one._fieldnames == ["b", "a"]
    assert one.b.tolist() == [[2.5]]
    assert one.a[0, 0].c.tolist() == ["deep"]
    assert found["none"].size == 0


def test_other_files_are_named(tmp_path):
    path = tmp_path / "b.mat"
    for content, reason in (
        (b"", "no header"),
        (b"MATLAB 7.3 MAT-file" + bytes(200), r"version 7\.3, save it with -v7"),
        (bytes(126) + b"IM" + b"\x0f\0\0\0\x08\0\0\0damaged!", "Error -3 while decompressing"),
        (bytes(126) + b"IM" + b"\x0e\0\0\0\xff\0\0\0", "an element of 255 bytes, where 0 are left"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"b\.mat: expected a song.*{reason}"):
            matlab.read(path, "a song")
    with pytest.raises(FileNotFoundError, match=r"c\.mat: no such file"):
        matlab.read(tmp_path / "c.mat", "a song")
