"""Tables of faces: CSV, JSON lines or Parquet by the file's ending, written as they come and renamed when whole."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mien.errors import InputError, MissingExtraError, did_you_mean
from mien.faces import Faces
from mien.labels import LABELS

#: Columns of x and y, in the order of `Faces.landmarks`.
LANDMARK_COLUMNS: tuple[str, ...] = tuple(
    f"{point}_{axis}" for point in ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth") for axis in "xy"
)
#: What the frame alone says, where the probabilities are smoothed over time.
RAW_COLUMNS: tuple[str, ...] = tuple(f"raw_{label}" for label in LABELS)
COLUMNS: tuple[str, ...] = (
    "source", "frame", "time_s", "id", "detector", "model", "x1", "y1", "x2", "y2", "score",
    *LANDMARK_COLUMNS, "label", "confidence", *LABELS, *RAW_COLUMNS, "quality",
)  # fmt: skip

_TEXT = frozenset({"source", "detector", "model", "label"})
_WHOLE = frozenset({"frame", "id"})
_BATCH = 20_000
"""Rows held in memory at once for Parquet, some tens of MB."""

Row = dict[str, Any]
Writer = Callable[[Row], object]


class Table:
    """An open table; made by `open_table`."""

    def __init__(self, path: Path, add: Writer, min_confidence: float) -> None:
        self._path, self._add, self._min_confidence = path, add, min_confidence

    def write(self, faces: Faces) -> None:
        """Add one row per face; a frame without a face adds none."""
        with _told(self._path):
            for row in _rows(faces, self._min_confidence):
                self._add(row)


@contextmanager
def open_table(path: str | Path, min_confidence: float = 0.0) -> Iterator[Table]:
    """A table to write faces to, `.csv`, `.jsonl` or `.parquet` by the ending of `path`.

        with open_table("faces.csv") as table:
            table.write(faces)

    One row per face with the columns `COLUMNS`: where it was seen, box and landmarks in pixels, the expression
    (`uncertain` where its probability is below `min_confidence`) and the probability of each; in films the smoothed
    one, then that of the frame alone, and how well the face can be read. What is not known is
    empty (null). A picture or frame without a face has no row. Memory does not grow with the number of rows. The
    file appears under its name when the block ends well; after an exception, what was there before is unchanged.

    Raises InputError for another ending or a place that cannot be written, MissingExtraError for Parquet without
    polars.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise InputError(
            f"{path} should end in {', '.join(_WRITERS)} to say what kind of table it is"
            f"{did_you_mean(ending, _WRITERS)}"
        )
    part = path.with_name(f"{path.name}.part")
    stack = ExitStack()
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _told(path):
            add = stack.enter_context(_WRITERS[ending](part))
        yield Table(path, add, min_confidence)
        with _told(path):
            stack.close()
            part.replace(path)
    except BaseException:
        stack.__exit__(*sys.exc_info())  # closes the files without finishing them
        raise
    finally:
        part.unlink(missing_ok=True)


def _rows(faces: Faces, min_confidence: float) -> Iterator[Row]:
    # A file name need not be text; its stray bytes are written as escapes.
    source = faces.source.encode("utf-8", "backslashreplace").decode()
    for face in faces.rows(min_confidence):
        row: Row = dict.fromkeys(COLUMNS)
        row.update(source=source, frame=faces.frame, time_s=round(faces.time, 6), id=face.get("id"))
        row.update(detector=faces.detector, model=faces.model, score=face["score"])
        row.update(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
        if face["landmarks"] is not None:
            row.update(zip(LANDMARK_COLUMNS, (v for point in face["landmarks"] for v in point), strict=True))
        row.update(label=face.get("label"), confidence=face.get("confidence"), **face.get("probabilities", {}))
        row.update({f"raw_{label}": share for label, share in face.get("raw_probabilities", {}).items()})
        row["quality"] = face.get("quality")
        yield row


@contextmanager
def _csv(path: Path) -> Iterator[Writer]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield writer.writerow


@contextmanager
def _json_lines(path: Path) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(json.dumps(row) + "\n")


@contextmanager
def _parquet(path: Path) -> Iterator[Writer]:
    """Polars cannot append to a Parquet file: batches become files of their own, joined at the end."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("writing Parquet", "table") from None
    schema = {c: pl.String if c in _TEXT else pl.Int64 if c in _WHOLE else pl.Float64 for c in COLUMNS}
    batch: list[Row] = []
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:

        def flush() -> None:
            number = len(list(Path(folder).iterdir()))
            pl.DataFrame(batch, schema).write_parquet(Path(folder) / f"{number:06d}.parquet")
            batch.clear()

        def add(row: Row) -> None:
            batch.append(row)
            if len(batch) == _BATCH:
                flush()

        yield add
        flush()
        pl.scan_parquet(sorted(Path(folder).iterdir())).sink_parquet(path)


_WRITERS: dict[str, Callable[[Path], AbstractContextManager[Writer]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong with the file, in one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write the table {path}: {(error.strerror or str(error)).lower()}") from None
