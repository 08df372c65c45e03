"""From raw sources to a prepared set: reads, splits what has no split, hashes and flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.prepared import PreparedSet, image_hash
from mien.data.readers import is_csv, read_source, read_votes
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, LABELS, SPLITS

FLAGS: tuple[str, ...] = ("leak", "duplicate", "blank")
"""`leak`: a training image that is also in validation or test. `duplicate`: a training image that came before
in training. `blank`: an image of one single grey."""

Shares = tuple[float, float, float]


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made, and one sentence for each image that is missing from it."""

    data: PreparedSet
    problems: list[str]


def prepare(
    sources: Sequence[Path],
    *,
    votes: Path | None = None,
    size: int = 48,
    seed: int = 0,
    shares: Shares = (0.8, 0.1, 0.1),
    progress: Callable[[Path, int, int | None], object] = lambda source, done, of: None,
) -> Prepared:
    """Read sources one after the other into one set of `size` x `size` crops.

    `votes` is the FER+ file of the one CSV among the sources. A source without a split is split at random but
    stratified, by `seed`, into `shares` of train, validation and test. `progress` is called with the source, the
    images read of it, and how many it has or None. Raises DataError as the readers do.
    """
    voted = [path for path in sources if is_csv(path)] if votes else []
    if votes and len(voted) != 1:
        raise DataError(f"the votes in {votes} belong to the rows of one fer2013.csv, the sources have {len(voted)}")
    parts, problems = [], []
    for source in sources:
        rows = read_source(source, size, partial(progress, source))
        counts = np.zeros((len(rows.images), len(FERPLUS_COLUMNS)), np.uint8)
        if votes and source in voted:
            counts = read_votes(votes, rows)
        splits = rows.splits if any(rows.splits) else stratified_split(rows.labels, shares, seed).tolist()
        parts.append((rows.images, rows.labels, counts, splits, rows.sources))
        problems += rows.problems
    images, labels, ballots = (np.concatenate([part[k] for part in parts]) for k in range(3))
    split_names, places = (np.array([name for part in parts for name in part[k]], np.str_) for k in (3, 4))
    hashes = np.array([image_hash(image) for image in images], np.str_)
    flags = find_flags(images, split_names, hashes)
    return Prepared(PreparedSet(images, labels, ballots, split_names, places, hashes, flags), problems)


def stratified_split(labels: NDArray[np.int64], shares: Shares, seed: int) -> NDArray[np.str_]:
    """A split (n,) for each image, such that every label is divided by `shares` as exactly as whole images can."""
    random = np.random.default_rng(seed)
    splits = np.empty(len(labels), np.dtype("<U10"))
    for label in range(len(LABELS)):
        members = random.permutation(np.flatnonzero(labels == label))
        bounds = np.rint(np.cumsum(shares) / np.sum(shares) * len(members)).astype(int)
        for name, chosen in zip(SPLITS, np.split(members, bounds[:-1]), strict=True):
            splits[chosen] = name
    return splits


def find_flags(images: NDArray[np.uint8], splits: NDArray[np.str_], hashes: NDArray[np.str_]) -> NDArray[np.str_]:
    """The `FLAGS` that hold for each image (n,), in their order, with spaces between."""
    training = splits == "train"
    leaks = training & np.isin(hashes, hashes[~training])
    duplicates = np.zeros(len(images), bool)
    places = np.flatnonzero(training)
    duplicates[places] = True
    duplicates[places[np.unique(hashes[places], return_index=True)[1]]] = False
    flat = images.reshape(len(images), -1)
    blanks = flat.min(1) == flat.max(1)
    found = zip(leaks, duplicates, blanks, strict=True)
    return np.array([" ".join(flag for flag, holds in zip(FLAGS, row, strict=True) if holds) for row in found], np.str_)
