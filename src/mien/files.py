"""Files that are whole or not there: written aside, under a name that nobody else has, then renamed."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import OutputError, reason

if sys.platform != "win32":
    import fcntl

_PART = re.compile(r"\..*\.[0-9a-f]{8}\.part")
_LEFT = 60.0
"""Seconds for which what a killed run left is not touched."""
_swept: set[Path] = set()
"""Folders that have been looked through by this process."""


@contextmanager
def replacing(path: Path, what: str, *, salvage: bool = False) -> Iterator[Path]:
    """An empty file beside `path` to write to, which takes its name when the block ends well.

    Folders are made as needed. A block that deletes the file leaves what was there. Whatever goes wrong, what was under
    that name before is unchanged. Nothing else is left beside it, but with `salvage`: then what could be written is
    kept as `NAME.cut.ENDING` when writing fails, and the error names that file. Raises OutputError, `what` being the
    words for it, when the file cannot be written.

    A run that was killed leaves its hidden file, which the next one that writes into the folder removes; those that are
    still being written are locked.
    """
    part: Path | None = None
    check_named(path, what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        part = _reserved(path)
        with _held(part):
            yield part
        if part.exists():
            part.replace(path)
    except (OSError, OutputError) as error:
        words = str(error) if isinstance(error, OutputError) else f"cannot write {what}: {reason(error)}"
        kept = _salvaged(part, path) if salvage and part is not None else None
        whole = getattr(error, "whole", None)
        raise OutputError(f"{words}; what could be written is in {kept}" if kept else words, whole) from None
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def printable(name: str | Path) -> str:
    """A file name need not be text; its stray bytes become escapes."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def check_named(path: Path, what: str) -> None:
    """Raises OutputError where a path has no last part to be a file's name: `.`, `/` and the empty one."""
    if not path.name:
        raise OutputError(f"cannot write {what}: {path} is a folder; name a file")


def _reserved(path: Path) -> Path:
    """A new, empty file in the same folder: hidden, and with the permissions that a new file gets."""
    stem = path.name
    while len(os.fsencode(stem)) > 200:  # most file systems take 255 bytes
        stem = stem[:-1]
    while True:
        part = path.with_name(f".{stem}.{secrets.token_hex(4)}.part")
        with suppress(FileExistsError):
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return part


def hold(path: Path, how: int = os.O_RDWR) -> int | None:
    """A descriptor, opened as `how` says, that holds a file or folder for as long as it is open, however the process
    ends; None where somebody else holds it, or the file system or Windows has no such locks."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, how)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether nobody else holds this file, which is held until the block ends."""
    descriptor = hold(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed left there; once, since folders may be large."""
    folder = folder.resolve()
    if folder in _swept:
        return
    _swept.add(folder)
    parts: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:  # it may be open to writing alone
        parts = [Path(entry.path) for entry in entries if _PART.fullmatch(entry.name)]
    for part in parts:
        with suppress(OSError):
            if time.time() - part.stat().st_mtime < _LEFT:
                continue
            with _held(part) as free:
                if free:
                    for batches in folder.glob(f"{glob.escape(part.name)}?*"):  # of a Parquet table
                        shutil.rmtree(batches)
                    part.unlink()


def _salvaged(part: Path, path: Path) -> Path | None:
    """Where what could be written is kept, under a name that is free; None where that is nothing."""
    with suppress(OSError):
        if not part.stat().st_size:
            return None
        count = 1
        while True:
            kept = path.with_name(f"{path.stem}.cut{'' if count == 1 else f'-{count}'}{path.suffix}")
            if not os.path.lexists(kept):
                part.replace(kept)
                return kept
            count += 1
    return None
