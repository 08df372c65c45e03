"""Crops that an interrupted run has made already, in one SQLite file that survives being killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, reason


class CropCache:
    """A store of grey crops `(size, size)` by a key; safe to use from many threads.

    A file of another kind, or one cut short by a power failure, is replaced. Raises DataError where none can be
    written, or no longer.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size, self._lock = path, size, Lock()
        with self._in_one_sentence():
            try:
                self._open()
            except sqlite3.DatabaseError:
                path.unlink(missing_ok=True)
                self._open()

    @contextmanager
    def _in_one_sentence(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot write {self._path}: {reason(error)}") from None

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE IF NOT EXISTS crops (key TEXT PRIMARY KEY, pixels BLOB)")

    def get(self, key: str) -> NDArray[np.uint8] | None:
        """The crop under the key, empty where there was no face; None when it has not been made."""
        with self._lock, self._in_one_sentence():
            row = self._database.execute("SELECT pixels FROM crops WHERE key = ?", (key,)).fetchone()
        if row is None or len(row[0]) not in (0, self._size**2):
            return None
        return np.frombuffer(row[0], np.uint8).reshape(-1, self._size)

    def put(self, key: str, crop: NDArray[np.uint8]) -> None:
        """Write a crop down, or an empty array where there was no face; that takes a tenth of a millisecond."""
        with self._lock, self._in_one_sentence():
            self._database.execute("INSERT OR REPLACE INTO crops VALUES (?, ?)", (key, crop.tobytes()))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
