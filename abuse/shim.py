"""Compiles `shim.c`, where there is a C compiler for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def compiled(folder: Path) -> Path | None:
    """The library, in a folder; None where the system is not Linux, or has no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", library, source, "-ldl"], check=True)
    return library
