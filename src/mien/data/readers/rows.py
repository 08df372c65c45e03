"""The result of every reader of raw data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, InputError

Progress = Callable[[int, int | None], object]
"""Called with (images read so far, images in all or None while that is not known)."""


def silent(done: int, of: int | None) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Rows:
    """The images of one source, in its order, as columns of one length n.

    `images` (n, S, S) uint8 grey; `labels` (n,) in the order of the reader's `labels`; `splits` (n,) empty where the
    source names none; `groups` (n,) empty without a `group` where the source does not say who is who; `sources` (n,)
    where each comes from; `problems` one sentence for each image that could not be used and is missing here; `notes`
    sentences on how they were read.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: list[str]
    groups: list[str]
    sources: list[str]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    affect: NDArray[np.float32] | None = None
    """(n, 2) valence and arousal in -1..1, NaN where unknown; None where the source has none."""


def left_out(path: Path, names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A note on the images of expressions that are none of the labels, where there are any; raises DataError when none
    else is left."""
    counts = Counter(name for name in names if name not in labels)
    if not counts:
        return []
    if counts.total() == len(names):
        raise DataError(f"{path}: none of its {len(names):,} images has one of the labels {', '.join(labels)}")
    what = ", ".join(f"{count:,} of {name}" for name, count in sorted(counts.items()))
    return [f"{path}: left out {counts.total():,} images of expressions that are none of the labels: {what}"]


def gather(
    path: Path,
    images: Sequence[NDArray[np.uint8] | InputError],
    labels: Sequence[int],
    splits: Sequence[str],
    groups: Sequence[str],
    sources: Sequence[str],
    *,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    affect: NDArray[np.float32] | None = None,
) -> Rows:
    """Rows of the images that could be used; the others become problems. Raises DataError when none is left."""
    sentences = [*problems, *(str(image) for image in images if isinstance(image, InputError))]
    kept = [i for i, image in enumerate(images) if not isinstance(image, InputError)]
    good = [image for image in images if not isinstance(image, InputError)]
    if not good:
        if sentences:
            raise DataError(f"{path}: none of its {len(sentences)} images could be used; first: {sentences[0]}")
        raise DataError(f"{path}: there is no image in it")
    numbers = np.array([labels[i] for i in kept], np.int64)
    split, group, source = ([column[i] for i in kept] for column in (splits, groups, sources))
    known = affect[kept] if affect is not None and np.isfinite(affect).any() else None
    return Rows(np.stack(good), numbers, split, group, source, sentences, list(notes), known)


def grouped_by(path: Path, names: Sequence[str], pattern: str) -> list[str]:
    """What a regular expression finds in each of the names, paths below `path`: its first bracket, or the whole.

    Raises DataError where it is none, or finds nothing in one of them.
    """
    try:
        find = re.compile(pattern)
    except re.error as error:
        raise DataError(f"the group pattern '{pattern}' is no regular expression: {error}") from None
    matches = [find.search(name) for name in names]
    groups = [(match[1] if find.groups else match[0]) or "" if match else "" for match in matches]
    if "" in groups:
        raise DataError(
            f"the group pattern '{pattern}' finds nothing in {groups.count(''):,} of the {len(names):,} paths below "
            f"{path}, first in {names[groups.index('')]}; it should find the person in every one, as '[^_/]+_' finds "
            "what stands before a _"
        )
    return groups
