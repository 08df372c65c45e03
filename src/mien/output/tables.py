"""Tables of faces and of frames: CSV, JSON lines or Parquet by the file's ending, whole or not there."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mien.columns import TEXT_COLUMNS, polars_schema, table_columns, to_cell
from mien.errors import InputError, OutputError, did_you_mean, reason
from mien.faces import SCHEMA, Faces
from mien.files import printable, replacing
from mien.labels import LABELS

COLUMNS: tuple[str, ...] = table_columns(LABELS)
"""Of a table of faces for the seven expressions."""
FRAME_COLUMNS: tuple[str, ...] = ("source", "frame", "time_s", "width", "height", "faces", "people")
"""Of a table of frames: how many faces were found, and how many of them are people who are followed."""

_BATCH = 20_000
"""Rows held in memory at once for Parquet, some tens of MB."""

Row = dict[str, Any]
Provenance = dict[str, Any]
Add = Callable[[Row], object]


class Table:
    """An open table of faces or frames; made by `open_table` and `open_frames_table`."""

    def __init__(self, path: Path, add: Add, rows: Callable[[Faces], Iterator[Row]]) -> None:
        self.path = path
        self._add, self._rows = add, rows
        self.failure: OutputError | None = None
        """Why it is not whole."""

    def write(self, faces: Faces) -> None:
        """Add the rows of a frame; nothing more once that has failed. Raises InputError on faces with other labels than
        the table's, OutputError when it cannot be written; it is not put in its place then."""
        if self.failure is not None:
            return
        try:
            for row in self._rows(faces):
                self._add(row)
        except OSError as error:
            self.failure = OutputError(f"cannot write the table {self.path}: {reason(error)}")
            raise self.failure from None


def open_table(
    path: str | Path,
    min_confidence: float = 0.0,
    label_names: tuple[str, ...] = LABELS,
    provenance: Provenance | None = None,
) -> AbstractContextManager[Table]:
    """A table to write faces to, `.csv`, `.jsonl` or `.parquet` by the ending of `path`.

        with open_table("faces.csv") as table:
            table.write(faces)

    One row per face. CSV and Parquet have the `table_columns` of `label_names`, which are the analyzer's: where it was
    seen, box and landmarks in pixels, the expression (`uncertain` where its probability is below `min_confidence`) and
    the probability of each; in films the smoothed one, then that of the frame alone, and how well the face can be read.
    What is not known is empty (null). A line of JSON has the same about its source, then the face as `Faces.rows`
    gives it. In CSV a text that a spreadsheet would take for a formula has an apostrophe before it, which
    `mien.columns.from_cell` takes away. A picture or frame without a face has no row: those are in the table of frames.
    Memory does not grow with the number of rows. `provenance` goes into Parquet's metadata under the key `mien`, else
    into `NAME.json` beside the table.

    The file appears under its name when the block ends well; after an exception, what was there before is unchanged.
    When it cannot be written to its end, what could be is kept as `NAME.cut.ENDING`, which the error names.

    Raises InputError for another ending, OutputError for a place that cannot be written, MissingExtraError for Parquet
    without polars.
    """

    def check(faces: Faces) -> None:
        if faces.probs is not None and faces.label_names != label_names:
            raise InputError(
                f"the table {path} is for {', '.join(label_names)}, and {faces.model or 'the network'} tells "
                f"{', '.join(faces.label_names)} apart; open it with the analyzer's label_names"
            )

    def flat(faces: Faces) -> Iterator[Row]:
        check(faces)
        return faces.table_rows(min_confidence)

    def nested(faces: Faces) -> Iterator[Row]:
        check(faces)
        frame = faces.to_dict(min_confidence)
        about = {
            "schema": SCHEMA, "source": frame["source"], "frame": faces.frame, "time_s": round(faces.time, 6),
            "detector": faces.detector, "model": faces.model,
        }  # fmt: skip
        return ({**about, **face} for face in frame["faces"])

    rows = nested if Path(path).suffix.lower() == ".jsonl" else flat
    return _open(path, table_columns(label_names), rows, provenance)


def open_frames_table(path: str | Path, provenance: Provenance | None = None) -> AbstractContextManager[Table]:
    """As `open_table`, for a table with one row per frame, with or without faces, and the columns `FRAME_COLUMNS`."""

    def rows(faces: Faces) -> Iterator[Row]:
        people = None if faces.ids is None else int((faces.ids > 0).sum())
        values = (
            printable(faces.source), faces.frame, round(faces.time, 6), faces.width, faces.height, len(faces), people,
        )  # fmt: skip
        yield dict(zip(FRAME_COLUMNS, values, strict=True))

    return _open(path, FRAME_COLUMNS, rows, provenance)


def beside(path: Path) -> list[Path]:
    """The file that says where a table comes from; Parquet says so itself."""
    return [] if path.suffix.lower() == ".parquet" else [path.with_name(f"{path.name}.json")]


def check_table(path: str | Path) -> None:
    """Raises InputError when a table cannot be of the kind that the ending of `path` says."""
    ending = Path(path).suffix.lower()
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; name a file for the table")
    if ending not in _WRITERS:
        raise InputError(
            f"{path} should end in {', '.join(_WRITERS)} to say what kind of table it is"
            f"{did_you_mean(ending, _WRITERS)}"
        )


@contextmanager
def _open(
    path: str | Path,
    names: tuple[str, ...],
    rows: Callable[[Faces], Iterator[Row]],
    provenance: Provenance | None,
) -> Iterator[Table]:
    path = Path(path)
    check_table(path)
    ending = path.suffix.lower()
    about = json.dumps(provenance) if provenance is not None else ""
    with replacing(path, f"the table {path}", salvage=True) as part:
        with _WRITERS[ending](part, names, about) as add:
            table = Table(path, add, rows)
            yield table
        if table.failure is not None:
            raise table.failure
    for place in beside(path) if about else ():
        try:
            with replacing(place, str(place)) as part:
                part.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        except OutputError as error:
            raise OutputError(f"wrote the table {path}, but not where it comes from: {error}", whole=path) from None


@contextmanager
def _csv(path: Path, names: tuple[str, ...], about: str) -> Iterator[Add]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        texts = [name for name in names if name in TEXT_COLUMNS]
        yield lambda row: writer.writerow({**row, **{name: to_cell(row[name]) for name in texts}})


@contextmanager
def _json_lines(path: Path, names: tuple[str, ...], about: str) -> Iterator[Add]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(json.dumps(row) + "\n")


@contextmanager
def _parquet(path: Path, names: tuple[str, ...], about: str) -> Iterator[Add]:
    """Polars cannot append to a Parquet file: batches become files of their own, joined at the end. On a full disk the
    table holds as many of the rows, from the first on, as there is room for."""
    schema = polars_schema(names)
    import polars as pl

    metadata = {"mien": about} if about else None
    batch: list[Row] = []
    written: list[Path] = []
    with TemporaryDirectory(prefix=path.name, dir=path.parent) as folder:

        def flush() -> None:
            one = Path(folder) / f"{len(written):06d}.parquet"
            with _disk_errors(pl.exceptions.PolarsError, one):
                pl.DataFrame(batch, schema).write_parquet(one, metadata=metadata)
            written.append(one)
            batch.clear()

        def add(row: Row) -> None:
            batch.append(row)
            if len(batch) >= _BATCH:
                flush()

        def join() -> None:
            if batch or not written:
                flush()
            with _disk_errors(pl.exceptions.PolarsError, path):
                if len(written) > 1:
                    pl.scan_parquet(written).sink_parquet(path, metadata=metadata)
                else:
                    written[0].replace(path)

        def keep() -> None:
            """Half of what is on its way gives way, then half of that; then whole batches, from the last one on."""
            while batch or written:
                with suppress(OSError):
                    join()
                    return
                if batch:
                    del batch[len(batch) // 2 :]
                else:
                    written.pop().unlink()

        try:
            yield add
            join()
        except (OSError, OutputError):
            keep()
            raise


@contextmanager
def _disk_errors(kind: type[Exception], path: Path) -> Iterator[None]:
    """Polars has words of its own for a disk that is full; what it began there makes room."""
    try:
        yield
    except kind as error:
        os.truncate(path, 0)
        words = str(error)
        known = [code for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(code) in words]
        raise OSError(known[0], os.strerror(known[0])) if known else OSError(words.splitlines()[0]) from None


_WRITERS: dict[str, Callable[[Path, tuple[str, ...], str], AbstractContextManager[Add]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
