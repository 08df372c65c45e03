"""Reads Parquet files with a column of pictures and one of labels, as Hugging Face data sets have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.data.readers.fer_csv import no_column
from mien.data.readers.pictures import Cropper, Picture
from mien.data.readers.rows import Progress, Rows, gather, left_out, silent
from mien.errors import DataError, MissingExtraError
from mien.labels import LABELS, expression, find_split


def read_parquet(
    path: Path, cropper: Cropper, progress: Progress = silent, *, group: str | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Rows:  # fmt: skip
    """Read `image` (encoded bytes, or a struct with them) and `label` (names, or numbers where the file's
    metadata names them as Hugging Face data sets do). The split is what the file name begins with, if it does
    (`train-00000-of-00001.parquet`). `group` names one more column whose values become the groups."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    wanted = ["image", "label", *([group] if group else [])]
    try:
        schema = pl.read_parquet_schema(path)
        if not {"image", "label"} <= schema.keys():
            raise DataError(f"{path} should have the columns image and label, it has {', '.join(schema)}")
        if group and group not in schema:
            raise no_column(path, group, list(schema))
        table = pl.read_parquet(path, columns=wanted)
        metadata = pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    image, label = table["image"], table["label"]
    if isinstance(image.dtype, pl.Struct) and "bytes" in (field.name for field in image.dtype.fields):
        image = image.struct.field("bytes")
    if image.dtype != pl.Binary:
        raise DataError(f"{path}: image should hold encoded pictures as bytes, not {image.dtype}")
    names = _label_names(metadata)
    if label.dtype.is_integer() and names is None:
        raise DataError(
            f"{path}: labels are numbers and the file does not say what they mean; "
            "replace them by names such as 'happy'"
        )
    values = [names[v] if isinstance(v, int) and names and 0 <= v < len(names) else v for v in label]
    found = [_label(path, row, value, labels) for row, value in enumerate(values)]
    groups = [""] * len(found)
    if group:
        groups = [_group(path, row, group, value) for row, value in enumerate(table[group])]
    rows = [row for row, name in enumerate(found) if name in labels]
    groups = [groups[row] for row in rows]
    numbers = [labels.index(found[row]) for row in rows]
    sources = [f"{path.name}:{row}" for row in rows]
    split = find_split(path.name.partition("-")[0].partition(".")[0]) or ""
    pictures = [Picture(source, image[row] or b"") for row, source in zip(rows, sources, strict=True)]
    images, notes = cropper.crops(path, pictures, progress)
    notes = [*left_out(path, found, labels), *notes]
    return gather(path, images, numbers, [split] * len(rows), groups, sources, notes=notes)


def _label_names(metadata: dict[str, str]) -> list[str] | None:
    try:
        names = json.loads(metadata["huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]


def _label(path: Path, row: int, value: Any, labels: tuple[str, ...]) -> str:
    try:
        return expression(str(value), labels)
    except DataError as error:
        raise DataError(f"{path} row {row}: {error}") from None


def _group(path: Path, row: int, group: str, value: Any) -> str:
    if value is None or value == "":
        raise DataError(f"{path} row {row}: {group} is empty; every row should name its group")
    return str(value)
