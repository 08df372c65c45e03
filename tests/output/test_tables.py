"""A table holds what the faces held, whatever its kind, and a failed run leaves no half table."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disks import make_read_only, small_disk

from mien.columns import LANDMARK_COLUMNS, from_cell
from mien.errors import InputError, MissingExtraError, OutputError
from mien.faces import SCHEMA, Faces
from mien.labels import LABELS
from mien.output import tables
from mien.output.tables import COLUMNS, FRAME_COLUMNS, open_frames_table, open_table

KINDS = ("csv", "jsonl", "parquet")


def some_faces(n: int, seed: int | None = None, **about: object) -> Faces:
    rng = np.random.default_rng(n if seed is None else seed)
    drawn = (
        rng.uniform(0, 100, (n, 4)),
        rng.uniform(0, 1, n),
        rng.uniform(0, 100, (n, 5, 2)),
        rng.dirichlet(np.ones(7), n),
    )
    boxes, scores, landmarks, probs = (column.astype(np.float32) for column in drawn)
    return Faces(boxes, scores, landmarks, probs, detector="yunet", model="tiny").replace(**about)


def flat(line: dict[str, Any]) -> dict[str, object]:
    """A face as a line of JSON has it, with the columns of the other tables."""
    if "box" not in line:
        return line
    assert line.pop("schema") == SCHEMA
    line.update(zip(("x1", "y1", "x2", "y2"), line.pop("box"), strict=True))
    points = line.pop("landmarks") or [(None, None)] * 5
    line.update(zip(LANDMARK_COLUMNS, (v for point in points for v in point), strict=True))
    line.update(line.pop("probabilities", {}))
    line.update({f"raw_{label}": p for label, p in line.pop("raw_probabilities", {}).items()})
    return {name: line.get(name) for name in COLUMNS}


def read(path: Path) -> list[dict[str, object]]:
    """Any of the tables as rows of text, numbers and None."""
    if path.suffix == ".parquet":
        import polars as pl

        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".jsonl":
        return [flat(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
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
    with pytest.raises(OutputError, match="cannot write the table"), open_table(tmp_path / "file" / f"t.{kind}"):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_leaves_the_older_table_and_what_could_be_written(tmp_path: Path, kind: str) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / f"faces.{kind}"
    with open_table(path) as table:
        table.write(some_faces(3))
    older = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a full disk, to a program that writes
    try:
        with pytest.raises(OutputError, match="cannot write the table") as error, open_table(path) as table:
            for frame in range(3000):
                try:
                    table.write(some_faces(3, seed=frame, frame=frame))
                except OutputError:
                    break  # whoever goes on after that must not get half a table either
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == older
    kept = tmp_path / f"faces.cut.{kind}"
    assert str(kept) in str(error.value)
    assert 10_000 < kept.stat().st_size <= 20_000
    assert {p.name for p in tmp_path.iterdir()} == {path.name, kept.name}
    if kind == "parquet":
        import polars as pl

        frames = pl.read_parquet(kept)["frame"]
        assert frames.to_list() == [row // 3 for row in range(len(frames))]


@pytest.mark.parametrize(("room", "least"), [(40, 1), (400, 2000), (900, 4000)])
def test_parquet_keeps_what_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, least: int
) -> None:
    """On a disk of so many KiB: within its first batch, in a later one, and where only joining them takes too much."""
    import polars as pl

    monkeypatch.setattr(tables, "_BATCH", 2000)
    with small_disk(tmp_path / "disk", room) as disk:
        path = disk / "faces.parquet"
        path.write_bytes(b"older")
        with pytest.raises(OutputError, match="no space left on device") as error, open_table(path) as table:
            for frame in range(2500 if room < 900 else 2000):
                with suppress(OutputError):
                    table.write(some_faces(3, seed=frame, frame=frame))
        assert path.read_bytes() == b"older"
        kept = disk / "faces.cut.parquet"
        assert str(kept) in str(error.value)
        frames = pl.read_parquet(kept)["frame"]
        assert len(frames) >= least
        assert frames.to_list() == [row // 3 for row in range(len(frames))]
        assert {p.name for p in disk.iterdir()} == {path.name, kept.name}


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk", 100) as disk:
        (disk / f"faces.{kind}").write_bytes(b"older")
        make_read_only(disk)
        with pytest.raises(OutputError, match="read-only file system"), open_table(disk / f"faces.{kind}"):
            pass
        assert (disk / f"faces.{kind}").read_bytes() == b"older"


def test_no_text_is_a_formula(tmp_path: Path) -> None:
    """Whatever a file or a network is called; other kinds of tables keep the name as it is."""
    names = ["=1+1.jpg", "+a", "-b.png", "@c", "\td", "'=e", "'f", "-", "plain.jpg", "a=b", ""]
    for kind in KINDS:
        with open_table(tmp_path / f"t.{kind}") as table, open_frames_table(tmp_path / f"f.{kind}") as frames:
            for name in names:
                table.write(some_faces(1, source=name, model=name))
                frames.write(some_faces(1, source=name))
    for first in ("t", "f"):
        cells = [row["source"] or "" for row in read(tmp_path / f"{first}.csv")]
        assert cells == ["'=1+1.jpg", "'+a", "'-b.png", "'@c", "'\td", "''=e", "''f", "-", "plain.jpg", "a=b", ""]
        assert [from_cell(str(cell)) for cell in cells] == names
    assert [row["source"] or "" for row in read(tmp_path / "t.jsonl")] == names
    assert [row["source"] or "" for row in read(tmp_path / "t.parquet")] == names
    assert read(tmp_path / "t.csv")[0]["model"] == "'=1+1.jpg"


def test_two_writers_and_foreign_files_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, foreign = tmp_path / "faces.csv", tmp_path / "faces.csv.part"
    foreign.write_text("somebody else's")
    with open_table(path) as one, open_table(path) as other:
        one.write(some_faces(1, source="one"))
        other.write(some_faces(1, source="other"))
        other.write(some_faces(1, source="other"))
    assert [row["source"] for row in read(path)] == ["one"], "the last that ends is there, and whole"
    assert foreign.read_text() == "somebody else's"
    assert {p.name for p in tmp_path.iterdir()} == {path.name, foreign.name}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_frames_has_a_row_for_each(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"frames.{kind}"
    with open_frames_table(path) as table:
        table.write(some_faces(2, source="a.mp4", ids=np.array([1, 0]), frame=3, time=0.125, width=64, height=48))
        table.write(Faces.none(source="a.mp4", ids=np.empty(0), frame=4, time=0.25, width=64, height=48))
    rows = read(path)
    assert [tuple(row.values()) for row in rows] == [
        ("a.mp4", 3, 0.125, 64, 48, 2, 1),
        ("a.mp4", 4, 0.25, 64, 48, 0, 0),
    ]
    assert tuple(rows[0]) == FRAME_COLUMNS


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_comes_from(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"faces.{kind}"
    about = {"mien": "0.1", "model": {"name": "base", "sha256": "0" * 64}}
    with open_table(path, provenance=about) as table:
        table.write(some_faces(1))
    if kind == "parquet":
        import polars as pl

        assert json.loads(pl.read_parquet_metadata(path)["mien"]) == about
    else:
        assert json.loads((tmp_path / f"faces.{kind}.json").read_text()) == about
    assert len(list(tmp_path.iterdir())) == (1 if kind == "parquet" else 2)


def test_parquet_without_polars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # as where it is not installed
    with pytest.raises(MissingExtraError, match=r"mien\[table\]"), open_table(tmp_path / "faces.parquet"):
        pass
