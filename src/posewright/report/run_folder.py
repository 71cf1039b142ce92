"""What a run's folder holds, as its page needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All rows of a run's log, oldest first; a last line cut short by a crash is left out."""
    path = folder / "log.jsonl"
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            rows.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            break
    return rows
