"""The columns of every table of faces, data frames of their rows, and text in CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.labels import LABELS

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Columns = Mapping[str, Sequence[Any]]
"""Column -> its values, one per face."""
#: Columns of x and y in a table, in the order of `Faces.landmarks`.
LANDMARK_COLUMNS: tuple[str, ...] = tuple(
    f"{point}_{axis}" for point in ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth") for axis in "xy"
)


@cache
def table_columns(label_names: tuple[str, ...]) -> tuple[str, ...]:
    """Of a table for these labels; `raw_` is what the frame alone says, where probabilities are smoothed over time."""
    return (
        "source", "frame", "time_s", "id", "detector", "model", "x1", "y1", "x2", "y2", "score",
        *LANDMARK_COLUMNS, "label", "confidence", *label_names, *(f"raw_{label}" for label in label_names), "quality",
    )  # fmt: skip


TEXT_COLUMNS = frozenset({"source", "detector", "model", "label"})
WHOLE_COLUMNS = frozenset({"frame", "id", "width", "height", "faces", "people"})


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What spreadsheets take for the beginning of a formula, which may run programs (OWASP, CSV injection)."""


def to_cell(text: str | None) -> str | None:
    """A text for a CSV file: with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text and len(text) > 1 and text.startswith((*_FORMULA, "'")) else text


def from_cell(cell: str) -> str:
    """The text that `to_cell` made a cell of."""
    return cell[1:] if len(cell) > 2 and cell[0] == "'" and cell[1:].startswith((*_FORMULA, "'")) else cell


def polars_schema(names: tuple[str, ...]) -> dict[str, Any]:
    """Column -> polars' type. Raises MissingExtraError without polars."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("a table of polars", "table") from None
    return {c: pl.String if c in TEXT_COLUMNS else pl.Int64 if c in WHOLE_COLUMNS else pl.Float64 for c in names}


def to_polars(rows: list[dict[str, Any]], label_names: tuple[str, ...]) -> pl.DataFrame:
    """Rows as `Faces.table_rows` gives them. Raises MissingExtraError without polars."""
    return columns_to_polars([(_columns(rows, label_names), label_names)])


def to_pandas(rows: list[dict[str, Any]], label_names: tuple[str, ...]) -> pd.DataFrame:
    """Rows as `Faces.table_rows` gives them. Raises MissingExtraError without pandas."""
    return columns_to_pandas([(_columns(rows, label_names), label_names)])


def _columns(rows: list[dict[str, Any]], label_names: tuple[str, ...]) -> Columns:
    return {name: [row[name] for row in rows] for name in table_columns(label_names)}


def columns_to_polars(parts: Sequence[tuple[Columns, tuple[str, ...]]]) -> pl.DataFrame:
    """Columns of one table or of several, one below the other, each with its labels; where labels differ, what one does
    not have is null. Raises MissingExtraError without polars."""
    frames = [(columns, polars_schema(table_columns(label_names))) for columns, label_names in parts]
    schema = polars_schema(table_columns(LABELS))
    import polars as pl

    if not frames:
        return pl.DataFrame(schema=schema)
    return pl.concat([pl.DataFrame(columns, schema) for columns, schema in frames], how="diagonal")


def columns_to_pandas(parts: Sequence[tuple[Columns, tuple[str, ...]]]) -> pd.DataFrame:
    """As `columns_to_polars`, for pandas; whole numbers that may be missing are `Int64`. Raises MissingExtraError
    without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("a table of pandas", "pandas") from None

    def typed(columns: Columns, names: tuple[str, ...]) -> pd.DataFrame:
        types = {c: "string" if c in TEXT_COLUMNS else "Int64" if c in WHOLE_COLUMNS else "float64" for c in names}
        return pd.DataFrame(columns, columns=list(names)).astype(types)

    frames = [typed(columns, table_columns(label_names)) for columns, label_names in parts]
    return pd.concat(frames, ignore_index=True) if frames else typed({}, table_columns(LABELS))
