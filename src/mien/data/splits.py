"""Divides images into train, validation and test: by chance label by label, or whole groups at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.labels import LABELS, SPLITS

Shares = tuple[float, float, float]
"""Of train, validation and test; they sum to 1."""

DEFAULT_SHARES: Shares = (0.8, 0.1, 0.1)


def stratified_split(labels: NDArray[np.int64], shares: Shares, seed: int) -> NDArray[np.str_]:
    """A split (n,) for each image, such that every label is divided by `shares` as exactly as whole images can."""
    random = np.random.default_rng(seed)
    splits = np.empty(len(labels), np.dtype("<U10"))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        bounds = np.rint(np.cumsum(shares) / np.sum(shares) * len(members)).astype(int)
        for name, chosen in zip(SPLITS, np.split(members, bounds[:-1]), strict=True):
            splits[chosen] = name
    return splits


def group_split(
    labels: NDArray[np.int64], groups: Sequence[str], shares: Shares, seed: int, classes: int = len(LABELS)
) -> NDArray[np.str_]:
    """A split (n,) for each image, such that all images of a group are in one split.

    The largest groups choose first, each the split that lacks most of the group's labels; groups of one size in an
    order that the seed decides. Every split with a share gets a group. Raises DataError when there are too few groups.
    """
    names, which = np.unique(np.array(groups, np.str_), return_inverse=True)
    used = [k for k, share in enumerate(shares) if share > 0]
    if len(names) < len(used):
        raise DataError(
            f"{len(names)} {'group' if len(names) == 1 else 'groups'} ({', '.join(names[:3])}) cannot fill {len(used)} "
            "splits; give shares such as 0.8,0.2,0 or groups that tell more images apart"
        )
    counts = np.zeros((len(names), classes))
    np.add.at(counts, (which, labels), 1)
    lacking = np.outer(shares, counts.sum(0))
    weight = 1 / np.maximum(counts.sum(0), 1) ** 2  # every label counts alike, however rare
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    chosen = np.full(len(names), -1)
    for waiting, group in zip(range(len(names), 0, -1), order, strict=True):
        empty = [k for k in used if not (chosen == k).any()]
        free = empty if len(empty) == waiting else used
        gains = lacking[free] @ (weight * counts[group])
        chosen[group] = free[int(gains.argmax())]
        lacking[chosen[group]] -= counts[group]
    return np.asarray(np.array(SPLITS)[chosen[which]], np.str_)


def check_shares(shares: Sequence[float]) -> Shares:
    """Three shares of train, validation and test; raises DataError unless they are positive and sum to 1."""
    text = ",".join(f"{share:g}" for share in shares)
    if len(shares) != 3:
        raise DataError(f"split should be three shares such as 0.8,0.1,0.1, not {text or 'none'}")
    if not min(shares) >= 0 or not abs(sum(shares) - 1) < 1e-6:
        raise DataError(f"the shares of split should be positive and sum to 1, not {text}")
    train, validation, test = shares
    return train, validation, test
