"""From raw sources to a prepared set: reads, splits what has no split, removes what repeats, hashes and flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.auditing.duplicates import find_alike, repeats
from mien.data.prepared import PreparedSet, few_images_note, image_hash
from mien.data.readers import read_source
from mien.data.readers.fer_csv import is_csv, read_votes
from mien.data.readers.pictures import Cropper
from mien.data.splits import DEFAULT_SHARES, Shares, group_split, stratified_split
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, LABELS, SPLITS

FLAGS: tuple[str, ...] = ("leak", "duplicate", "blank")
"""`leak`: a training image that is also in validation or test. `duplicate`: a training image that came before
in training. `blank`: an image of one single grey."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made, one sentence for each image that is missing from it, and what else there is to say."""

    data: PreparedSet
    problems: list[str]
    notes: list[str]


def prepare(
    sources: Sequence[Path],
    *,
    votes: Path | None = None,
    cropper: Cropper | None = None,
    seed: int = 0,
    shares: Shares | None = None,
    group: str | None = None,
    dedupe: bool = False,
    labels: tuple[str, ...] = LABELS,
    progress: Callable[[Path, int, int | None], object] = lambda source, done, of: None,
    comparing: Callable[[int, int], object] = lambda done, of: None,
) -> Prepared:
    """Read sources one after the other into one set of crops, as `cropper` makes them; 48 x 48 pixels without one.

    `labels` are what the images are sorted by, a `label_set`; images of another of the seven expressions are left out.
    `votes` is the FER+ file of the one CSV among the sources. A source keeps its own split; what has none, and
    everything when `shares` of train, validation and test are given, is split at random but stratified, by `seed`.
    With `group` (a column's name, or a pattern for paths) everything is split such that no group is on two sides,
    over all sources. `dedupe` removes from training what is also in validation or test, and what repeats in training,
    exactly or nearly. `progress` is called with the source, the images read of it, and how many it has or None;
    `comparing` with the images compared and all of them. Raises DataError as the readers do.
    """
    voted = [path for path in sources if is_csv(path)] if votes else []
    if votes and len(voted) != 1:
        raise DataError(f"the votes in {votes} belong to the rows of one fer2013.csv, the sources have {len(voted)}")
    if votes and labels != LABELS:
        raise DataError(f"the votes in {votes} are for the seven expressions; leave them out, or labels of your own")
    cropper = cropper or Cropper(48)
    parts, problems, notes = [], [], []
    groups: list[str] = []
    for source in sources:
        rows = read_source(source, cropper, partial(progress, source), group=group, labels=labels)
        counts = np.zeros((len(rows.images), len(FERPLUS_COLUMNS)), np.uint8)
        if votes and source in voted:
            counts = read_votes(votes, rows)
        splits = rows.splits
        if any(splits) and (shares or group):
            notes.append(f"{source}: its own split is set aside for {'one by groups' if group else 'a random one'}")
        if not group and (shares or not any(splits)):  # by groups all sources are split together, below
            if people := len(set(rows.groups) - {""}):
                splits = group_split(rows.labels, rows.groups, shares or DEFAULT_SHARES, seed, len(labels)).tolist()
                notes.append(f"{source}: split by {people:,} people, nobody of whom is in two splits")
            else:
                splits = stratified_split(rows.labels, shares or DEFAULT_SHARES, seed).tolist()
        affect = np.full((len(rows.images), 2), np.nan, np.float32) if rows.affect is None else rows.affect
        parts.append((rows.images, rows.labels, counts, affect, splits, rows.sources))
        groups += rows.groups
        problems += rows.problems
        notes += rows.notes
    images, numbers, ballots, affects = (np.concatenate([part[k] for part in parts]) for k in range(4))
    split_names, places = (np.array([name for part in parts for name in part[k]], np.str_) for k in (4, 5))
    if group:
        split_names = group_split(numbers, groups, shares or DEFAULT_SHARES, seed, len(labels))
        notes.append(f"split by {len(set(groups)):,} groups, no one of which is in two splits")
    hashes = np.array([image_hash(image) for image in images], np.str_)
    flags = np.array([""] * len(images), np.str_)
    known = affects if np.isfinite(affects).any() else None
    data = PreparedSet(images, numbers, ballots, split_names, places, hashes, flags, labels, known)
    if dedupe:
        data, removed = without_repeats(data, comparing)
        notes.append(removed)
    notes += _missing(data)
    notes += [note for note in [few_images_note(data.counts()["test"], "test")] if note]
    flags = find_flags(data.images, data.splits, data.hashes)
    return Prepared(replace(data, flags=flags), problems, notes)


def without_repeats(data: PreparedSet, comparing: Callable[[int, int], object]) -> tuple[PreparedSet, str]:
    """The set without the training images that are also in another split or repeat one before, and how many went."""
    leaks, doubles = repeats(data.splits, find_alike(data.images, data.hashes, comparing))
    removed = (
        f"removed {leaks.sum() + doubles.sum():,} of {(data.splits == 'train').sum():,} training images: "
        f"{leaks.sum():,} also in validation or test, {doubles.sum():,} repeating another"
    )
    return data.take(~(leaks | doubles)), removed


def _missing(data: PreparedSet) -> list[str]:
    """What a network could not learn from the set."""
    present = np.unique(data.labels)
    if len(present) == 1:
        return [f"every image is {data.label_names[present[0]]}; training needs two expressions at least"]
    absent = [label for k, label in enumerate(data.label_names) if k not in present]
    notes = [f"no image of {', '.join(absent)}"] if absent else []
    for split in SPLITS:
        here = data.labels[data.splits == split]
        if not len(here) and split != "test":
            notes.append(f"no image in {split}, which training needs; add images, or split by shares of your own")
        lacking = [data.label_names[k] for k in present if k not in here]
        if len(here) and lacking:
            notes.append(f"no image of {', '.join(lacking)} in {split}, though there are some elsewhere")
    return notes


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
