from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.vision.detect import blend, suppress


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.1, 0.9))
def test_suppression_keeps_the_best_and_no_overlap(seed: int, n: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (n, 2))], 1).astype(np.float32)
    scores = rng.random(n).astype(np.float32)
    kept = suppress(boxes, scores, overlap)
    assert (np.diff(scores[kept]) <= 0).all()

    def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
        return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))

    for i in range(n):
        overlaps = [iou(boxes[i], boxes[k]) for k in kept if k != i]
        if i in kept:
            assert all(value <= overlap + 1e-5 for value in overlaps)
        else:
            better = [iou(boxes[i], boxes[k]) for k in kept if scores[k] >= scores[i]]
            assert max(better) > overlap - 1e-5


def test_a_blended_face_is_the_mean_of_those_that_agree_by_the_square_of_their_scores() -> None:
    boxes = np.array([[0, 0, 20, 20], [2, 0, 22, 20], [10, 0, 30, 20], [60, 60, 80, 80]], np.float32)
    scores = np.array([0.8, 0.4, 0.5, 0.3], np.float32)  # the third overlaps the best by a third only
    landmarks = np.zeros((4, 5, 2), np.float32)
    landmarks[1, :, 0] = 5
    faces, _, points = blend(boxes, scores, landmarks, min_score=0.1, overlap=0.3)
    np.testing.assert_allclose(faces[0], [0.4, 0, 20.4, 20], atol=1e-5)
    np.testing.assert_allclose(points[0], np.tile([1, 0], (5, 1)), atol=1e-5)


def test_what_many_cells_see_is_surer_than_what_one_sees() -> None:
    boxes = np.array([[0, 0, 20, 20], *[[60, 60, 80, 80]] * 10], np.float32)
    scores = np.array([0.9, *np.linspace(0.5, 0.8, 10)], np.float32)
    faces, sure, _ = blend(boxes, scores, np.zeros((11, 5, 2), np.float32), min_score=0.1, overlap=0.3)
    np.testing.assert_allclose(faces, boxes[[1, 0]])
    np.testing.assert_allclose(sure, [np.linspace(0.5, 0.8, 10)[2:].mean(), 0.9 / 8], rtol=1e-5)
    faces, _, _ = blend(boxes, scores, np.zeros((11, 5, 2), np.float32), min_score=0.2, overlap=0.3)
    np.testing.assert_allclose(faces, boxes[[1]])


def test_boxes_without_a_score_can_be_blended() -> None:
    box = np.array([[0, 0, 20, 20]], np.float32)
    faces, _, _ = blend(box, np.zeros(1, np.float32), np.zeros((1, 5, 2), np.float32), min_score=0, overlap=0.3)
    np.testing.assert_array_equal(faces, box)
