from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from mien.columns import table_columns
from mien.errors import InputError
from mien.faces import SCHEMA, Faces
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
    with pytest.raises(InputError, match=r"scores should have shape \(2,\), not \(3,\)"):
        faces.replace(scores=np.zeros(3))
    with pytest.raises(InputError, match=r"scores should have shape \(2,\), not \(0,\)"):
        faces.replace(scores=[])
    with pytest.raises(InputError, match=r"probs should be probabilities .* not to \[63"):
        faces.replace(probs=np.full((2, 7), 9))
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


def test_a_face_a_slice_a_mask_and_each() -> None:
    faces = two().replace(ids=np.array([7, 8]))
    assert (faces[0].label, faces[-1].label) == ("happy", "fear")
    assert faces[1].confidence == pytest.approx(0.4)
    assert faces[1].id == 8
    assert faces[0].probabilities == pytest.approx({label: 0.4 if label == "happy" else 0.1 for label in LABELS})
    assert faces[0].box.tolist() == [1, 2, 30, 40]
    assert faces[0].score == pytest.approx(0.9)
    assert [face.label for face in faces] == ["happy", "fear"]
    assert faces[1:].labels() == ["fear"]
    assert faces[::-1].labels() == ["fear", "happy"]
    assert faces[faces.scores > 0.7].labels() == ["happy"]
    assert faces[[1, 1]].labels() == ["fear", "fear"]
    with pytest.raises(IndexError, match="no face 2: there are 2"):
        faces[2]
    with pytest.raises(InputError, match=r"needs exactly one face, and there are 2: take one, as in faces\[0\]\.label"):
        faces.label  # noqa: B018


def test_pickling_keeps_everything_but_the_picture_and_stays_read_only() -> None:
    faces = two().replace(image=np.zeros((80, 100, 3), np.uint8))
    again = pickle.loads(pickle.dumps(faces))
    assert again.to_dict() == faces.to_dict()
    assert again.image is None
    with pytest.raises(ValueError, match="read-only"):
        again.boxes[0, 0] = 3


def test_text_for_terminals_and_notebooks() -> None:
    faces = two()
    assert repr(faces) == "Faces(2: happy 40%, fear 40%; a.jpg, 100x80)"
    assert (
        repr(faces.replace(ids=np.array([3, 0]), time=1.5))
        == "Faces(2: 3 happy 40%, 0 fear 40%; a.jpg, 100x80, 1.50 s)"
    )
    assert repr(Faces.none()) == "Faces(0)"
    page = faces.replace(source="<b>.jpg")._repr_html_()
    assert "<img" not in page
    assert "&lt;b&gt;.jpg" in page
    assert page.count("<table") == 2
    assert "data:image/jpeg;base64," in faces.replace(image=np.zeros((80, 100, 3), np.uint8))._repr_html_()


def test_drawing_needs_the_picture() -> None:
    faces, image = two(), np.zeros((80, 100, 3), np.uint8)
    with pytest.raises(InputError, match=r"faces\.draw\(image\)"):
        faces.draw()
    with pytest.raises(InputError, match=r"should have shape \(80, 100, 3\), not \(8, 8, 3\)"):
        faces.draw(np.zeros((8, 8, 3), np.uint8))
    assert faces.draw(image).any()
    assert not image.any()
    np.testing.assert_array_equal(faces.replace(image=image).draw(), faces.draw(image))


def test_data_frames_have_the_columns_of_tables() -> None:
    import pandas as pd
    import polars as pl

    faces = two().replace(ids=np.array([7, 8]), frame=3, time=0.125)
    table, other = faces.to_polars(), faces.to_pandas()
    assert tuple(table.columns) == tuple(other.columns) == table_columns(LABELS)
    assert table["label"].to_list() == other["label"].tolist() == ["happy", "fear"]
    assert table["id"].dtype == pl.Int64
    assert other["id"].dtype == pd.Int64Dtype()
    assert table["nose_x"].to_list() == [4.0, None]
    assert other["raw_happy"].isna().all()
    assert Faces.none().to_polars().schema == table.schema


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"boxes": None}, "boxes should have shape"),
        ({"boxes": [["a", "b", "c", "d"]] * 2}, "boxes should be numbers"),
        ({"ids": [1.7, 2]}, "ids should be whole numbers"),
        ({"ids": ["x", "y"]}, "ids should be numbers"),
    ],
)
def test_wrong_columns_are_named(columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        two().replace(**columns)
    for index in (True, [0.5]):
        with pytest.raises(IndexError):
            two()[index]


def test_json_says_its_version() -> None:
    assert two().to_dict()["schema"] == SCHEMA == 1
