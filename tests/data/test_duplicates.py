"""The same photograph is found again after cutting, compressing and shifting; different ones are kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from likenesses import compressed, moved, natural
from numpy.typing import NDArray

from mien.data.auditing import duplicates
from mien.data.auditing.duplicates import find_alike, found_among, likeness, mirror, repeats, signatures
from mien.data.prepared import image_hash
from mien.errors import DataError
from mien.models import CropGeometry
from mien.vision.crop import crop_faces, resize_crop
from mien.vision.detect import Haar


def hashes(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    return np.array([image_hash(image) for image in images], np.str_)


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    image = astronaut()
    return np.asarray(crop_faces(image, Haar().detect(image).select([0]), 48, CropGeometry())[0])


def test_copies_and_near_copies_are_found_and_nothing_else(face: NDArray[np.uint8]) -> None:
    others = [natural(seed) for seed in range(300)]
    again = [
        compressed(face), moved(face, 2, 0), moved(face, -1, 2), moved(face, 0, 0, 1.03),
        np.asarray(face * 0.6 + 60, np.uint8),
    ]  # fmt: skip
    images = np.stack([others[0], face, *others[1:], face, *again])
    alike = find_alike(images, hashes(images))
    assert alike.first[301] == 1
    assert (np.delete(alike.first, 301) == np.delete(np.arange(len(images)), 301)).all()
    assert {tuple(pair) for pair in alike.pairs.tolist() if pair[0] == 1} == {(1, 302 + k) for k in range(5)}
    assert (alike.pairs >= 302)[:, 1].all(), "only faces pair up"
    assert (alike.likeness >= duplicates.MIN_LIKENESS).all()
    assert alike.pairs.tolist() == sorted(alike.pairs.tolist())


def test_mirrored_copies_are_found_and_told_from_near_ones(face: NDArray[np.uint8]) -> None:
    others = [natural(seed) for seed in range(200)]
    turned = mirror(face)
    again = [turned, compressed(turned), moved(turned, 2, -1), mirror(others[7]), compressed(others[8])]
    images = np.stack([face, *others, *again])
    alike = find_alike(images, hashes(images))
    found = dict(zip(map(tuple, alike.pairs.tolist()), alike.mirrored.tolist(), strict=True))
    assert found == {
        (0, 201): True, (0, 202): True, (0, 203): True, (8, 204): True, (9, 205): False,
        (201, 202): False, (201, 203): False, (202, 203): False,
    }  # fmt: skip
    assert (alike.first == np.arange(len(images))).all(), "a mirror image has other pixels"


def test_one_is_not_its_own_mirrored_copy(face: NDArray[np.uint8]) -> None:
    symmetric = np.concatenate([face[:, :24], face[:, 23::-1]], 1)
    images = np.stack([symmetric, natural(1), compressed(symmetric)])
    alike = find_alike(images, hashes(images))
    assert alike.pairs.tolist() == [[0, 2]]


@pytest.mark.parametrize("size", [6, 7, 48])
def test_the_signature_of_the_mirror_image_is_known(size: int) -> None:
    images = np.stack([natural(seed, size) for seed in range(4)])
    turned = np.stack([mirror(image) for image in images])
    rows = np.arange(4)
    assert signatures(turned, rows) == pytest.approx(signatures(images, rows) * duplicates._mirror(size), abs=1e-5)


@pytest.mark.parametrize("size", [7, 48, 100])
def test_any_size_will_do(face: NDArray[np.uint8], size: int) -> None:
    images = np.stack([resize_crop(image, size) for image in (face, natural(1, 100), compressed(face, 90))])
    assert find_alike(images, hashes(images)).pairs.tolist() == [[0, 2]]


def test_likeness_is_a_correlation(face: NDArray[np.uint8]) -> None:
    assert likeness(face, face) == pytest.approx(1, abs=1e-5)
    assert likeness(face, np.asarray(255 - face, np.uint8)) < 0.5
    assert likeness(moved(face, 4, -3), face) > 0.95


def test_images_without_contrast_are_like_nothing() -> None:
    images = np.stack([np.full((48, 48), grey, np.uint8) for grey in (0, 1, 255)])
    images[1, 0, 0] = 2
    assert len(find_alike(images, hashes(images)).pairs) == 0


def test_no_images_are_no_pairs() -> None:
    alike = find_alike(np.empty((0, 48, 48), np.uint8), np.empty(0, np.str_))
    assert (len(alike.first), alike.pairs.shape) == (0, (0, 2))


def test_frames_of_a_film_are_refused(face: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 40)
    images = np.stack([np.asarray(face // 2 + k, np.uint8) for k in range(10)])
    with pytest.raises(DataError, match="more than 40 pairs of images are nearly the same, as the frames"):
        find_alike(images, hashes(images))


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    images = np.stack([natural(seed, 8) for seed in range(600)])
    find_alike(images, hashes(images), lambda *step: seen.append(step))
    assert seen[0] == (128, 600)
    assert seen[-1] == (600, 600)


def test_repeats_by_hand(face: NDArray[np.uint8]) -> None:
    """Rows: train a, validation b, train b again, train nearly b, train c, train nearly c, train c, test nearly c2."""
    b, c, d = natural(1), natural(2), natural(3)
    images = np.stack([face, b, b, compressed(b), c, compressed(c), c, compressed(d), d])
    splits = np.array(["train", "validation", "train", "train", "train", "train", "train", "test", "train"])
    leaks, doubles = repeats(splits, find_alike(images, hashes(images)))
    assert leaks.tolist() == [False, False, True, True, False, False, False, False, True]
    assert doubles.tolist() == [False, False, False, False, False, True, True, False, False]


def test_mirrored_repeats_are_repeats(face: NDArray[np.uint8]) -> None:
    images = np.stack([face, mirror(face), natural(1), mirror(natural(1)), natural(2)])
    splits = np.array(["train", "test", "train", "train", "train"])
    leaks, doubles = repeats(splits, find_alike(images, hashes(images)))
    assert leaks.tolist() == [True, False, False, False, False]
    assert doubles.tolist() == [False, False, False, True, False]


def test_what_is_shown_elsewhere_is_found_there(face: NDArray[np.uint8]) -> None:
    shown = [natural(1), face, natural(2), mirror(natural(3)), natural(4)]
    images = np.stack([face, compressed(natural(1)), natural(2), natural(3), natural(5), *shown])
    rows, others = np.arange(5), np.arange(5, 10)
    assert found_among(images, hashes(images), rows, others).tolist() == [True, True, True, True, False]
    assert found_among(images, hashes(images), others, rows).tolist() == [True, True, True, True, False]
    assert not found_among(images, hashes(images), rows, others[4:]).any()
    assert not found_among(images, hashes(images), rows, others[:0]).any()


def test_pictures_found_elsewhere_are_those_that_are_alike(face: NDArray[np.uint8]) -> None:
    """However many near copies there are, as among the frames of a film."""
    random = np.random.default_rng(1)
    base = [natural(seed) for seed in range(30)] + [face]
    images = np.stack([
        moved(base[random.integers(len(base))][:, :: random.choice([-1, 1])], *random.integers(-3, 4, 2))
        for _ in range(300)
    ])  # fmt: skip
    training = random.random(300) < 0.1
    alike = find_alike(images, hashes(images))
    seen = np.isin(alike.first, alike.first[training])
    for pair in alike.pairs:
        for one, other in (pair, pair[::-1]):
            seen |= (alike.first == one) & training[alike.first == other].any()
    steps: list[tuple[int, int]] = []
    rows = np.flatnonzero(~training)
    found = found_among(images, hashes(images), rows, np.flatnonzero(training), lambda *step: steps.append(step))
    assert found.tolist() == seen[rows].tolist()
    assert 0.2 < found.mean() < 0.95
    assert steps[-1] == (len(rows), len(rows))


def test_what_is_left_repeats_nowhere(face: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(0)
    base = [natural(seed) for seed in range(8)] + [face]
    images = np.stack([
        moved(compressed(base[random.integers(len(base))], 70), *random.integers(-1, 2, 2)) for _ in range(120)
    ])  # fmt: skip
    splits = random.choice(["train", "train", "train", "validation", "test"], 120).astype(np.str_)
    leaks, doubles = repeats(splits, find_alike(images, hashes(images)))
    assert not (leaks & doubles).any()
    assert not ((leaks | doubles) & (splits != "train")).any()
    kept = ~(leaks | doubles)
    again = repeats(splits[kept], find_alike(images[kept], hashes(images[kept])))
    assert not np.any(again)
