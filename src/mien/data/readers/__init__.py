"""Reads the layouts in which expression data sets are passed around: CSV of pixels, label folders, Parquet, and the
official ones of AffectNet, RAF-DB, ExpW, CK+, JAFFE and SFEW.

Every reader gives grey, square face crops (a crop that is not square is stretched, as the classifier does), and keeps
its source's own order and split.
"""

from __future__ import annotations

from pathlib import Path

from mien.data.readers.fer_csv import is_csv, read_csv
from mien.data.readers.folders import read_folder
from mien.data.readers.official import read_official
from mien.data.readers.parquet import read_parquet
from mien.data.readers.pictures import Cropper
from mien.data.readers.rows import Progress, Rows, silent
from mien.errors import DataError
from mien.labels import LABELS


def read_source(
    path: Path, cropper: Cropper, progress: Progress = silent, *, group: str | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Rows:  # fmt: skip
    """Read a fer2013.csv(.gz), a Parquet file, an official data set's folder or a folder of label folders.

    `group` is the column (of a table) or the pattern (for paths in a folder) that names the person in each image.
    Images of an expression that is none of the `labels` are left out, and a note says so. Raises DataError when the
    source is none of them, names an unknown label or holds a malformed row, and MissingExtraError for Parquet without
    polars.
    """
    if path.is_dir():
        official = read_official(path, cropper, progress, group=group, labels=labels)
        return official or read_folder(path, cropper, progress, group=group, labels=labels)
    if not path.exists():
        raise DataError(f"{path} does not exist; name a fer2013.csv(.gz), a .parquet file or a folder")
    if is_csv(path):
        if cropper.mode == "photo":
            raise DataError(f"{path} holds face crops as pixels, so no photographs; set faces to auto or crop")
        return read_csv(path, cropper.size, progress, group=group, labels=labels)
    if path.suffix.lower() == ".parquet":
        return read_parquet(path, cropper, progress, group=group, labels=labels)
    raise DataError(f"{path} is no data set; name a fer2013.csv(.gz), a .parquet file or a folder")
