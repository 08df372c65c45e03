"""The photographs that detectors are measured on: each data set is an origin by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.data import photographs
from mien.data.photographs import BOXES, HELD_OUT, Photograph
from mien.errors import DataError


@dataclass(frozen=True)
class Origin:
    """Photographs of one data set that no detector was trained on; `sha256` is of the whole set."""

    name: str
    photographs: list[Photograph]
    sha256: str


def read_origins(paths: Sequence[Path], every: int = 1) -> list[Origin]:
    """Every Nth photograph of each data set: of a Parquet file's held-out part, or of a folder with its boxes.csv.

    Raises DataError where a set is named twice, cannot be read, or has no such photograph.
    """
    for path in paths:
        if paths.count(path) > 1:
            raise DataError(f"{path} is named twice; name each data set once")
    names = [path.name for path in paths]
    return [
        _read(path, path.name if names.count(path.name) == 1 else str(path), every)  # one name, two folders
        for path in paths
    ]


def _read(path: Path, name: str, every: int) -> Origin:
    if path.is_dir():
        if not (path / BOXES).exists():
            raise DataError(
                f"{path} is a folder without {BOXES}, the list of the faces in its pictures, with the columns image, "
                "x1, y1, x2, y2 and, if you like, ignore"
            )
        everything = photographs.read_folder(path)
        if not everything:
            raise DataError(f"{path} holds no pictures")
        digest = hashlib.sha256((path / BOXES).read_bytes())
        for photograph in everything:
            digest.update(photograph.encoded)
        return Origin(name, everything[::every], digest.hexdigest())
    everything = photographs.read(path)
    held_out = photographs.held_out(everything)
    if not held_out:
        raise DataError(
            f"none of the {len(everything):,} photographs of {path} is held out; "
            f"{HELD_OUT:.0%} are, chosen by their hash, so add more"
        )
    return Origin(name, held_out[::every], photographs.file_hash(path))
