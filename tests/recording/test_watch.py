"""`mien.watch`: one pass, every output, nothing lost whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from films import make_faces_film, make_film
from numpy.typing import NDArray
from PIL import Image
from polars.testing import assert_frame_equal

import mien
from mien.errors import InputError, OutputError
from mien.media.opening import open_frames
from mien.recording.watch import Progress


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.load()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    return make_faces_film(tmp_path_factory.mktemp("film") / "film.mp4", astronaut)


def test_one_pass_gives_every_output(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    recording = mien.watch(
        film, analyzer=analyzer, every=3,
        table=[tmp_path / f"t.{kind}" for kind in ("csv", "jsonl", "parquet")],
        frames=tmp_path / "frames.csv", video=tmp_path / "film.mp4",
        episodes=[tmp_path / f"e.{kind}" for kind in ("csv", "json", "vtt", "tsv")],
        timeline=[tmp_path / "tl.png", tmp_path / "tl.html"], progress=seen.append,
    )  # fmt: skip
    alone = list(analyzer.stream(film, every=3))
    assert [one.faces.to_dict() for one in seen if one.faces is not None] == [faces.to_dict() for faces in alone]
    assert seen[-1].record is recording.records[0]
    assert [faces.to_dict() for faces in recording.frames()] == [faces.to_dict() for faces in alone]
    assert (seen[-1].frames, seen[-1].source, seen[-1].of) == (20, str(film), 1)
    assert seen[0].duration == pytest.approx(2, abs=0.1)

    table = recording.to_polars()
    assert len(table) == sum(len(faces) for faces in alone)
    assert_frame_equal(pl.read_parquet(tmp_path / "t.parquet"), table)
    assert_frame_equal(pl.read_csv(tmp_path / "t.csv", schema=table.schema), table)
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    faces = [face for frame in alone for face in frame.to_dict()["faces"]]
    assert [{key: line[key] for key in face} for line, face in zip(lines, faces, strict=True)] == faces
    assert recording.to_pandas()["label"].tolist() == table["label"].to_list()

    frames = pl.read_csv(tmp_path / "frames.csv")
    assert frames["faces"].to_list() == [len(faces) for faces in alone]
    coverage = recording.coverage
    assert (coverage.frames, coverage.faces) == (20, len(table))
    assert coverage.share == pytest.approx((frames["faces"] > 0).mean())

    about = json.loads((tmp_path / "t.csv.json").read_text())
    assert about == json.loads(pl.read_parquet_metadata(tmp_path / "t.parquet")["mien"]) == recording.provenance
    assert about["model"] == {"name": "base", "sha256": analyzer.classifier.card.sha256}
    assert len(about["detector"]["sha256"]) == 64
    assert about["options"]["every"] == 3
    assert [frame.time for frame in open_frames(tmp_path / "film.mp4")] == pytest.approx(
        [faces.time for faces in alone], abs=1e-4
    )
    assert {path.name for path in recording.written} | {"t.csv.json", "t.jsonl.json", "frames.csv.json"} == {
        path.name for path in tmp_path.iterdir()
    }
    assert not recording.problems
    assert not recording.interrupted


def test_a_recording_says_who_showed_what(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    recording = mien.watch(str(film), analyzer=analyzer, every=2)
    people = {person.id: person for person in recording.people}
    assert {1, 2} <= set(people)
    for person in people.values():
        assert 0 <= person.first <= person.last <= 2
        assert sum(person.probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert person.label == max(person.probabilities, key=person.probabilities.__getitem__)
    summary = json.loads(json.dumps(recording.summary()))
    (source,) = summary["sources"]
    assert [person["id"] for person in source["people"]] == sorted(people)
    counted = sum(sum(person["episodes"].values()) for person in source["people"])
    assert counted == len(recording.episodes) > 0
    assert f"{len(people)} people" in repr(recording)
    assert recording._repr_html_().count("<tr>") == 1 + len(people)
    written = recording.save(
        table=tmp_path / "t.csv", frames=tmp_path / "f.csv", episodes=tmp_path / "e.csv", timeline=tmp_path / "t.html"
    )
    assert all(path.stat().st_size > 100 for path in written)
    table = recording.to_polars()
    assert_frame_equal(pl.read_csv(tmp_path / "t.csv", schema=table.schema), table)
    assert len(pl.read_csv(tmp_path / "e.csv")) == len(recording.episodes)
    written = recording.save(tmp_path / "all")
    assert {str(path.relative_to(tmp_path / "all")) for path in written} == {
        "faces.csv", "frames.csv", "episodes/film.csv", "timelines/film.png", "summary.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "all" / "summary.json").read_text()) == summary


def test_several_films_keep_their_people_apart(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "film.mp4").write_bytes(film.read_bytes())
    recording = mien.watch(
        [folder / "a" / "film.mp4", folder / "b" / "film.mp4", folder / "nowhere.mp4"], analyzer=analyzer, every=4,
        table=tmp_path / "t.csv", episodes=tmp_path / "episodes", timeline=tmp_path / "timelines",
        video=tmp_path / "films-annotated",
    )  # fmt: skip
    first, second = recording.records
    assert (first.name, second.name) == (str(folder / "a" / "film.mp4"), str(folder / "b" / "film.mp4"))
    assert [person.id for person in first.people] == [person.id for person in second.people]
    assert max(episode.offset for episode in recording.episodes) <= 2
    assert [str(problem) for problem in recording.problems if "nowhere.mp4" in str(problem)]
    assert sorted(path.name for path in (tmp_path / "episodes").iterdir()) == ["film-2.csv", "film.csv"]
    assert sorted(path.name for path in (tmp_path / "timelines").iterdir()) == ["film-2.png", "film.png"]
    assert len(list((tmp_path / "films-annotated").iterdir())) == 2
    counts = pl.read_csv(tmp_path / "t.csv")["source"].value_counts()["count"].to_list()
    assert len(counts) == 2
    assert counts[0] == counts[1]
    with pytest.raises(InputError, match=r"e\.vtt is a single file, but there are 2 films; give a folder"):
        mien.watch(folder, analyzer=analyzer, episodes=tmp_path / "e.vtt")


def test_pictures_and_films_in_their_order(
    analyzer: mien.Analyzer, film: Path, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "d.png"):
        Image.fromarray(astronaut).save(folder / name)
    (folder / "c.mp4").write_bytes(film.read_bytes())
    (folder / "e.png").touch()
    recording = mien.watch(
        folder, analyzer=analyzer, every=15, table=tmp_path / "t.csv", frames=tmp_path / "f.csv", save=tmp_path / "out",
        episodes=tmp_path / "e.csv",
    )  # fmt: skip
    assert [Path(name).name for name in recording.sources] == ["a.png", "b.jpg", "c.mp4", "d.png"]
    assert ["e.png is empty (0 bytes)" in str(problem) for problem in recording.problems] == [True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg", "c.mp4", "d.png"]
    frames = pl.read_csv(tmp_path / "f.csv")
    assert frames["source"].str.split("/").list.last().to_list() == ["a.png", "b.jpg", *["c.mp4"] * 4, "d.png"]
    table = recording.to_polars()
    assert_frame_equal(pl.read_csv(tmp_path / "t.csv", schema=table.schema), table)
    assert table.filter(pl.col("id").is_null())["label"].to_list() == ["happy"] * 3
    assert (recording.coverage.source, recording.coverage.frames) == ("4 sources", 7)
    assert {person.source for person in recording.people} == {str(folder / "c.mp4")}
    lean = mien.watch(folder, analyzer=analyzer, every=15, keep=False)
    assert [record.name for record in lean.records] == ["pictures", str(folder / "c.mp4"), str(folder / "d.png")]
    assert (lean.coverage.frames, lean.coverage.faces) == (recording.coverage.frames, recording.coverage.faces)
    with pytest.raises(InputError, match="were not kept"):
        lean.to_polars()
    with pytest.raises(InputError, match=r"e\.vtt needs a film or stream, but only pictures were given"):
        mien.watch(folder / "a.png", analyzer=analyzer, episodes=tmp_path / "e.vtt")


def test_what_cannot_be_read_at_all_leaves_the_older_table(analyzer: mien.Analyzer, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "t.csv").write_text("an older table")
    with pytest.raises(InputError, match="is not a readable film"):
        mien.watch(tmp_path / "broken.mp4", analyzer=analyzer, table=tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "an older table"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mp4", "t.csv"]


def test_arrays_pictures_and_what_is_nothing(
    analyzer: mien.Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    recording = mien.watch([astronaut[..., ::-1]] * 4, analyzer=analyzer, color="bgr", fps=2)
    assert [faces.time for faces in recording.frames()] == [0, 0.5, 1, 1.5]
    assert [person.label for person in recording.people] == ["happy"]
    with pytest.raises(InputError, match="no source was given"):
        mien.watch([], analyzer=analyzer)
    with pytest.raises(InputError, match=r"nowhere\.mp4 does not exist"):
        mien.watch("nowhere.mp4", analyzer=analyzer, table=tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"every": 0}, "every should be a whole number, 1 or greater, not 0"),
        ({"every": 1.5}, "every should be a whole number"),
        ({"max_fps": 0}, "max_fps should be above 0, not 0"),
        ({"max_fps": float("nan")}, "max_fps should be above 0"),
        ({"start": 2, "end": 1}, r"end \(1 s\) should come after start \(2 s\)"),
        ({"workers": 0}, "workers should be a whole number, 1 or greater"),
        ({"table": "t.xlsx"}, r"t\.xlsx should end in \.csv, \.jsonl, \.parquet"),
        ({"video": "v.avi"}, r"v\.avi should end in \.mp4"),
        ({"timeline": "t.jpg"}, r"t\.jpg should end in \.png or \.html"),
        ({"episodes": "x.json", "table": "x.csv", "frames": "x.csv"}, r"x\.csv is named for two outputs"),
        ({"geometry": True}, "no network for geometry"),
        ({"min_score": 0.5}, "leave them out"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    analyzer: mien.Analyzer, film: Path, tmp_path: Path, options: dict[str, Any], sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        mien.watch(film, analyzer=analyzer, **options)
    assert not list(tmp_path.iterdir())


def test_a_film_that_is_cut_short_is_worth_what_was_read(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mkv", [f.image for f in open_frames(film)], options={"g": "10"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    recording = mien.watch(cut, analyzer=analyzer, table=tmp_path / "t.csv", frames=tmp_path / "f.csv")
    assert 5 < recording.coverage.frames < 60
    assert len(pl.read_csv(tmp_path / "f.csv")) == recording.coverage.frames
    assert "cut short or damaged" in str(recording.problems[0])


def test_an_output_that_fails_takes_no_other_with_it(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    older = tmp_path / "t.jsonl"
    older.write_text("an older table")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, limits[1]))  # as a full disk, to a program that writes
    try:
        recording = mien.watch(
            film, analyzer=analyzer, table=older, frames=tmp_path / "f.csv", episodes=tmp_path / "e.csv"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recording.coverage.frames == 60, "the other outputs are written to the end"
    assert older.read_text() == "an older table"
    (problem,) = recording.problems
    assert isinstance(problem, OutputError)
    kept = tmp_path / "t.cut.jsonl"
    assert str(problem).endswith(f"what could be written is in {kept}")
    assert kept.stat().st_size > 4000
    assert len(pl.read_csv(tmp_path / "f.csv")) == recording.coverage.frames > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "t.jsonl", kept.name, "f.csv", "f.csv.json", "e.csv",
    }  # fmt: skip


def test_an_exception_of_the_callers_loses_nothing(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    def progress(done: Progress) -> None:
        if done.frames == 7:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        mien.watch(film, analyzer=analyzer, frames=tmp_path / "f.csv", progress=progress)
    assert len(pl.read_csv(tmp_path / "f.csv")) == 7
    recording: mien.Recording = error.value.recording  # type: ignore[attr-defined]
    assert recording.coverage.frames == 7


def test_ctrl_c_completes_the_files(film: Path, tmp_path: Path) -> None:
    code = """
import sys, mien
def progress(done):
    if done.frames == 5: print("here", flush=True)
try:
    mien.watch(sys.argv[1], table="t.csv", video="v.mp4", episodes="e.vtt", progress=progress)
except KeyboardInterrupt as error:
    print(error.recording.interrupted, error.recording.coverage.frames)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(film)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGINT)
    interrupted, frames = process.stdout.readline().split()
    assert process.wait() == 0
    assert interrupted == "True"
    assert 5 <= int(frames) < 60
    assert len(list(open_frames(tmp_path / "v.mp4"))) == int(frames)
    assert pl.read_csv(tmp_path / "t.csv")["frame"].max() == int(frames) - 1


def test_no_output_overwrites_a_source_or_another_output(
    analyzer: mien.Analyzer, film: Path, astronaut: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_bytes(film.read_bytes())
    Image.fromarray(astronaut).save("a.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    over = "would overwrite what is to be read"
    for source, options, sentence in (
        ("a.mp4", {"video": "a.mp4"}, over),
        (["a.mp4", "b.mp4"], {"video": "."}, over),
        (["a.mp4", "a.png"], {"timeline": "a.png"}, over),
        ("./", {"timeline": "./"}, over),
        ("a.mp4", {"table": "out/a.csv", "episodes": "out/"}, "named for two outputs"),
        ("a.mp4", {"table": "t.csv", "frames": tmp_path / "t.csv"}, "named for two outputs"),
        ("a.mp4", {"table": "t.csv", "episodes": "t.csv.json"}, "named for two outputs"),
        ("a.mp4", {"table": "."}, "is a folder"),
    ):
        with pytest.raises(InputError, match=sentence):
            mien.watch(source, analyzer=analyzer, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_several_films_never_share_a_name(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    names = ("x/f.mp4", "y/f.mp4", "f-2.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(film.read_bytes())
    mien.watch(
        [tmp_path / name for name in names], analyzer=analyzer, every=30, episodes=f"{tmp_path}/v1.2/",
        timeline=tmp_path / "drawn" / "*.html",
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "v1.2").iterdir()) == ["f-2-2.csv", "f-2.csv", "f.csv"]
    assert sorted(path.suffix for path in (tmp_path / "drawn").iterdir()) == [".html"] * 3


def test_any_iterable_of_names(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(film.read_bytes())
    recording = mien.watch(tmp_path.glob("*.mp4"), analyzer=analyzer, every=30)
    assert sorted(Path(name).name for name in recording.sources) == ["a.mp4", "b.mp4"]
    assert not recording.problems


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros((4, 4, 3), np.uint8), "a single picture is not a sequence"),
        (b"bytes", "a single picture is not a sequence"),
        (None, "a source should be a film, .* not NoneType"),
        (5.0, "a source should be a film, .* not float"),
        (["a.jpg", np.zeros((4, 4, 3), np.uint8)], "cannot be mixed: ndarray is not the name of a file"),
        (["nowhere.jpg", "nowhere.mp4"], "2 sources could not be read: nowhere.jpg .*; nowhere.mp4"),
    ],
)
def test_what_is_no_source_is_named(analyzer: mien.Analyzer, source: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        mien.watch(source, analyzer=analyzer)


def test_pictures_that_cannot_be_saved_are_still_read(
    analyzer: mien.Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    recording = mien.watch(
        tmp_path / "a.png", analyzer=analyzer, table=tmp_path / "t.csv", save=tmp_path / "file" / "out"
    )
    assert ["cannot write" in str(problem) for problem in recording.problems] == [True]
    assert len(pl.read_csv(tmp_path / "t.csv")) == 1


def test_a_recording_remembers_what_is_uncertain(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    recording = mien.watch(film, analyzer=analyzer, every=20, min_confidence=1.0, table=tmp_path / "t.csv")
    recording.save(table=tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "t.csv").read_text()
    assert set(recording.to_polars()["label"]) == {"uncertain"}
    recording.save(table=tmp_path / "sure.csv", min_confidence=0)
    assert json.loads((tmp_path / "sure.csv.json").read_text())["options"]["min_confidence"] == 0
    with pytest.raises(InputError, match="named alike"):
        recording.save(table=tmp_path / "x.csv", frames=tmp_path / "x.csv")


def test_ctrl_c_while_a_source_is_opened(tmp_path: Path) -> None:
    code = """
import sys, mien, numpy as np
from mien.media.frames import Frame, Frames
def read(stop):
    import time
    for i in range(10_000):
        if stop.is_set(): return
        yield Frame(np.zeros((64, 64, 3), np.uint8), i, i / 10, "endless")
from mien.recording import watch as module
real = module.open_frames
def slow(*words, **options):
    import time
    print("here", flush=True)
    time.sleep(2)
    return Frames(read, name="endless")
module.open_frames = slow
try:
    mien.watch("film.mp4")
except KeyboardInterrupt:
    print("interrupted")
"""
    make_film(tmp_path / "film.mp4", count=3)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout.read() == "interrupted\n"
