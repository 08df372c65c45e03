from __future__ import annotations

import json

import numpy as np
import pytest

from mien.faces import Faces
from mien.labels import LABELS, UNCERTAIN


def two() -> Faces:
    probs = np.full((2, 7), 0.1, np.float32)
    probs[0, LABELS.index("happy")] = 0.4
    probs[1, LABELS.index("fear")] = 0.4
    landmarks = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    landmarks[1] = np.nan
    return Faces(
        np.array([[1, 2, 30, 40], [5, 6, 7, 8]]), np.array([0.9, 0.5]), landmarks, probs, source="a.jpg",
        width=100, height=80, detector="haar", model="m",
    )  # fmt: skip


def test_columns_are_checked_and_read_only() -> None:
    faces = two()
    assert faces.boxes.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        faces.boxes[0, 0] = 3
    with pytest.raises(ValueError, match=r"scores should have shape \(2,\)"):
        faces.replace(scores=np.zeros(3))
    with pytest.raises(AttributeError):
        faces.time = 3  # type: ignore[misc]


def test_no_face_is_length_zero() -> None:
    none = Faces.none(width=3, height=4)
    assert len(none) == 0
    assert none.boxes.shape == (0, 4)
    assert none.labels() == []
    assert none.to_dict()["faces"] == []


def test_labels_know_doubt() -> None:
    assert two().labels() == ["happy", "fear"]
    assert two().labels(0.5) == [UNCERTAIN, UNCERTAIN]
    assert two().replace(probs=None).labels() == [UNCERTAIN, UNCERTAIN]


def test_select_keeps_columns_together() -> None:
    faces = two().replace(ids=np.array([7, 8]))
    swapped = faces.select([1, 0])
    assert swapped.labels() == ["fear", "happy"]
    assert swapped.ids is not None
    assert swapped.ids.tolist() == [8, 7]
    assert len(faces.select(np.array([False, True]))) == 1
    assert len(faces.select([])) == 0


def test_json_is_plain_and_complete() -> None:
    content = json.loads(json.dumps(two().to_dict(), allow_nan=False))
    assert content["source"] == "a.jpg"
    first, second = content["faces"]
    assert first["box"] == [1, 2, 30, 40]
    assert list(first["probabilities"]) == list(LABELS)
    assert first["label"] == "happy"
    assert second["landmarks"] is None
