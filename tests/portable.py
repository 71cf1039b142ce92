"""What depends on the CPU, under several instruction sets: `python tests/portable.py` (or `make test-portable`).

One machine stands for many: BLAS, numpy, torch, oneDNN and OpenCV are each restricted to fewer instructions than it
has. Sets that the machine lacks are left out by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent

SETS = {
    "Nehalem": ("Nehalem", "default", "SSE41", ("X86_V3", "X86_V4"), "AVX,AVX2,AVX512-SKX", "ssse3"),
    "Haswell": ("Haswell", "avx2", "AVX2", ("X86_V4",), "AVX512-SKX", "avx2"),
    "Zen": ("Zen", "avx2", "AVX2", ("X86_V4",), "AVX2,AVX512-SKX", "avx2"),
    "SkylakeX": ("SkylakeX", "", "AVX512_CORE", (), "", "avx512bw"),
    "Cooperlake": ("Cooperlake", "", "AVX512_CORE", (), "AVX512-SKX", "avx512_bf16"),
}
"""Kernels of OpenBLAS, vectors of torch, highest set of oneDNN, what numpy and OpenCV disable, the flag needed."""

DEPENDENT = [
    "codecs", "test_geometry.py", "test_image.py", "test_losses.py", "evaluate", "models/test_golden.py",
    "models/test_contract.py", "data/test_augment.py",
]  # fmt: skip
"""What computes with floats, without the large networks and the meta device's shapes, which no CPU changes."""
NOT = (
    "not structure and not as_the_codec_reads_them and not onnx and not every_parameter and not mspn and not hrnet_w32"
)
OPTIONS = ["-q", "-n", "logical", "--maxprocesses", "4", "--dist", "worksteal", "-m", "not slow and not docs"]


def environment(
    blas: str, vectors: str, highest: str, numpy_without: tuple[str, ...], cv_without: str
) -> dict[str, str]:
    """The variables that make this machine an older one."""
    from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

    later = "" if "X86_V4" not in numpy_without else [f for f in dispatched if f.startswith("AVX512")]
    wanted = {
        "OPENBLAS_CORETYPE": blas,
        "ATEN_CPU_CAPABILITY": vectors,
        "ONEDNN_MAX_CPU_ISA": highest,
        "NPY_DISABLE_CPU_FEATURES": " ".join([f for f in numpy_without if f in dispatched] + list(later)),
        "OPENCV_CPU_DISABLE": cv_without,
    }
    return {key: value for key, value in wanted.items() if value}


def main() -> int:
    """Every set in turn; 1 where a test failed under one."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    failed = []
    for name, (*settings, flag) in SETS.items():
        if flag not in flags.split():
            print(f"{name}: left out, this machine lacks {flag}", flush=True)
            continue
        variables = environment(*settings)
        print(f"{name}: " + " ".join(f"{key}='{value}'" for key, value in variables.items()), flush=True)
        command = [sys.executable, "-m", "pytest", *OPTIONS, "-k", NOT, *DEPENDENT, *sys.argv[1:]]
        if subprocess.run(command, env=os.environ | variables, cwd=TESTS, check=False).returncode:
            failed.append(name)
    print("failed under " + ", ".join(failed) if failed else "the same under every instruction set")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
