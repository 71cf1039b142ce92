"""Count parameters and GMACs of every pose system into the package's table.

python benchmarks/count.py
"""

from pathlib import Path

import posewright
from posewright.catalogue import count
from posewright.files import write_text
from posewright.models import find, names

if __name__ == "__main__":
    rows = ["name,parameters,gmacs"]
    for name in names():
        parameters, gmacs = count(find(name))
        rows.append(f"{name},{parameters},{gmacs:.4f}")
    write_text(Path(posewright.__file__).parent / "models" / "counts.csv", "\n".join(rows) + "\n")
