"""What is wrong with a prepared set: copies, leaks between its splits, contradicting labels, and images of no face."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.auditing.duplicates import Alike, find_alike, repeats
from mien.data.prepared import PreparedSet
from mien.files import replacing
from mien.labels import FERPLUS_COLUMNS, SPLITS
from mien.vision.detect import Detector

FACE_SIDES = (96, 224)
"""Sides in pixels to which a crop is enlarged before the search for a face."""
_BORDER = 0.3
"""Share of the side by which the picture goes on around the crop."""
_NO_FACE = FERPLUS_COLUMNS.index("no face")
_CHUNK = 64


@dataclass(frozen=True)
class Leak:
    """Images of one split that are also in one before it in the order of `SPLITS`.

    `pairs` (k, 2) rows of the set: one in the earlier split, one in the later, that show the same picture; one pair
    for each image of the later split. `exact` (k,) whether their pixels are the same, `mirrored` (k,) whether one is
    nearly the mirror image of the other.
    """

    earlier: str
    later: str
    pairs: NDArray[np.intp]
    exact: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True)
class Audit:
    """What was found in a prepared set, all by its row numbers.

    `copies` groups of two and more rows with the same pixels; `near` (m, 2) rows that show nearly the same picture,
    each the first of its copies, `likeness` (m,) the correlation of their pixels, and `mirrored` (m,) whether one is
    the mirror image; `leaks` for each two splits;
    `conflicts` the groups of copies whose labels differ, `near_conflicts` which of `near` (m,) have different labels;
    `blank` rows of one single grey; `voted_faceless` rows where most FER+ annotators saw no face, None where nobody
    voted; `faceless` rows where `detector` finds none, None without a detector; `unusable` a sentence for each
    image that never came into the set; `removable` training rows that `dedupe` would leave out.
    """

    data: PreparedSet
    copies: list[NDArray[np.intp]]
    near: NDArray[np.intp]
    likeness: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    leaks: list[Leak]
    conflicts: list[NDArray[np.intp]]
    near_conflicts: NDArray[np.bool_]
    blank: NDArray[np.intp]
    voted_faceless: NDArray[np.intp] | None
    faceless: NDArray[np.intp] | None
    detector: str
    unusable: list[str]
    removable: NDArray[np.intp]

    @property
    def spare(self) -> int:
        """How many images repeat the pixels of another."""
        return sum(len(group) - 1 for group in self.copies)

    @property
    def balance(self) -> NDArray[np.int64]:
        """Images (3, labels) of each split and label."""
        classes = len(self.data.label_names)
        counts = np.zeros((len(SPLITS), classes), np.int64)
        for k, split in enumerate(SPLITS):
            counts[k] = np.bincount(self.data.labels[self.data.splits == split], minlength=classes)
        return counts

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every finding with all its rows, numbered as in the manifest."""
        faceless = {} if self.faceless is None else {self.detector: self.faceless.tolist()}
        if self.voted_faceless is not None:
            faceless["votes"] = self.voted_faceless.tolist()
        return {
            "images": len(self.data),
            "balance": {
                split: dict(zip(self.data.label_names, row, strict=True))
                for split, row in zip(SPLITS, self.balance.tolist(), strict=True)
            },
            "copies": [group.tolist() for group in self.copies],
            "near_copies": [
                {"rows": rows, "likeness": round(same, 4), "mirrored": mirrored, "labels_differ": differ}
                for rows, same, mirrored, differ in zip(
                    *(column.tolist() for column in (self.near, self.likeness, self.mirrored, self.near_conflicts)),
                    strict=True,
                )
            ],
            "leaks": [
                {
                    "splits": [leak.earlier, leak.later],
                    "exact": leak.exact.tolist(),
                    "mirrored": leak.mirrored.tolist(),
                    "rows": leak.pairs.tolist(),
                }
                for leak in self.leaks
            ],
            "conflicting_copies": [group.tolist() for group in self.conflicts],
            "blank": self.blank.tolist(),
            "no_face": faceless,
            "unusable": self.unusable,
            "removed_by_dedupe": self.removable.tolist(),
        }


def audit(
    data: PreparedSet,
    *,
    unusable: list[str] | None = None,
    detector: Detector | None = None,
    comparing: Callable[[int, int], object] = lambda done, of: None,
    searching: Callable[[int], object] = lambda count: None,
) -> Audit:
    """Look through a set; with a `detector` also for images in which it finds no face, which takes longer.

    `comparing` is called with the images compared so far and all of them, `searching` with the number of images
    searched for faces since its last call. Raises DataError as `find_alike` does.
    """
    alike = find_alike(data.images, data.hashes, comparing)
    copies = _groups(alike.first)
    voted = np.flatnonzero(data.votes[:, _NO_FACE] * 2 > data.votes.sum(1)) if data.votes.any() else None
    return Audit(
        data=data,
        copies=copies,
        near=alike.pairs,
        likeness=alike.likeness,
        mirrored=alike.mirrored,
        leaks=[_leak(data.splits, alike, *two) for two in combinations(SPLITS, 2)],
        conflicts=[group for group in copies if len(set(data.labels[group].tolist())) > 1],
        near_conflicts=data.labels[alike.pairs[:, 0]] != data.labels[alike.pairs[:, 1]],
        blank=np.flatnonzero(data.images.min((1, 2)) == data.images.max((1, 2))),
        voted_faceless=voted,
        faceless=None if detector is None else np.flatnonzero(find_faceless(data.images, detector, searching)),
        detector="" if detector is None else detector.name,
        unusable=unusable or [],
        removable=np.flatnonzero(np.logical_or(*repeats(data.splits, alike))),
    )


def _groups(first: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows that share their first image, where there are two or more; largest group first."""
    order = np.argsort(first, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(first[order])) + 1).tolist(), len(order)]
    groups = [order[low:high] for low, high in pairwise(bounds) if high - low > 1]
    return sorted(groups, key=len, reverse=True)


def _leak(splits: NDArray[np.str_], alike: Alike, earlier: str, later: str) -> Leak:
    """For each row of the later split a row of the earlier one with the same picture, where there is one."""
    known = np.full(len(splits), -1)  # of each first image, a row of the earlier split that copies it
    rows = np.flatnonzero(splits == earlier)
    known[alike.first[rows[::-1]]] = rows[::-1]
    similar, turned = known.copy(), np.zeros(len(splits), bool)
    rising = np.argsort(alike.likeness, kind="stable")  # so the most alike has the last say
    for pair, mirrored in zip(alike.pairs[rising].tolist(), alike.mirrored[rising].tolist(), strict=True):
        for one, other in (pair, pair[::-1]):
            if known[other] >= 0:
                similar[one], turned[one] = known[other], mirrored
    mine = np.flatnonzero(splits == later)
    firsts = alike.first[mine]
    exact = known[firsts] >= 0
    partners = np.where(exact, known[firsts], similar[firsts])
    leaked = partners >= 0
    pairs = np.stack([partners, mine], 1)[leaked].astype(np.intp)
    return Leak(earlier, later, pairs, exact[leaked], (turned[firsts] & ~exact)[leaked])


def find_faceless(
    images: NDArray[np.uint8], detector: Detector, searching: Callable[[int], object] = lambda count: None
) -> NDArray[np.bool_]:
    """In which images (n, S, S) the detector finds no face at either of the `FACE_SIDES`."""
    none = np.ones(len(images), bool)

    def search(start: int) -> int:
        last = min(start + _CHUNK, len(images))
        for i in range(start, last):
            none[i] = not any(len(detector.detect(_enlarged(images[i], side))) for side in FACE_SIDES)
        return last - start

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(search, range(0, len(images), _CHUNK)):
            searching(count)
    return none


def _enlarged(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An RGB picture with the crop at that side in its middle, its border pixels going on around it."""
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    edge = round(side * _BORDER)
    framed = cv2.copyMakeBorder(large, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    return np.repeat(np.asarray(framed, np.uint8)[..., None], 3, 2)


def save_json(path: Path, found: Audit, name: str, manifest_sha256: str) -> None:
    """Write all findings with their rows, of the set called `name`. Raises MienError where that cannot be done."""
    content = {"set": name, "manifest_sha256": manifest_sha256, **found.to_dict()}
    with replacing(path, str(path)) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")
