"""Reads fer2013.csv, pixels written as text, and the FER+ votes that belong to its rows."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mien.data.readers.rows import Progress, Rows, gather, left_out, silent
from mien.errors import DataError, did_you_mean, reason
from mien.labels import FER2013_ORDER, FERPLUS_COLUMNS, LABELS, find_split
from mien.labels import split as split_name
from mien.vision.crop import resize_crop

USAGES = ("Training", "PublicTest", "PrivateTest")
_EMOTIONS = {str(i): name for i, name in enumerate(FER2013_ORDER)}
_VOTE_HEADER = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf",
)  # fmt: skip


def is_csv(path: Path) -> bool:
    """Whether the name says CSV, gzipped or not."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def read_csv(
    path: Path, size: int, progress: Progress = silent, *, group: str | None = None, labels: tuple[str, ...] = LABELS
) -> Rows:
    """Read `emotion,pixels[,Usage]` in any order of columns: FER2013's numbers for the labels, pixels as text.

    `group` names one more column whose values become the groups. Raises DataError on the first malformed row.
    """
    name = path.name.removesuffix(".gz")
    images: list[NDArray[np.uint8]] = []
    names: list[str] = []
    splits: list[str] = []
    groups: list[str] = []
    sources: list[str] = []
    pixel_count = 0
    for line, emotion, pixels, usage, member in _rows(path, group):
        where = f"{path} line {line}"
        if emotion not in _EMOTIONS:
            raise DataError(f"{where}: emotion is {emotion!r}, not a number from 0 to {len(FER2013_ORDER) - 1}")
        values = _parse_pixels(pixels)
        pixel_count = pixel_count or (0 if values is None else len(values))
        side = math.isqrt(pixel_count)
        if values is None or len(values) != pixel_count or side * side != pixel_count or not side:
            raise DataError(
                f"{where}: pixels should be {side * side or 'a square number of'} whole numbers from 0 to 255, "
                f"got {'something else' if values is None else f'{len(values)} numbers'}"
            )
        if usage and find_split(usage) is None:
            raise DataError(f"{where}: Usage is {usage!r}, not one of {', '.join(USAGES)}")
        if group and not member:
            raise DataError(f"{where}: {group} is empty; every row should name its group")
        names.append(_EMOTIONS[emotion])
        if names[-1] not in labels:
            continue
        images.append(resize_crop(values.reshape(side, side), size))
        splits.append(split_name(usage) if usage else "")
        groups.append(member)
        sources.append(f"{name}:{line}")
        if len(images) % 1000 == 0:
            progress(len(images), None)
    progress(len(images), len(images))
    numbers = [labels.index(name) for name in names if name in labels]
    return gather(path, images, numbers, splits, groups, sources, notes=left_out(path, names, labels))


def _rows(path: Path, group: str | None) -> Iterator[tuple[int, str, bytes, str, str]]:
    """Line number, emotion, pixels, Usage and group of each row; the last two empty where there is none.

    Lines are cut at their commas, which is three times faster than the csv module on such long fields.
    """
    try:
        with _open(path) as file:
            header = file.readline().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
            names = [field.strip(' "\r\n').lower() for field in header.split(",")]
            if "emotion" not in names or "pixels" not in names:
                raise DataError(
                    f"{path} should have the columns emotion, pixels and Usage, not {header.strip()[:80]!r}"
                )
            if group and group.lower() not in names:
                raise no_column(path, group, names)
            emotion, pixels = names.index("emotion"), names.index("pixels")
            usage = names.index("usage") if "usage" in names else None
            member = names.index(group.lower()) if group else None
            for line, text in enumerate(file, 2):
                fields = [field.strip(b' "\r\n') for field in text.split(b",")]
                if fields == [b""]:
                    continue
                if len(fields) != len(names):
                    raise DataError(f"{path} line {line}: {len(fields)} fields where the header has {len(names)}")
                words = ["" if k is None else fields[k].decode("utf-8", "replace") for k in (emotion, usage, member)]
                yield line, words[0], fields[pixels], words[1], words[2]
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read or is cut short: {reason(error)}") from None


def no_column(path: Path, name: str, columns: list[str]) -> DataError:
    """That a table has no column of the name by which to group."""
    return DataError(f"{path} has no column {name!r}{did_you_mean(name, columns)}; it has {', '.join(columns)}")


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _parse_pixels(text: bytes) -> NDArray[np.uint8] | None:
    """The numbers in the text, or None when one of them is no whole number from 0 to 255."""
    try:
        values = np.fromstring(text, np.int64, sep=" ")
    except ValueError:
        return None
    if not values.size or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8)


def count_usages(path: Path) -> dict[str, int]:
    """How many rows a FER2013 CSV has of each Usage; raises DataError where it is no such file."""
    counts: dict[str, int] = {}
    for _, _, _, usage, _ in _rows(path, None):
        counts[usage] = counts.get(usage, 0) + 1
    return counts


def read_votes(path: Path, rows: Rows) -> NDArray[np.uint8]:
    """The FER+ votes `(n, 10)` for the rows of fer2013.csv, with which fer2013new.csv is aligned row by row.

    Raises DataError when the two do not have the same rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {reason(error)}") from None
    if tuple(name.strip().lower() for name in header[2:]) != _VOTE_HEADER:
        raise DataError(f"{path} should have the columns Usage, Image name, {', '.join(_VOTE_HEADER)}")
    if len(lines) != len(rows.sources):
        raise DataError(
            f"{path} has {len(lines)} rows for {len(rows.sources)} images; "
            "the FER+ file belongs to the whole fer2013.csv, row by row"
        )
    votes = np.zeros((len(lines), len(FERPLUS_COLUMNS)), np.uint8)
    for i, (line, split) in enumerate(zip(lines, rows.splits, strict=True)):
        try:
            votes[i] = [int(count) for count in line[2:]]
        except (ValueError, OverflowError):
            raise DataError(f"{path} line {i + 2}: should have {len(FERPLUS_COLUMNS)} counts of votes") from None
        if split and find_split(line[0]) != split:
            raise DataError(f"{path} line {i + 2}: Usage is {line[0]!r} where the image is in {split}")
    return votes
