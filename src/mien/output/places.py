"""Where an output goes: the file that is named, or for several sources a file of each in the folder that is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mien.errors import InputError

_ENDINGS = {"episodes": ".csv", "timeline": ".png", "video": ".mp4"}
"""Of the files in a folder."""


def is_folder(path: str | Path) -> bool:
    """Whether a path means a folder: it is one, it ends in a slash, or it has no ending."""
    text = os.fspath(path)
    return Path(path).is_dir() or text.endswith(("/", os.sep)) or not Path(path).suffix


def place_for(path: str | Path, names: Sequence[str], index: int, what: str) -> Path:
    """The file for the source `names[index]`, `what` being `episodes`, `timeline` or `video`.

    In a folder it is called by the source's name without its ending; sources of equal names are numbered. Raises
    InputError when there are several sources and `path` means one file.
    """
    if not is_folder(path):
        if len(names) > 1:
            raise InputError(
                f"{path} is one file, and there are {len(names)} sources; name a folder, which gets a "
                f"{_ENDINGS[what]} file for each"
            )
        return Path(path)
    stems = [_stem(name) for name in names]
    stem = stems[index]
    alike = stems[:index].count(stem)
    return Path(path) / f"{stem}{f'-{alike + 1}' if alike else ''}{_ENDINGS[what]}"


def _stem(name: str) -> str:
    last = name.rstrip("/").rpartition("/")[2].partition("?")[0] if "://" in name else Path(name).name
    stem = Path(last).stem if last not in ("", "-") else "source"
    return stem or "source"
