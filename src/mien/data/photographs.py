"""Photographs in which the faces are marked: what the face detector learns from and is measured on."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, MissingExtraError, reason

Part = Literal["train", "validation"]

HELD_OUT = 0.15
"""Share of the photographs that is kept for validation, chosen by their hash: adding others moves none."""

MIRRORED_ORDER = [1, 0, 2, 4, 3]
"""Of the landmarks of a mirrored face: its right eye has become the left one."""

_NOSE = 0.42
"""How far the nose stands out, as a share of the distance from the eyes to the mouth."""

_COLUMNS = ("image", "faces", "landmarks", "ignore")


@dataclass(frozen=True)
class Photograph:
    """One picture, encoded, with what is known to be in it, in pixels and float32.

    `boxes` (n, 4) x1 y1 x2 y2, may reach past the border; `landmarks` (n, 5, 2): right eye, left eye, nose, right and
    left corner of the mouth, as the person has them; `ignore` (m, 4) boxes that are neither face nor background.
    `kind` is the collection's own word for it, `source` names it to people.
    """

    encoded: bytes
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    ignore: NDArray[np.float32]
    kind: str
    source: str

    @property
    def sha256(self) -> str:
        """Of the encoded picture."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def part(self) -> Part:
        """Where this picture belongs; the same on every machine."""
        return "validation" if int(self.sha256[:8], 16) < HELD_OUT * 2**32 else "train"

    def pixels(self) -> NDArray[np.uint8]:
        """The picture `(H, W, 3)` uint8 RGB; raises DataError where it cannot be decoded."""
        image = cv2.imdecode(np.frombuffer(self.encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DataError(f"{self.source} cannot be decoded; it should be a JPEG or PNG picture")
        return np.asarray(image, np.uint8)


def read(*paths: Path) -> list[Photograph]:
    """All photographs of Parquet files with the columns `image` (bytes), `faces` (lists of x1, y1, x2, y2 in
    pixels), `landmarks` (for every face five x, y, flat or nested), `ignore` (boxes) and, if it likes, `kind`.

    Raises DataError, with the row, where a file is anything else.
    """
    return [photograph for path in paths for photograph in _read(path)]


def _read(path: Path) -> list[Photograph]:
    found = []
    for i, row in enumerate(_rows(path)):
        source = f"{path.name}:{i}"
        boxes, ignore = (_boxes(source, name, row[name]) for name in ("faces", "ignore"))
        landmarks = _floats(source, "landmarks", row["landmarks"]).reshape(-1, 5, 2)
        if len(landmarks) != len(boxes):
            raise DataError(
                f"{source}: {len(boxes)} faces but landmarks of {len(landmarks)}; every face needs its five"
            )
        found.append(Photograph(row["image"] or b"", boxes, landmarks, ignore, row.get("kind") or "", source))
    if not found:
        raise DataError(f"{path} holds no photographs")
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    names, rows, damaged = _parquet()
    try:
        return rows(path, _present(path, names(path)))
    except (damaged, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _parquet() -> tuple[
    Callable[[Path], Collection[str]], Callable[[Path, list[str]], list[dict[str, Any]]], type[Exception]
]:
    """What gives a file's columns, what gives its rows, and what is raised of a damaged one: of polars, or of pyarrow
    where only that is installed, as on many a GPU's machine."""
    try:
        import polars as pl

        return (
            pl.read_parquet_schema, lambda path, columns: pl.read_parquet(path, columns=columns).to_dicts(),
            pl.exceptions.PolarsError,
        )  # fmt: skip
    except ImportError:
        pass
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    return (
        lambda path: parquet.read_schema(path).names,
        lambda path, columns: parquet.read_table(path, columns=columns).to_pylist(), pa.ArrowException,
    )  # fmt: skip


def _present(path: Path, columns: Collection[str]) -> list[str]:
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise DataError(f"{path} should have the columns {', '.join(_COLUMNS)}; it lacks {', '.join(missing)}")
    return [*_COLUMNS, *(["kind"] if "kind" in columns else [])]


BOXES = "boxes.csv"
_CORNERS = ("x1", "y1", "x2", "y2")
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_folder(folder: Path) -> list[Photograph]:
    """All pictures of a folder, in the order of their names, with the boxes that its `boxes.csv` gives them.

    That file has the columns image, x1, y1, x2, y2 in pixels, a line for each face, and ignore where it likes: 1 makes
    of the box one that is neither face nor background. Pictures without a line hold no face; landmarks are not known.
    Raises DataError, with the line, where it is anything else.
    """
    boxes: dict[str, list[list[float]]] = {path.name: [] for path in sorted(folder.iterdir()) if _is_picture(path)}
    ignore: dict[str, list[list[float]]] = {name: [] for name in boxes}
    listed = folder / BOXES
    try:
        with listed.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {listed}: {reason(error)}") from None
    if rows and (missing := [name for name in ("image", *_CORNERS) if name not in rows[0]]):
        raise DataError(f"{listed} should have the columns image, x1, y1, x2, y2; it lacks {', '.join(missing)}")
    for line, row in enumerate(rows, 2):
        if row["image"] not in boxes:
            raise DataError(f"{listed}:{line}: there is no picture {row['image']!r} in {folder}")
        try:
            box = [float(row[name]) for name in _CORNERS]
        except (TypeError, ValueError):
            box = []
        if not (np.isfinite(box).all() and box and box[0] < box[2] and box[1] < box[3]):
            raise DataError(f"{listed}:{line}: x1, y1, x2, y2 should be four numbers with x1 < x2 and y1 < y2")
        (ignore if (row.get("ignore") or "0") not in ("0", "false") else boxes)[row["image"]].append(box)
    return [
        Photograph(
            (folder / name).read_bytes(), np.array(found, np.float32).reshape(-1, 4),
            np.full((len(found), 5, 2), np.nan, np.float32), np.array(ignore[name], np.float32).reshape(-1, 4),
            "", f"{folder.name}/{name}",
        )
        for name, found in boxes.items()
    ]  # fmt: skip


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _PICTURES


def held_out(everything: Sequence[Photograph]) -> list[Photograph]:
    """Those that no detector is trained on."""
    return [photograph for photograph in everything if photograph.part == "validation"]


def yaws(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how many degrees (n,) faces are turned aside, 0 to 90, estimated from their landmarks (n, 5, 2).

    The nose stands out from the line between the middles of the eyes and of the mouth by two fifths of their
    distance, so a head turned by y shows it aside by sin(y) times that. The eyes' own distance, the usual measure of a
    face, vanishes in a profile.
    """
    eyes, mouth = landmarks[:, :2].mean(1), landmarks[:, 3:].mean(1)
    axis = mouth - eyes
    length = np.maximum(np.linalg.norm(axis, axis=1), 1e-6)
    nose = landmarks[:, 2] - eyes
    aside = np.abs(axis[:, 0] * nose[:, 1] - axis[:, 1] * nose[:, 0]) / length**2
    return np.asarray(np.degrees(np.arcsin(np.minimum(aside / _NOSE, 1))), np.float32)


def file_hash(*paths: Path) -> str:
    """SHA-256 of the file, which a run and its scores name as their data; of several, that of their hashes in turn."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _boxes(source: str, name: str, value: Sequence[Any] | None) -> NDArray[np.float32]:
    boxes = _floats(source, name, value).reshape(-1, 4)
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        raise DataError(f"{source}: {name} holds an empty box; boxes are x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    return boxes


def _floats(source: str, name: str, value: Sequence[Any] | None) -> NDArray[np.float32]:
    each = {"faces": 4, "ignore": 4, "landmarks": 10}[name]
    try:
        numbers = np.array(value or [], np.float32)
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan, np.float32)
    if numbers.size % each or not np.isfinite(numbers).all():
        raise DataError(f"{source}: {name} should be lists of {each} numbers")
    return numbers
