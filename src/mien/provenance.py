"""What a number must carry to be believed: commit, machine, versions, date and command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from mien import __version__
from mien.files import printable


def provenance() -> dict[str, Any]:
    """Version, commit (None outside a checkout; `-dirty` when files differ), machine, date and command."""
    return {
        "mien": __version__,
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": printable(shlex.join([_program(), *sys.argv[1:]])),
    }


def _program() -> str:
    path = Path(sys.argv[0])
    return "mien" if path.name == "__main__.py" else path.name


def machine() -> str:
    """Processor, number of cores and system, in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


@cache
def commit() -> str | None:
    """The checkout's, when this process first asked; None outside one."""
    folder = Path(__file__).resolve().parent
    git = ["git", "-C", str(folder)]
    try:
        described = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            check=True,
        )
        # An installed package inside somebody else's repository is not that repository's commit.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
