"""The prepared set: one folder with every face crop packed without loss, and the manifest beside it.

    DIR/manifest.csv     one row per image: id, source, split, label, votes, hash, flags; where known valence, arousal
    DIR/sheets/0000.webp contact sheets of 16 x 16 crops, grey, lossless WebP; image `id` is the tile
                         `id % 256` (row by row) of sheet `id // 256`
    DIR/set.json         crop size, number of images, how it was packed, and labels other than the seven expressions
    DIR/problems.txt     one sentence for each image of the sources that is not in the set; where there are any

Any viewer opens the sheets and any spreadsheet the manifest. FER2013 takes 55 MiB and loads in a second or so.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.columns import from_cell, to_cell
from mien.errors import DataError, reason
from mien.labels import FERPLUS_COLUMNS, LABELS, SPLITS, label_set
from mien.labels import split as split_name

GRID = 16
PER_SHEET = GRID * GRID
COLUMNS = ("id", "source", "split", "label", "votes", "hash", "flags")
AFFECT = ("valence", "arousal")
FORMAT = "contact sheets of 16x16 grey crops, lossless WebP"
VERSION = 1
MAX_SIZE = 512
FEW = 20
"""Fewer images of a label than this say little about how well it is read."""
_NO_FACE = FERPLUS_COLUMNS.index("no face")
_ABANDONED_S = 3600
"""Age from which an unfinished folder counts as left behind; packing takes seconds."""
_NAMES = "surrogatepass"
"""How file names that are not Unicode are written, so that every one comes back."""


@dataclass(frozen=True)
class PreparedSet:
    """Crops with what is known of each, as columns of one length n.

    `images` (n, S, S) uint8 grey; `labels` (n,) int64 in the order of `label_names`; `votes` (n, 10)
    uint8 counts in the order of `FERPLUS_COLUMNS`, all zero where nobody voted; `splits`, `sources`, `hashes`
    (`image_hash` of each) and `flags` (words with spaces between) (n,) strings.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.uint8]
    splits: NDArray[np.str_]
    sources: NDArray[np.str_]
    hashes: NDArray[np.str_]
    flags: NDArray[np.str_]
    label_names: tuple[str, ...] = LABELS
    affect: NDArray[np.float32] | None = None
    """(n, 2) valence and arousal in -1..1 as annotators gave them, NaN where they did not; None where nobody did."""

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> PreparedSet:
        """The rows that `index` names."""
        return PreparedSet(
            self.images[index], self.labels[index], self.votes[index], self.splits[index],
            self.sources[index], self.hashes[index], self.flags[index], self.label_names,
            None if self.affect is None else self.affect[index],
        )  # fmt: skip

    def flagged(self, flag: str) -> NDArray[np.bool_]:
        """Which rows (n,) carry a flag."""
        return np.array([flag in flags.split() for flags in self.flags], bool)

    def faceless(self) -> NDArray[np.bool_]:
        """Which rows (n,) hold no face, because more than half of their votes say so or because they are blank."""
        found: NDArray[np.bool_] = self.votes[:, _NO_FACE].astype(int) * 2 > self.votes.sum(1)
        return found | self.flagged("blank")

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each label in each split, `counts[split][label]`."""
        found: dict[str, dict[str, int]] = {}
        for split in SPLITS:
            numbers = np.bincount(self.labels[self.splits == split], minlength=len(self.label_names))
            found[split] = dict(zip(self.label_names, numbers.tolist(), strict=True))
        return found

    def split(self, name: str, *, without_flags: tuple[str, ...] = ()) -> PreparedSet:
        """The rows of one split, less those that carry any of the flags; raises DataError if none is left."""
        wanted = split_name(name)
        keep = self.splits == wanted
        for flag in without_flags:
            keep &= ~self.flagged(flag)
        if not keep.any():
            have = ", ".join(f"{s} ({(self.splits == s).sum()})" for s in SPLITS if (self.splits == s).any())
            raise DataError(f"no image in split {wanted!r}; the set has {have or 'no image at all'}")
        return self.take(keep)


def few_images_note(counts: Mapping[str, int], split: str) -> str:
    """A warning where labels have fewer than `FEW` images in a split, by the images of each label; else empty.

    Labels without any image are left out: no score names them.
    """
    few = [f"{count} of {label}" for label, count in counts.items() if 0 < count < FEW]
    if not few:
        return ""
    return (
        f"few {split} images ({', '.join(few)}): scores of a label with fewer than {FEW} say little; mind the intervals"
    )


def image_hash(image: NDArray[np.uint8]) -> str:
    """BLAKE2b of the pixels, 8 bytes in hex: equal for exact copies, and the seal of each image on disk."""
    return hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


def check_target(folder: Path) -> None:
    """Raises DataError when `folder` holds something that is no prepared set; `save` would not replace it."""
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / "set.json").exists():
        raise DataError(f"{folder} exists and is not a prepared set; choose an empty or new folder")


def save(
    folder: Path,
    data: PreparedSet,
    progress: Callable[[int], object] = lambda n: None,
    problems: Sequence[str] = (),
) -> None:
    """Write a prepared set beside `folder` and rename it into place, replacing an older prepared set.

    `problems` has one sentence for each image that should be in the set and is not. `progress` is called with the
    number of images of each finished sheet. Whenever this fails or is killed, `load` finds the older set or the new
    one: the older one is set aside, not deleted, until the new one is in place. Raises DataError when `folder` holds
    something else, or when it cannot be written.
    """
    folder = folder.resolve()
    check_target(folder)
    replaced = _replaced(folder)
    working = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.part"
    try:
        if _present(folder) == replaced:  # an earlier run was killed between the two renames below
            if folder.exists():
                folder.rmdir()
            replaced.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
        _remove_abandoned(folder)
        _write(working, data, progress)
        if problems:
            lines = "".join(" ".join(problem.splitlines()) + "\n" for problem in problems)
            (working / "problems.txt").write_text(lines, encoding="utf-8", errors=_NAMES)
        if folder.exists():
            folder.rename(replaced)
        try:
            working.rename(folder)
        except OSError:
            if replaced.exists() and not folder.exists():
                replaced.rename(folder)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {reason(error)}") from None
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _replaced(folder: Path) -> Path:
    """Where the older set is while a new one takes its place."""
    return folder.parent / f".{folder.name}.replaced"


def _present(folder: Path) -> Path:
    """The folder, or the older set that was in it when a `save` was killed between its two renames."""
    replaced = _replaced(folder.resolve())
    return replaced if (replaced / "set.json").exists() and not (folder / "set.json").exists() else folder


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed runs left, recognised by its age, so that nobody's work in progress is touched."""
    for part in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        if time.time() - max(path.stat().st_mtime for path in (part, *part.glob("sheets"))) > _ABANDONED_S:
            shutil.rmtree(part, ignore_errors=True)


def _write(folder: Path, data: PreparedSet, progress: Callable[[int], object]) -> None:
    (folder / "sheets").mkdir(parents=True)
    size = data.images.shape[1]

    def pack(first: int) -> int:
        tiles = np.zeros((PER_SHEET, size, size), np.uint8)
        chunk = data.images[first : first + PER_SHEET]
        tiles[: len(chunk)] = chunk
        sheet = tiles.reshape(GRID, GRID, size, size).transpose(0, 2, 1, 3).reshape(GRID * size, GRID * size)
        Image.fromarray(sheet).save(
            folder / "sheets" / f"{first // PER_SHEET:04d}.webp", lossless=True, method=4, quality=75
        )
        return len(chunk)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(pack, range(0, len(data), PER_SHEET)):
            progress(count)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8", errors=_NAMES) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS if data.affect is None else (*COLUMNS, *AFFECT))
        for i in range(len(data)):
            label = data.label_names[data.labels[i]]
            votes = " ".join(map(str, data.votes[i])) if data.votes[i].any() else ""
            row = [i, to_cell(str(data.sources[i])), data.splits[i], label, votes, data.hashes[i], data.flags[i]]
            if data.affect is not None:
                row += ["" if np.isnan(value) else f"{value:.6g}" for value in data.affect[i]]
            writer.writerow(row)
    about: dict[str, object] = {"format": FORMAT, "version": VERSION, "size": size, "images": len(data)}
    about["vote_columns"] = FERPLUS_COLUMNS
    if data.label_names != LABELS:
        about["labels"] = data.label_names
    (folder / "set.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> PreparedSet:
    """Read a prepared set whole; raises DataError where `folder` holds none or a part of it is damaged."""
    folder = _present(folder)
    size, count, labels = _about(folder)
    rows = _read_manifest(folder / "manifest.csv", count, labels)
    images = np.empty((count, size, size), np.uint8)

    def unpack(first: int) -> None:
        path = folder / "sheets" / f"{first // PER_SHEET:04d}.webp"
        packed = np.fromfile(path, np.uint8) if path.exists() else np.empty(0, np.uint8)
        sheet = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED) if packed.size else None
        if sheet is None or sheet.shape[:2] != (GRID * size, GRID * size):
            raise DataError(f"{path} is missing or damaged; prepare the set again")
        grey = sheet if sheet.ndim == 2 else sheet[..., 0]
        tiles = grey.reshape(GRID, size, GRID, size).transpose(0, 2, 1, 3).reshape(PER_SHEET, size, size)
        last = min(first + PER_SHEET, count)
        images[first:last] = tiles[: last - first]
        if any(image_hash(images[i]) != rows.hashes[i] for i in range(first, last)):
            raise DataError(f"{path} does not hold the images of the manifest; prepare the set again")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(unpack, range(0, count, PER_SHEET)))
    return replace(rows, images=images)


def load_labels(folder: Path) -> tuple[str, ...]:
    """The labels of a prepared set; raises DataError as `load` does."""
    return _about(_present(folder))[2]


def load_counts(folder: Path) -> dict[str, dict[str, int]]:
    """Images of each label in each split, `counts[split][label]`, from the manifest alone; raises DataError as `load`
    does."""
    folder = _present(folder)
    _, count, labels = _about(folder)
    return _read_manifest(folder / "manifest.csv", count, labels).counts()


def load_problems(folder: Path) -> list[str]:
    """One sentence for each image of the sources that could not be used and is not in the set."""
    folder = _present(folder)
    try:
        return (folder / "problems.txt").read_text(encoding="utf-8", errors=_NAMES).split("\n")[:-1]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'problems.txt'} cannot be read ({reason(error)}); prepare the set again") from None


def manifest_hash(folder: Path) -> str:
    """SHA-256 of the manifest, which holds every image's hash: says exactly which data a number comes from."""
    return hashlib.sha256((_present(folder) / "manifest.csv").read_bytes()).hexdigest()


def _about(folder: Path) -> tuple[int, int, tuple[str, ...]]:
    """Side of the crops, number of images, and labels."""
    path = folder / "set.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        version, size, count = (int(about[key]) for key in ("version", "size", "images"))
        labels = label_set(about.get("labels", LABELS))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is not a prepared set (no set.json); make one with: mien data prepare") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise DataError(f"{path} is damaged ({reason(error)}); prepare the set again") from None
    if version != VERSION:
        raise DataError(f"{path} is of version {version}, this mien reads {VERSION}; prepare the set again")
    if not 1 <= size <= MAX_SIZE or count < 0:
        raise DataError(f"{path} is damaged ({count} images of size {size}); prepare the set again")
    return size, count, labels


def _read_manifest(path: Path, count: int, label_names: tuple[str, ...]) -> PreparedSet:
    """All columns but the images."""
    try:
        with path.open(newline="", encoding="utf-8", errors=_NAMES) as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; prepare the set again") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({reason(error)}); prepare the set again") from None
    with_affect = tuple(header) == (*COLUMNS, *AFFECT)
    if tuple(header) != COLUMNS and not with_affect:
        raise DataError(f"{path} should have the columns {', '.join(COLUMNS)}; prepare the set again")
    if len(rows) != count:
        raise DataError(f"{path} is damaged: {len(rows)} rows for {count} images; prepare the set again")
    number = {name: i for i, name in enumerate(label_names)}
    labels = np.empty(count, np.int64)
    votes = np.zeros((count, len(FERPLUS_COLUMNS)), np.uint8)
    affect = np.full((count, 2), np.nan, np.float32) if with_affect else None
    for i, row in enumerate(rows):
        try:
            index, _, split, label, voted, _, _, *felt = row
            if affect is not None:
                valence, arousal = felt
                affect[i] = [float(value) if value else np.nan for value in (valence, arousal)]
            labels[i] = number[label]
            if voted:
                votes[i] = [int(v) for v in voted.split()]
            if int(index) != i or split not in SPLITS:
                raise ValueError("id or split")
        except (ValueError, KeyError, OverflowError):
            raise DataError(f"{path}: row {i} is damaged; prepare the set again") from None
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    _, sources, splits, _, _, hashes, flags = columns[: len(COLUMNS)]
    text = [np.array(column, np.str_) for column in (splits, [from_cell(cell) for cell in sources], hashes, flags)]
    images = np.empty((count, 0, 0), np.uint8)
    return PreparedSet(images, labels, votes, text[0], text[1], text[2], text[3], label_names, affect)
