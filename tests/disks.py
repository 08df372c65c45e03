"""Small disks for tests, in memory, as root may make them on Linux."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, room: int) -> Iterator[Path]:
    """A folder on a disk of its own of `room` KiB; skips the test where none may be made."""
    path.mkdir()
    if not sys.platform.startswith("linux") or not _mount("-t", "tmpfs", "-o", f"size={room}k", "tmpfs", path):
        pytest.skip("needs the right to mount a disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def make_read_only(path: Path) -> None:
    """From now on nothing can be written to a small disk."""
    assert _mount("-o", "remount,ro", path)


def _mount(*words: object) -> bool:
    try:
        return subprocess.run(["mount", *map(str, words)], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
