"""A table holds what the faces held, whatever its kind, and a failed run leaves no half table."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError, MissingExtraError
from mien.faces import Faces
from mien.labels import LABELS
from mien.output import tables
from mien.output.tables import COLUMNS, open_table

KINDS = ("csv", "jsonl", "parquet")


def some_faces(n: int, **about: object) -> Faces:
    rng = np.random.default_rng(n)
    drawn = (
        rng.uniform(0, 100, (n, 4)),
        rng.uniform(0, 1, n),
        rng.uniform(0, 100, (n, 5, 2)),
        rng.dirichlet(np.ones(7), n),
    )
    boxes, scores, landmarks, probs = (column.astype(np.float32) for column in drawn)
    return Faces(boxes, scores, landmarks, probs, detector="yunet", model="tiny").replace(**about)


def read(path: Path) -> list[dict[str, object]]:
    """Any of the tables as rows of text, numbers and None."""
    if path.suffix == ".parquet":
        import polars as pl

        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        texts = {"source", "detector", "model", "label"}
        return [
            {key: None if value == "" else value if key in texts else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_faces(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"faces.{kind}"
    first = some_faces(2, source="ä b.jpg", ids=np.array([7, 8]), frame=3, time=0.125)
    bare = Faces(
        np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.full((1, 5, 2), np.nan, np.float32),
        source="bare.png", detector="haar",
    )  # fmt: skip
    with open_table(path) as table:
        for faces in (first, Faces.none(source="nobody.jpg"), bare):
            table.write(faces)
    rows = read(path)
    assert [row["source"] for row in rows] == ["ä b.jpg", "ä b.jpg", "bare.png"]
    assert all(tuple(row) == COLUMNS for row in rows)
    for i, row in enumerate(rows[:2]):
        expected = list(first.rows())[i]
        assert (row["id"], row["frame"], row["time_s"]) == (7 + i, 3, 0.125)
        assert [row[c] for c in ("x1", "y1", "x2", "y2")] == expected["box"]
        assert [row["left_eye_x"], row["left_eye_y"]] == expected["landmarks"][1]
        assert (row["label"], row["confidence"]) == (expected["label"], expected["confidence"])
        assert {label: row[label] for label in LABELS} == expected["probabilities"]
    last = rows[2]
    assert last["detector"] == "haar"
    assert last["x2"] == 3
    assert all(not last[c] for c in ("id", "model", "nose_x", "label", "confidence", "happy"))


@pytest.mark.parametrize("kind", KINDS)
def test_uncertain_by_the_limit(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"faces.{kind}"
    with open_table(path, min_confidence=0.999) as table:
        table.write(some_faces(1))
    assert read(path)[0]["label"] == "uncertain"


@pytest.mark.parametrize("kind", KINDS)
def test_without_faces_the_table_is_there_and_empty(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"faces.{kind}"
    with open_table(path) as table:
        table.write(Faces.none(source="nobody.jpg"))
    assert read(path) == []


def test_parquet_in_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BATCH", 16)
    path = tmp_path / "faces.parquet"
    with open_table(path) as table:
        for frame in range(25):
            table.write(some_faces(3, frame=frame))
    assert [row["frame"] for row in read(path)] == [frame for frame in range(25) for _ in range(3)]
    assert [p.name for p in tmp_path.iterdir()] == ["faces.parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_run_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"faces.{kind}"
    path.write_text("before")
    with pytest.raises(RuntimeError), open_table(path) as table:
        table.write(some_faces(2))
        assert path.read_text() == "before"
        raise RuntimeError
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_is_no_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"faces.{kind}"
    with open_table(path) as table:
        table.write(some_faces(1, source="photo\udcff.jpg"))
    assert read(path)[0]["source"] == "photo\\udcff.jpg"


@pytest.mark.parametrize("name", ["faces", "faces.xlsx", "faces.csv.gz"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.csv, \.jsonl, \.parquet"), open_table(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())


def test_near_miss_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean '\.jsonl'"), open_table(tmp_path / "faces.json"):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write the table"), open_table(tmp_path / "file" / f"t.{kind}"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "faces.csv.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="no space left"), open_table(tmp_path / "faces.csv") as table:
        table.write(some_faces(2000))
    assert not list(tmp_path.iterdir())


def test_parquet_without_polars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # as where it is not installed
    with pytest.raises(MissingExtraError, match=r"mien\[table\]"), open_table(tmp_path / "faces.parquet"):
        pass
