"""Images that show the same picture twice: exact copies by their hash, near and mirrored ones by a signature.

The signature of an image is its lowest 8 x 8 frequencies (DCT) without the mean, each times its frequency, since
natural pictures fall off as 1/f and fine detail would otherwise not count, at unit length. That of its mirror image
has the odd horizontal frequencies with the other sign. All signatures are compared with both in matrix products, block
by block; what is close there is confirmed on the pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.threads import in_order

MIN_LIKENESS = 0.9
"""Correlation of the pixels from which two images count as one picture. On FER2013 nearly all pairs above are the same
photograph, cut or compressed again, and their labels agree in four cases of five; between 0.85 and 0.9 in two."""
MIN_MIRRORED = 0.93
"""The same where one is mirrored, which is rarer: in FER2013 all 50 pairs above are mirror images by eye, and half of
the 34 between 0.9 and this are two people in the same light."""
MAX_SHIFT = 1 / 12
"""By how much of the side the two may be shifted against each other."""

_MIN_COSINE = 0.75
"""Of two signatures; FER2013 has 77,735 pairs above, of which 3,828 are confirmed, and about as many mirrored ones, of
which 50 are."""
_FREQUENCIES = 8
_MIN_CONTRAST = 2.0
"""Standard deviation in grey levels; fainter images are noise to a correlation."""
_BLOCK = 128
_MAX_PAIRS = 1_000_000


@dataclass(frozen=True)
class Alike:
    """Which of n images show the same picture.

    `first` (n,) index of the first image with the same pixels, its own where there is none before; `pairs` (m, 2),
    two such first images a row, in rising order, that show nearly the same picture; `likeness` (m,) the correlation of
    their pixels, `MIN_LIKENESS` to 1; `mirrored` (m,) whether one has to be mirrored for it, from `MIN_MIRRORED` on.
    """

    first: NDArray[np.intp]
    pairs: NDArray[np.intp]
    likeness: NDArray[np.float32]
    mirrored: NDArray[np.bool_]


def find_alike(
    images: NDArray[np.uint8], hashes: NDArray[np.str_], progress: Callable[[int, int], object] = lambda done, of: None
) -> Alike:
    """All copies, near and mirrored ones too, among `images` (n, S, S) with their `hashes` (n,), as of `image_hash`.

    `progress` is called with the different images compared so far, and all of them. Raises DataError where more than
    a million pairs are near copies, as the frames of a film are.
    """
    _, indices, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    first = indices[inverse].astype(np.intp)
    single = np.sort(indices).astype(np.intp)
    marks = signatures(images, single)
    turned = marks * _mirror(images.shape[1])

    def compare(start: int) -> list[tuple[int, int, float, bool]]:
        mine, others = slice(start, start + _BLOCK), marks[start:].T
        close, close_turned = marks[mine] @ others >= _MIN_COSINE, turned[mine] @ others >= _MIN_COSINE
        confirmed = []
        rows, columns = np.divmod(np.flatnonzero(close | close_turned), close.shape[1])
        later = columns > rows
        for here, there in zip(rows[later].tolist(), columns[later].tolist(), strict=True):
            one, other = int(single[start + here]), int(single[start + there])
            same = _confirmed(images[one], images[other], close[here, there], close_turned[here, there])
            if same:
                confirmed.append((one, other, *same))
        return confirmed

    found: list[tuple[int, int, float, bool]] = []
    for count, confirmed in enumerate(in_order(compare, range(0, len(single), _BLOCK), os.cpu_count() or 1), 1):
        found += confirmed
        if len(found) > _MAX_PAIRS:
            raise DataError(
                f"more than {_MAX_PAIRS:,} pairs of images are nearly the same, as the frames of a film are; "
                "keep every tenth of them or so"
            )
        progress(min(count * _BLOCK, len(single)), len(single))
    pairs = np.array([pair[:2] for pair in found], np.intp).reshape(-1, 2)
    alike, mirrored = (np.array([pair[k] for pair in found]) for k in (2, 3))
    return Alike(first, pairs, alike.astype(np.float32), mirrored.astype(bool))


def found_among(
    images: NDArray[np.uint8],
    hashes: NDArray[np.str_],
    rows: NDArray[np.intp],
    others: NDArray[np.intp],
    progress: Callable[[int, int], object] = lambda done, of: None,
) -> NDArray[np.bool_]:
    """Which of `rows` (m,) of the images (n, S, S) show the same picture as one of `others` (k,), which are other rows.

    Copies count as in `find_alike`: exact, near and mirrored ones. `progress` is called with the rows compared so far,
    and all of them.
    """
    found = np.isin(hashes[rows], hashes[others])
    marks, theirs = signatures(images, rows), signatures(images, others).T
    turned = marks * _mirror(images.shape[1])

    def search(start: int) -> None:
        mine = slice(start, start + _BLOCK)
        upright, mirrored = marks[mine] @ theirs, turned[mine] @ theirs
        nearest = np.maximum(upright, mirrored)
        for here in np.flatnonzero(~found[mine] & (nearest.max(1, initial=0) >= _MIN_COSINE)).tolist():
            close = np.flatnonzero(nearest[here] >= _MIN_COSINE)
            for there in close[np.argsort(-nearest[here, close])].tolist():
                pair = sorted((int(rows[start + here]), int(others[there])))
                one, other = images[pair]
                if _confirmed(one, other, *(cosines[here, there] >= _MIN_COSINE for cosines in (upright, mirrored))):
                    found[start + here] = True
                    break

    for count, _ in enumerate(in_order(search, range(0, len(rows), _BLOCK), os.cpu_count() or 1), 1):
        progress(min(count * _BLOCK, len(rows)), len(rows))
    return found


def _confirmed(
    one: NDArray[np.uint8], other: NDArray[np.uint8], upright: bool, turned: bool
) -> tuple[float, bool] | None:
    """The likeness of two images whose signatures are close, `upright` or `turned`, and whether one has to be mirrored
    for it; None where they are two pictures."""
    same = likeness(one, other) if upright else 0.0
    mirrored = likeness(one, mirror(other)) if turned else 0.0
    if mirrored >= MIN_MIRRORED and mirrored > same:
        return mirrored, True
    return (same, False) if same >= MIN_LIKENESS else None


def signatures(images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Unit vectors (m, 63) of the images (n, S, S) that `rows` (m,) names; zeros for images without contrast."""
    size = images.shape[1]
    kept = _kept(size)
    place, wave = np.arange(size), np.arange(kept)[:, None]
    cosines = np.cos(np.pi * (2 * place + 1) * wave / (2 * size)).astype(np.float32)  # the DCT-II, orthonormal but
    cosines[0] /= np.sqrt(2)  # for a factor that all have in common
    weight = np.hypot(wave, wave.T).astype(np.float32)
    marks = np.zeros((len(rows), kept * kept), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = images[rows[start : start + _BLOCK]].astype(np.float32)
        spectrum = (cosines @ block @ cosines.T * weight).reshape(len(block), -1)
        length = np.linalg.norm(spectrum, axis=1, keepdims=True)
        faint = block.std((1, 2))[:, None] < _MIN_CONTRAST
        marks[start : start + _BLOCK] = np.where(faint, 0, spectrum / np.maximum(length, 1e-6))
    return marks[:, 1:]  # the mean, weighted with zero


def _kept(size: int) -> int:
    """Frequencies across and down of images with that side."""
    return min(_FREQUENCIES, size)


def _mirror(size: int) -> NDArray[np.float32]:
    """What a signature (63,) is multiplied with to be that of the mirror image."""
    across = np.arange(_kept(size) ** 2) % _kept(size)
    return np.where(across % 2, -1, 1).astype(np.float32)[1:]


def mirror(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Correlation, -1 to 1, of the middle of one `(S, S)` image with the other, where they fit best."""
    margin = int(len(one) * MAX_SHIFT)
    middle = one[margin : len(one) - margin, margin : len(one) - margin]
    return float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max())


def repeats(splits: NDArray[np.str_], alike: Alike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which training images (n,) are also in another split, and which of the others repeat one before in training.

    Exact, near and mirrored copies alike. Without the two no picture is left twice in training or on both sides.
    """
    training = splits == "train"
    held = np.zeros(len(splits), bool)
    held[alike.first[~training]] = True
    one, other = alike.pairs.T
    near_held = held.copy()
    near_held[one[held[other]]] = True
    near_held[other[held[one]]] = True
    leaks = training & near_held[alike.first]
    left = training & ~leaks
    doubles = left & (alike.first != np.arange(len(splits)))
    neighbours: dict[int, list[int]] = {}
    for early, late in alike.pairs.tolist():
        neighbours.setdefault(late, []).append(early)
    kept = left & ~doubles
    for late, earlier in sorted(neighbours.items()):
        if kept[late] and kept[earlier].any():
            kept[late] = False
    return leaks, left & ~kept
