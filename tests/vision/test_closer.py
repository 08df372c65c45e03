"""A closer look: what it does to faces that the detector is not sure of."""

from __future__ import annotations

from typing import NoReturn

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien import models
from mien.vision.detect.closer import look_closer
from mien.vision.runtime import Session

Floats = NDArray[np.float32]

EYES_TO_MOUTH = np.array([[203, 104], [247, 104], [227, 127], [210, 148], [246, 148]], np.float32)
FACE = np.array([187, 62, 268, 172], np.float32)


@pytest.fixture(scope="module")
def network() -> Session:
    return Session(models.load_detector().weights, "mien", 1)


def test_a_face_becomes_surer_and_its_landmarks_better(astronaut: NDArray[np.uint8], network: Session) -> None:
    """Also where the head is tilted, and where box and landmarks were a little off."""
    for tilt in (0.0, 60.0):
        turn = cv2.getRotationMatrix2D((227.0, 117.0), tilt, 1.0)
        image = np.asarray(cv2.warpAffine(astronaut, turn, (512, 512)), np.uint8)
        truth = (EYES_TO_MOUTH @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
        guess = truth[None] + np.float32(8)
        boxes, scores, landmarks = look_closer(image, FACE[None] + 6, np.full(1, 0.5, np.float32), guess, network.run)
        assert scores[0] > 0.75
        assert np.abs((boxes[0, :2] + boxes[0, 2:]) / 2 - truth.mean(0)).max() < 12
        assert np.abs(landmarks[0] - truth).mean() < 0.75 * 8


def test_what_is_no_face_becomes_less_sure(astronaut: NDArray[np.uint8], network: Session) -> None:
    flag, points = FACE[None] + (220, 200) * 2, EYES_TO_MOUTH[None] + (220, 200)
    _, scores, _ = look_closer(
        astronaut, flag.astype(np.float32), np.full(1, 0.5, np.float32), points.astype(np.float32), network.run
    )
    assert scores[0] < 0.2


def test_only_what_is_doubtful_is_looked_at(astronaut: NDArray[np.uint8]) -> None:
    def refuse(pictures: NDArray[np.uint8]) -> NoReturn:
        raise AssertionError(f"{len(pictures)} pictures were looked at")

    boxes, points = np.tile(FACE, (2, 1)), np.tile(EYES_TO_MOUTH, (2, 1, 1))
    scores = np.array([0.95, 0.1], np.float32)
    for given, result in zip(
        (boxes, scores, points), look_closer(astronaut, boxes, scores, points, refuse), strict=True
    ):
        np.testing.assert_array_equal(result, given)


def test_of_a_crowd_only_the_surest_are_looked_at(astronaut: NDArray[np.uint8], network: Session) -> None:
    counted: list[int] = []

    def counting(pictures: NDArray[np.uint8]) -> list[Floats]:
        counted.append(len(pictures))
        return network.run(pictures)

    scores = np.linspace(0.8, 0.35, 100, dtype=np.float32)
    boxes, points = np.tile(FACE, (100, 1)), np.tile(EYES_TO_MOUTH, (100, 1, 1))
    _, after, _ = look_closer(astronaut, boxes, scores, points, counting)
    assert counted == [64]
    assert (after[:64] != scores[:64]).all()
    np.testing.assert_array_equal(after[64:], scores[64:])
