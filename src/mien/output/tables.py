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

from mien.errors import InputError, MissingExtraError, did_you_mean, reason
from mien.faces import Faces
from mien.labels import LABELS

#: Columns of x and y, in the order of `Faces.landmarks`.
LANDMARK_COLUMNS: tuple[str, ...] = tuple(
    f"{point}_{axis}" for point in ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth") for axis in "xy"
)


def columns(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Of a table for these labels; `raw_` is what the frame alone says, where probabilities are smoothed over time."""
    return (
        "source", "frame", "time_s", "id", "detector", "model", "x1", "y1", "x2", "y2", "score",
        *LANDMARK_COLUMNS, "label", "confidence", *labels, *(f"raw_{label}" for label in labels), "quality",
    )  # fmt: skip


COLUMNS: tuple[str, ...] = columns(LABELS)

_TEXT = frozenset({"source", "detector", "model", "label"})
_WHOLE = frozenset({"frame", "id"})
_BATCH = 20_000
"""Rows held in memory at once for Parquet, some tens of MB."""

Row = dict[str, Any]
Writer = Callable[[Row], object]


class Table:
    """An open table; made by `open_table`."""

    def __init__(self, path: Path, add: Writer, min_confidence: float, labels: tuple[str, ...]) -> None:
        self._path, self._add, self._min_confidence = path, add, min_confidence
        self._labels, self._names = labels, columns(labels)

    def write(self, faces: Faces) -> None:
        """Add one row per face; a frame without a face adds none. Raises InputError on faces with other labels than the
        table's."""
        if faces.probs is not None and faces.label_names != self._labels:
            raise InputError(
                f"the table {self._path} is for {', '.join(self._labels)}, and {faces.model or 'the network'} tells "
                f"{', '.join(faces.label_names)} apart; open it with the analyzer's labels"
            )
        with _told(self._path):
            for row in _rows(faces, self._names, self._min_confidence):
                self._add(row)


@contextmanager
def open_table(path: str | Path, min_confidence: float = 0.0, labels: tuple[str, ...] = LABELS) -> Iterator[Table]:
    """A table to write faces to, `.csv`, `.jsonl` or `.parquet` by the ending of `path`.

        with open_table("faces.csv") as table:
            table.write(faces)

    One row per face with the `columns` of `labels`, which are the analyzer's: where it was seen, box and landmarks in
    pixels, the expression (`uncertain` where its probability is below `min_confidence`) and the probability of each;
    in films the smoothed one, then that of the frame alone, and how well the face can be read. What is not known is
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
            add = stack.enter_context(_WRITERS[ending](part, columns(labels)))
        yield Table(path, add, min_confidence, labels)
        with _told(path):
            stack.close()
            part.replace(path)
    except BaseException:
        stack.__exit__(*sys.exc_info())  # closes the files without finishing them
        raise
    finally:
        part.unlink(missing_ok=True)


def _rows(faces: Faces, names: tuple[str, ...], min_confidence: float) -> Iterator[Row]:
    # A file name need not be text; its stray bytes are written as escapes.
    source = faces.source.encode("utf-8", "backslashreplace").decode()
    for face in faces.rows(min_confidence):
        row: Row = dict.fromkeys(names)
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
def _csv(path: Path, names: tuple[str, ...]) -> Iterator[Writer]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        yield writer.writerow


@contextmanager
def _json_lines(path: Path, names: tuple[str, ...]) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(json.dumps(row) + "\n")


@contextmanager
def _parquet(path: Path, names: tuple[str, ...]) -> Iterator[Writer]:
    """Polars cannot append to a Parquet file: batches become files of their own, joined at the end."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("writing Parquet", "table") from None
    schema = {c: pl.String if c in _TEXT else pl.Int64 if c in _WHOLE else pl.Float64 for c in names}
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


_WRITERS: dict[str, Callable[[Path, tuple[str, ...]], AbstractContextManager[Writer]]] = {
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
        raise InputError(f"cannot write the table {path}: {reason(error)}") from None
