"""What a run's folder holds, as its page needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All rows of a run's log, oldest first; a last line cut short by a crash is left out.

    Raises:
        ValueError: an earlier line is damaged, or a line is not an object with a step.
    """
    path = folder / "log.jsonl"
    rows = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}: line {number} is damaged: {error}; remove it or the file") from None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(
                f"{path}: line {number}: expected an object with the step, got {line[:100].decode(errors='replace')}"
            )
        rows.append(row)
    return rows
