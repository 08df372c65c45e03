"""Reads the layouts in which expression data sets are passed around: CSV of pixels, label folders, Parquet.

Every reader takes face crops, makes them grey and square (a crop that is not square is stretched, as the
classifier does), and keeps its source's own order and split.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.crop import resize_crop
from mien.errors import DataError, InputError, MissingExtraError
from mien.images import decode_image, read_image
from mien.labels import FER2013_ORDER, FERPLUS_COLUMNS, LABELS, expression, find_label, find_split
from mien.labels import split as split_name
from mien.media import find_images

_USAGES = ("Training", "PublicTest", "PrivateTest")
_VOTE_HEADER = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf",
)  # fmt: skip

Progress = Callable[[int, int | None], object]
"""Called with (images read so far, images in all or None while that is not known)."""


@dataclass(frozen=True)
class Rows:
    """The images of one source, in its order, as columns of one length n.

    `images` (n, S, S) uint8 grey; `labels` (n,) in the order of `LABELS`; `splits` (n,) empty where the source
    names none; `sources` (n,) where each comes from; `problems` one sentence for each image that could not be
    read and is missing here.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: list[str]
    sources: list[str]
    problems: list[str]


def read_source(path: Path, size: int, progress: Progress = lambda done, of: None) -> Rows:
    """Read a fer2013.csv(.gz), a Parquet file or a folder of label folders, at `size` x `size` pixels.

    Raises DataError when it is none of them, names an unknown label or holds a malformed row, and
    MissingExtraError for Parquet without polars.
    """
    if path.is_dir():
        return read_folder(path, size, progress)
    if not path.exists():
        raise DataError(f"{path} does not exist; name a fer2013.csv(.gz), a .parquet file or a folder")
    if is_csv(path):
        return read_csv(path, size, progress)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, size, progress)
    raise DataError(f"{path} is no data set; name a fer2013.csv(.gz), a .parquet file or a folder")


def is_csv(path: Path) -> bool:
    """Whether the name says CSV, gzipped or not."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def read_csv(path: Path, size: int, progress: Progress = lambda done, of: None) -> Rows:
    """Read `emotion,pixels[,Usage]` in any order of columns: FER2013's numbers for the labels, pixels as text."""
    name = path.name.removesuffix(".gz")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    splits: list[str] = []
    sources: list[str] = []
    pixel_count = 0
    for line, emotion, pixels, usage in _csv_rows(path):
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
            raise DataError(f"{where}: Usage is {usage!r}, not one of {', '.join(_USAGES)}")
        images.append(resize_crop(values.reshape(side, side), size))
        labels.append(_EMOTIONS[emotion])
        splits.append(split_name(usage) if usage else "")
        sources.append(f"{name}:{line}")
        if len(images) % 1000 == 0:
            progress(len(images), None)
    progress(len(images), len(images))
    return _rows(path, images, labels, splits, sources, [])


_EMOTIONS = {str(i): LABELS.index(name) for i, name in enumerate(FER2013_ORDER)}


def _csv_rows(path: Path) -> Iterator[tuple[int, str, bytes, str]]:
    """Line number, emotion, pixels and Usage (empty where there is none) of each row.

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
            emotion, pixels = names.index("emotion"), names.index("pixels")
            usage = names.index("usage") if "usage" in names else None
            for line, text in enumerate(file, 2):
                fields = [field.strip(b' "\r\n') for field in text.split(b",")]
                if fields == [b""]:
                    continue
                if len(fields) != len(names):
                    raise DataError(f"{path} line {line}: {len(fields)} fields where the header has {len(names)}")
                said = "" if usage is None else fields[usage].decode("utf-8", "replace")
                yield line, fields[emotion].decode("utf-8", "replace"), fields[pixels], said
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read or is cut short: {error}") from None


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


def read_votes(path: Path, rows: Rows) -> NDArray[np.uint8]:
    """The FER+ votes `(n, 10)` for the rows of fer2013.csv, with which fer2013new.csv is aligned row by row.

    Raises DataError when the two do not have the same rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None
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


def read_folder(path: Path, size: int, progress: Progress = lambda done, of: None) -> Rows:
    """Read image files below folders named by label, with or without folders named by split around or in them.

    The folder itself may be such a label or split. A file name that begins with FER2013's Usage
    (`PrivateTest_123.jpg`) goes before the split folder. Raises DataError on images in a folder of unknown name,
    and where only some of the images are in a split.
    """
    found, troubles = find_images([path])
    if not found:
        raise DataError(str(troubles[0]))
    inside = [item.path.relative_to(path) for item in found]
    own_name = path.resolve().name
    places: dict[Path, tuple[int, str]] = {}
    for parent in dict.fromkeys(file.parent for file in inside):
        places[parent] = _place(path / parent, (own_name, *parent.parts))
    labels = [places[file.parent][0] for file in inside]
    splits = [_usage(file.name) or places[file.parent][1] for file in inside]
    if "" in splits and any(splits):
        astray = inside[splits.index("")]
        raise DataError(
            f"{path / astray} is in no split while other images of {path} are; "
            "move it below a folder named train, validation or test"
        )
    images = _decoded([partial(read_image, item.path) for item in found], size, progress)
    problems = [str(trouble) for trouble in troubles]
    return _readable(path, images, labels, splits, [file.as_posix() for file in inside], problems)


def _place(folder: Path, names: tuple[str, ...]) -> tuple[int, str]:
    """Label and split (or an empty string) of the images in a folder, by the innermost names that say so."""
    label = next((found for name in reversed(names) if (found := find_label(name))), None)
    split = next((found for name in reversed(names) if (found := find_split(name))), "")
    if label is None:
        unknown = next((name for name in reversed(names) if not find_split(name)), names[-1])
        try:
            expression(unknown)
        except DataError as error:
            raise DataError(f"{folder} holds images, but {error}") from None
    return LABELS.index(str(label)), split


def _usage(file_name: str) -> str:
    usage = file_name.partition("_")[0]
    return split_name(usage) if usage in _USAGES else ""


def read_parquet(path: Path, size: int, progress: Progress = lambda done, of: None) -> Rows:
    """Read `image` (encoded bytes, or a struct with them) and `label` (names, or numbers where the file's
    metadata names them as Hugging Face data sets do). The split is what the file name begins with, if it does
    (`train-00000-of-00001.parquet`)."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    try:
        schema = pl.read_parquet_schema(path)
        if not {"image", "label"} <= schema.keys():
            raise DataError(f"{path} should have the columns image and label, it has {', '.join(schema)}")
        table = pl.read_parquet(path, columns=["image", "label"])
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
    said = [names[v] if isinstance(v, int) and names and v < len(names) else v for v in label]
    labels = [_parquet_label(path, row, value) for row, value in enumerate(said)]
    sources = [f"{path.name}:{row}" for row in range(len(labels))]
    split = find_split(path.name.partition("-")[0].partition(".")[0]) or ""
    tasks = [partial(decode_image, data or b"", source) for data, source in zip(image, sources, strict=True)]
    images = _decoded(tasks, size, progress)
    return _readable(path, images, labels, [split] * len(labels), sources, [])


def _label_names(metadata: dict[str, str]) -> list[str] | None:
    try:
        names = json.loads(metadata["huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]


def _parquet_label(path: Path, row: int, value: Any) -> int:
    try:
        return LABELS.index(expression(str(value)))
    except DataError as error:
        raise DataError(f"{path} row {row}: {error}") from None


def _decoded(
    tasks: Sequence[Callable[[], NDArray[np.uint8]]], size: int, progress: Progress
) -> list[NDArray[np.uint8] | InputError]:
    """What each task read, as a grey crop, or why it could not; in parallel threads, in order."""

    def one(task: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | InputError:
        try:
            return resize_crop(np.asarray(cv2.cvtColor(task(), cv2.COLOR_RGB2GRAY), np.uint8), size)
        except InputError as error:
            return error

    results: list[NDArray[np.uint8] | InputError] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(one, tasks):
            results.append(result)
            if len(results) % 100 == 0 or len(results) == len(tasks):
                progress(len(results), len(tasks))
    return results


def _readable(
    path: Path, images: list[NDArray[np.uint8] | InputError], labels: list[int], splits: list[str],
    sources: list[str], problems: list[str],
) -> Rows:  # fmt: skip
    """The rows whose image could be read; the others become problems."""
    problems = [*problems, *(str(image) for image in images if isinstance(image, InputError))]
    kept = [i for i, image in enumerate(images) if not isinstance(image, InputError)]
    good = [image for image in images if not isinstance(image, InputError)]
    return _rows(path, good, [labels[i] for i in kept], [splits[i] for i in kept], [sources[i] for i in kept], problems)


def _rows(
    path: Path, images: list[NDArray[np.uint8]], labels: list[int], splits: list[str], sources: list[str],
    problems: list[str],
) -> Rows:  # fmt: skip
    if not images:
        if problems:
            raise DataError(f"{path}: none of its {len(problems)} images could be read; first: {problems[0]}")
        raise DataError(f"{path}: there is no image in it")
    return Rows(np.stack(images), np.array(labels, np.int64), splits, sources, problems)
