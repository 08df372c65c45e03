"""The server's private folder: gone when the server ends or, where it was killed, at the next start.

A folder is held with a lock that the system lets go when the process is gone, however it ended.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.files import hold

_PREFIX = "mien-serve-"
_NEW = "mien-new-"
_log = logging.getLogger("mien.serve")


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder in the system's one for temporary files that nobody else can read; it is removed at the end, and so are
    those that servers of this user left behind when they were killed."""
    parent = Path(tempfile.gettempdir())
    for left in sweep(parent):
        _log.warning("removed what a server that was killed had left: %s", left.name)
    made = Path(tempfile.mkdtemp(prefix=_NEW, dir=parent))
    held = _hold(made)
    # It gets its name only now that it is held, so that nobody else who starts can take it for one left behind.
    folder = made.rename(parent / made.name.replace(_NEW, _PREFIX, 1))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep(parent: Path) -> list[Path]:
    """Remove folders of servers that are gone, and say which. Only what is a folder, of this user, closed to all
    others, and held by nobody is touched; a link is never followed."""
    swept = []
    for path in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            about = path.lstat()
            ours = about.st_uid == os.getuid() if hasattr(os, "getuid") else False
            if not (ours and stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) == 0o700):
                continue
            held = _hold(path)
            if held is None:
                continue
            try:
                if os.path.samestat(os.fstat(held), about):
                    shutil.rmtree(path)  # which follows no links either
                    swept.append(path)
            finally:
                os.close(held)
    return swept


def _hold(folder: Path) -> int | None:
    """As `hold`, of a folder that is no link."""
    return hold(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
