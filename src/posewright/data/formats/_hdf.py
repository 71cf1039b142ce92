"""Pandas' tables in HDF5, as DeepLabCut keeps them: read without running what they hold, and written by pandas."""

from __future__ import annotations

import io
import pickletools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posewright.files import short
from posewright.weights import torch_file

_MOST = 1 << 20  # bytes of names; a project has some thousands


def read_frame(path: Path) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], np.ndarray]:
    """The only table of an HDF5 file: names of its D columns, names of its R rows, and values [R, D] float64.

    PyTables would unpickle attributes of the file; here nothing but names is read from them.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: h5py is missing.
        ValueError: it is not such a file.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path}: HDF5 files need h5py: pip install posewright[formats]") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path) as file:
            tables = [group for group in file.values() if "pandas_type" in group.attrs]
            if len(tables) != 1:
                raise ValueError(f"{len(tables)} tables of pandas, where 1 is expected")
            kind = _text(tables[0].attrs["pandas_type"])
            columns, rows, values = _appended(tables[0]) if kind == "frame_table" else _fixed(tables[0])
    except Exception as error:  # h5py raises errors of any type on damaged files
        raise ValueError(f"{path}: expected a table that pandas has written: {short(str(error))}") from None
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"{path}: {len(rows)} rows and {len(columns)} columns are named, but values are {values.shape}"
        )
    return columns, rows, values


def _appended(group: Any) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], np.ndarray]:
    """A table of pandas' format "table"."""
    ((_, columns),) = _names(group.attrs["non_index_axes"])
    columns = [_name(column) for column in columns]
    place = {name: n for n, name in enumerate(columns)}
    table = group["table"]
    rows = [(_text(name),) for name in table["index"]]
    values = np.full((len(rows), len(columns)), np.nan)
    for block in (name for name in table.dtype.names if name.startswith("values_block_")):
        at = [place[_name(name)] for name in _names(table.attrs[f"{block}_kind"])]
        values[:, at] = np.asarray(table[block], np.float64).reshape(len(rows), len(at))
    return columns, rows, values


def _names(packed: Any) -> Any:
    if len(bytes(packed)) > _MOST:
        raise ValueError(f"names of columns of {len(bytes(packed))} bytes")
    for opcode, argument, _ in pickletools.genops(bytes(packed)):
        if "GLOBAL" in opcode.name:
            raise ValueError(f"names of columns hold {str(argument or 'code').replace(' ', '.'):.80}")
    return torch_file.run(io.BytesIO(bytes(packed)))


def _name(parts: Any) -> tuple[str, ...]:
    """A column's name; nothing nested in it is shown or compared, as a few bytes may stand for gigabytes."""
    if strange := [type(part).__name__ for part in parts if not isinstance(part, (str, int, float))]:
        raise ValueError(f"a column's name holds a {strange[0]}, where text is expected")
    return tuple(str(part) for part in parts)


def _fixed(group: Any) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], np.ndarray]:
    """A table of pandas' format "fixed"."""
    columns, rows = _axis(group, "axis0"), _axis(group, "axis1")
    values = np.full((len(rows), len(columns)), np.nan)
    place = {name: n for n, name in enumerate(columns)}
    for n in range(int(group.attrs["nblocks"])):
        at = [place[name] for name in _axis(group, f"block{n}_items")]
        values[:, at] = np.asarray(group[f"block{n}_values"][()], np.float64).reshape(len(rows), len(at))
    return columns, rows, values


def _axis(group: Any, name: str) -> list[tuple[str, ...]]:
    if _text(group.attrs[f"{name}_variety"]) != "multi":
        return [(_text(entry),) for entry in group[name][()]]
    levels = range(int(group.attrs[f"{name}_nlevels"]))
    texts = [[_text(entry) for entry in group[f"{name}_level{n}"][()]] for n in levels]
    codes = [group[f"{name}_label{n}"][()].tolist() for n in levels]
    return [tuple(level[code] for level, code in zip(texts, row)) for row in zip(*codes)]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def frame_bytes(
    levels: Sequence[str], columns: Sequence[tuple[str, ...]], rows: Sequence[Sequence[str]], values: np.ndarray
) -> bytes:
    """A table as an HDF5 file of pandas, under DeepLabCut's key; empty where pandas or PyTables is missing.

    Args:
        levels: what the names of the columns are.
        columns: [D] their names, one per level.
        rows: [R] names of the rows, all of the same number of parts.
        values: [R, D].
    """
    try:
        import pandas as pd
        import tables  # pyright: ignore[reportMissingTypeStubs, reportUnusedImport]  # noqa: F401  # pandas' own way to HDF5
    except ImportError:
        return b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.h5"
        index = pd.MultiIndex.from_tuples([tuple(r) for r in rows]) if len(rows[0]) > 1 else [r[0] for r in rows]
        frame = pd.DataFrame(values, index=index, columns=pd.MultiIndex.from_tuples(list(columns), names=levels))
        frame.to_hdf(path, key="df_with_missing", mode="w")
        return path.read_bytes()
