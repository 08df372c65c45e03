"""Files that are whole or not there: written aside, under a name that nobody else has, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import OutputError, reason


@contextmanager
def replacing(path: Path, what: str, *, salvage: bool = False) -> Iterator[Path]:
    """An empty file beside `path` to write to, which takes its name when the block ends well.

    Folders are made as needed. A block that deletes the file leaves what was there. Whatever goes wrong, what was under
    that name before is unchanged. Nothing else is left beside it, but with `salvage`: then what could be written is
    kept as `NAME.cut.ENDING` when writing fails, and the error names that file. Raises OutputError, `what` being the
    words for it, when the file cannot be written.
    """
    part: Path | None = None
    check_named(path, what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _reserved(path)
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
