"""Corruptions: what each does to a real face, more at each level, and always the same by seed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.evaluation.expression.corruptions import CORRUPTIONS, STRENGTHS, corrupt, randomness

LEVELS = range(1, STRENGTHS + 1)


@pytest.fixture(scope="module")
def crops(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sixteen times the astronaut's face, `(16, 48, 48)`."""
    grey = cv2.cvtColor(astronaut[60:180, 165:285], cv2.COLOR_RGB2GRAY)
    face = np.asarray(cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA), np.uint8)
    return np.repeat(face[None], 16, axis=0)


def spoilt(crops: NDArray[np.uint8], name: str, level: int, seed: int = 0) -> NDArray[np.uint8]:
    return corrupt(crops, name, level, randomness(name, level, seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_level_spoils_more(name: str, crops: NDArray[np.uint8]) -> None:
    before = crops.copy()
    changes = []
    for level in LEVELS:
        images = spoilt(crops, name, level)
        assert images.shape == crops.shape
        assert images.dtype == np.uint8
        changes.append(np.abs(images.astype(float) - crops).mean())
    assert changes[0] > 0.3
    assert changes == sorted(changes)
    assert changes[-1] > 2 * changes[0]
    np.testing.assert_array_equal(crops, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_decides(name: str, crops: NDArray[np.uint8]) -> None:
    once = spoilt(crops, name, 3)
    np.testing.assert_array_equal(once, spoilt(crops, name, 3))
    by_chance = name in {"noise", "brightness", "rotation", "occlusion"}
    assert (spoilt(crops, name, 3, seed=1) != once).any() == by_chance
    rng = randomness(name, 3, 0)  # in parts, one after the other, as large sets are read
    np.testing.assert_array_equal(
        np.concatenate([corrupt(part, name, 3, rng) for part in (crops[:5], crops[5:])]), once
    )


def test_noise_brightness_and_contrast_by_number(crops: NDArray[np.uint8]) -> None:
    grey = np.full_like(crops, 128)
    assert (spoilt(grey, "noise", 2).astype(float) - 128).std() == pytest.approx(16, rel=0.03)
    assert sorted(np.unique(spoilt(grey, "brightness", 2))) == [77, 179]  # 128 less and plus 20 % of 255
    assert (spoilt(grey, "contrast", 5) == 128).all()
    assert spoilt(crops, "contrast", 2)[0].std() == pytest.approx(crops[0].std() / 2, rel=0.02)


def test_occlusion_covers_one_square_of_one_grey(crops: NDArray[np.uint8]) -> None:
    for image, crop in zip(spoilt(crops, "occlusion", 3), crops, strict=True):
        rows, columns = np.nonzero(image != crop)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height <= 19  # 0.4 of 48
        assert width <= 19
        assert len(np.unique(image[rows, columns])) == 1


def test_low_resolution_keeps_no_more_than_that_many_pixels(crops: NDArray[np.uint8]) -> None:
    detail = np.indices((48, 48)).sum(0) % 2 * 255
    assert np.ptp(spoilt(detail[None].astype(np.uint8), "low resolution", 5)) <= 1


def test_larger_crops_are_blurred_in_proportion(crops: NDArray[np.uint8]) -> None:
    large = np.stack([np.asarray(cv2.resize(crop, (192, 192), interpolation=cv2.INTER_CUBIC)) for crop in crops[:1]])
    small = np.asarray(cv2.resize(spoilt(large, "blur", 3)[0], (48, 48), interpolation=cv2.INTER_AREA), float)
    assert np.abs(small - spoilt(crops[:1], "blur", 3)[0]).mean() < 2


def test_nothing_stays_nothing() -> None:
    assert spoilt(np.empty((0, 48, 48), np.uint8), "blur", 1).shape == (0, 48, 48)
