"""MATLAB files, which MPII and LSP are published in; scipy reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read(path: Path, wanted: str) -> dict[str, Any]:
    """The variables of a MATLAB file, structures as objects with attributes.

    Args:
        path: the file.
        wanted: what it should hold, in words, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: scipy is missing.
        ValueError: it is not such a file.
    """
    try:
        from scipy import io
    except ImportError:
        raise ImportError(f"{path}: MATLAB files need scipy: pip install posewright[formats]") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return io.loadmat(path, squeeze_me=False, struct_as_record=False)
    except Exception as error:  # scipy raises what its parser stumbles over: of any type, on damaged files
        raise ValueError(f"{path}: expected {wanted}; not a MATLAB file, or damaged: {str(error)[:200]}") from None
