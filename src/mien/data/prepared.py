"""The prepared set: one folder with every face crop packed without loss, and the manifest beside it.

    DIR/manifest.csv     one row per image: id, source, split, label, votes, hash, flags
    DIR/sheets/0000.webp contact sheets of 16 x 16 crops, grey, lossless WebP; image `id` is the tile
                         `id % 256` (row by row) of sheet `id // 256`
    DIR/set.json         crop size, number of images, how it was packed

Any viewer opens the sheets and any spreadsheet the manifest. FER2013 takes 55 MiB and loads in about a second.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, LABELS, SPLITS
from mien.labels import split as split_name

GRID = 16
PER_SHEET = GRID * GRID
COLUMNS = ("id", "source", "split", "label", "votes", "hash", "flags")
FORMAT = "contact sheets of 16x16 grey crops, lossless WebP"


@dataclass(frozen=True)
class PreparedSet:
    """Crops with what is known of each, as columns of one length n.

    `images` (n, S, S) uint8 grey; `labels` (n,) int64 in the order of `mien.labels.LABELS`; `votes` (n, 10)
    uint8 counts in the order of `FERPLUS_COLUMNS`, all zero where nobody voted; `splits`, `sources`, `hashes`
    and `flags` (n,) strings.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.uint8]
    splits: NDArray[np.str_]
    sources: NDArray[np.str_]
    hashes: NDArray[np.str_]
    flags: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> PreparedSet:
        """The rows that `index` names."""
        return PreparedSet(
            self.images[index], self.labels[index], self.votes[index], self.splits[index],
            self.sources[index], self.hashes[index], self.flags[index],
        )  # fmt: skip

    def split(self, name: str, *, without_flags: tuple[str, ...] = ()) -> PreparedSet:
        """The rows of one split, less those that carry any of the flags; raises DataError if none is left."""
        wanted = split_name(name)
        keep = self.splits == wanted
        for flag in without_flags:
            keep &= ~np.array([flag in f.split() for f in self.flags], bool)
        if not keep.any():
            have = ", ".join(f"{s} ({(self.splits == s).sum()})" for s in SPLITS if (self.splits == s).any())
            raise DataError(f"no image in split {wanted!r}; the set has {have or 'no image at all'}")
        return self.take(keep)


def save(folder: Path, data: PreparedSet, progress: Callable[[int], object] = lambda n: None) -> None:
    """Write a prepared set beside `folder` and rename it into place, replacing an older prepared set.

    `progress` is called with the number of images of each finished sheet.
    """
    if folder.exists() and not (folder / "set.json").exists() and any(folder.iterdir()):
        raise DataError(f"{folder} exists and is not a prepared set; name an empty or new folder with --out")
    working = folder.with_name(folder.name + ".part")
    shutil.rmtree(working, ignore_errors=True)
    (working / "sheets").mkdir(parents=True)
    size = data.images.shape[1]

    def pack(first: int) -> int:
        tiles = np.zeros((PER_SHEET, size, size), np.uint8)
        chunk = data.images[first : first + PER_SHEET]
        tiles[: len(chunk)] = chunk
        sheet = tiles.reshape(GRID, GRID, size, size).transpose(0, 2, 1, 3).reshape(GRID * size, GRID * size)
        Image.fromarray(sheet).save(
            working / "sheets" / f"{first // PER_SHEET:04d}.webp", lossless=True, method=4, quality=75
        )
        return len(chunk)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(pack, range(0, len(data), PER_SHEET)):
            progress(count)
    with (working / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i in range(len(data)):
            votes = " ".join(map(str, data.votes[i])) if data.votes[i].any() else ""
            writer.writerow(
                (i, data.sources[i], data.splits[i], LABELS[data.labels[i]], votes, data.hashes[i], data.flags[i])
            )
    about = {"format": FORMAT, "version": 1, "size": size, "images": len(data), "vote_columns": FERPLUS_COLUMNS}
    (working / "set.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    working.rename(folder)


def load(folder: Path) -> PreparedSet:
    """Read a prepared set whole; raises DataError where `folder` holds none or a part of it is damaged."""
    try:
        about = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        size, count = int(about["size"]), int(about["images"])
    except FileNotFoundError:
        raise DataError(f"{folder} is not a prepared set (no set.json); make one with: mien data prepare") from None
    except (ValueError, KeyError) as error:
        raise DataError(f"{folder / 'set.json'} is damaged ({error}); prepare the set again") from None
    rows = list(_rows(folder / "manifest.csv"))
    if len(rows) != count:
        raise DataError(f"{folder} is damaged: manifest of {len(rows)} rows for {count} images; prepare it again")
    images = np.empty((count, size, size), np.uint8)

    def unpack(first: int) -> None:
        path = folder / "sheets" / f"{first // PER_SHEET:04d}.webp"
        packed = np.fromfile(path, np.uint8) if path.exists() else np.empty(0, np.uint8)
        sheet = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED) if packed.size else None
        if sheet is None or sheet.shape[:2] != (GRID * size, GRID * size):
            raise DataError(f"{path} is missing or damaged; prepare the set again")
        grey = sheet if sheet.ndim == 2 else sheet[..., 0]
        tiles = grey.reshape(GRID, size, GRID, size).transpose(0, 2, 1, 3).reshape(PER_SHEET, size, size)
        images[first : first + PER_SHEET] = tiles[: count - first]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(unpack, range(0, count, PER_SHEET)))
    number = {name: i for i, name in enumerate(LABELS)}
    votes = np.zeros((count, len(FERPLUS_COLUMNS)), np.uint8)
    for i, row in enumerate(rows):
        if row["votes"]:
            votes[i] = [int(v) for v in row["votes"].split()]
    return PreparedSet(
        images,
        np.array([number[row["label"]] for row in rows], np.int64),
        votes,
        *(np.array([row[c] for row in rows], np.str_) for c in ("split", "source", "hash", "flags")),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path} should have the columns {', '.join(COLUMNS)}; prepare the set again")
            yield from reader
    except FileNotFoundError:
        raise DataError(f"{path} is missing; prepare the set again") from None
