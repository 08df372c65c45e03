"""Photographs with marked faces as they are read from files and folders, and which way their heads are turned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from marked import BOX, LANDMARKS, marked, write_album, write_folder
from numpy.typing import NDArray

from mien.data import photographs
from mien.errors import DataError


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    path = tmp_path_factory.mktemp("album") / "photos.parquet"
    write_album(path, astronaut)
    return path


def test_photographs_are_read_and_refused(album: Path, tmp_path: Path) -> None:
    import polars as pl

    rows = photographs.read(album)
    assert {row.part for row in rows} == {"train", "validation"}
    assert rows[0].pixels().shape == (512, 512, 3)
    assert sum(len(row.boxes) for row in rows) == 60
    table = pl.read_parquet(album)
    for broken, words in (
        (table.drop("faces"), "it lacks faces"),
        (table.with_columns(landmarks=pl.lit([], dtype=table.schema["landmarks"])), "1 faces but landmarks of 0"),
        (table.with_columns(faces=pl.lit([[5.0, 5, 1, 9]], dtype=table.schema["faces"])), "empty box"),
        (table.with_columns(faces=pl.lit([[5.0, 5, 1]], dtype=table.schema["faces"])), "lists of 4 numbers"),
        (table.clear(), "holds no photographs"),
    ):
        broken.write_parquet(tmp_path / "broken.parquet")
        with pytest.raises(DataError, match=words):
            photographs.read(tmp_path / "broken.parquet")
    with pytest.raises(DataError, match="cannot be decoded"):
        replace(marked(np.zeros((4, 4, 3), np.uint8)), encoded=b"no").pixels()


def test_several_files_are_one_collection(album: Path, tmp_path: Path) -> None:
    import polars as pl

    pl.read_parquet(album)[:7].write_parquet(tmp_path / "more.parquet")
    assert len(photographs.read(album, tmp_path / "more.parquet")) == len(photographs.read(album)) + 7
    assert photographs.file_hash(album) != photographs.file_hash(album, tmp_path / "more.parquet")


def test_yaws_of_faces() -> None:
    frontal = np.array(LANDMARKS, np.float32)
    three_quarter, profile = frontal.copy(), frontal.copy()
    three_quarter[2] += (12, 0)
    profile[:] = [[50, 40], [56, 40], [76, 60], [60, 80], [62, 80]]
    found = photographs.yaws(np.stack([frontal, three_quarter, profile]))
    assert found[0] < 10
    assert 30 < found[1] < 60
    assert found[2] > 60
    turned = np.stack([frontal, profile]) @ np.array([[0, 1], [-1, 0]], np.float32)
    np.testing.assert_allclose(photographs.yaws(turned), found[[0, 2]], atol=0.01)
    assert photographs.yaws(np.empty((0, 5, 2), np.float32)).shape == (0,)


def test_a_folder_of_pictures_is_read_and_refused(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", astronaut)
    face, scene = photographs.read_folder(tmp_path / "mine")
    np.testing.assert_array_equal(face.boxes, np.array([BOX], np.float32))
    np.testing.assert_array_equal(face.ignore, [[0, 0, 30, 40]])
    assert np.isnan(face.landmarks).all()
    assert face.landmarks.shape == (1, 5, 2)
    assert (len(scene.boxes), scene.source, scene.pixels().shape) == (0, "mine/scene.png", (252, 300, 3))
    for text, words in (
        ("image,x1,y1,x2\nface.png,1,2,3\n", "lacks y2"),
        ("image,x1,y1,x2,y2\nother.png,1,2,3,4\n", r":2: there is no picture 'other.png'"),
        ("image,x1,y1,x2,y2\nface.png,1,2,3,4\nface.png,5,2,3,4\n", r":3: x1, y1, x2, y2 should be four numbers"),
        ("image,x1,y1,x2,y2\nface.png,1,2,3\n", r":2: x1, y1, x2, y2 should be four numbers"),
    ):
        (tmp_path / "mine" / "boxes.csv").write_text(text)
        with pytest.raises(DataError, match=words):
            photographs.read_folder(tmp_path / "mine")
