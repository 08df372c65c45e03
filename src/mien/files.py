"""Files that are whole or not there: written aside, then renamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import InputError, reason


@contextmanager
def replacing(path: Path, what: str) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its name when the block ends well.

    Folders are made as needed. Whatever goes wrong, what was under that name before is unchanged and nothing is left
    beside it. Raises InputError, `what` being the words for it, where the place cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {what}: {reason(error)}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
