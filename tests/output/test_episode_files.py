"""Episodes come out as tables, as valid WebVTT, and as ELAN's tab-delimited text."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import av
import pytest

from mien.errors import InputError, OutputError
from mien.output.episodes import COLUMNS, save_episodes
from mien.tracking.episodes import Episode


def seen(person: int, label: str, onset: float, apex: float, offset: float) -> Episode:
    return Episode("film.mp4", person, label, onset, apex, offset, peak=0.912345, mean=0.7, frames=9)


EPISODES = [seen(2, "sad", 3725.5, 3726, 3729.0625), seen(1, "happy", 0.9996, 1.5, 2.25), seen(1, "fear", 4, 4, 4)]


def test_csv(tmp_path: Path) -> None:
    save_episodes(tmp_path / "new" / "e.csv", "ä\udcff.mp4", EPISODES)
    with (tmp_path / "new" / "e.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["id"], row["label"]) for row in rows] == [("1", "happy"), ("1", "fear"), ("2", "sad")]
    assert rows[2] == dict(
        zip(COLUMNS, ("ä\\udcff.mp4", "2", "sad", "3725.5", "3726", "3729.062", "3.562", "0.7", "0.9123"), strict=True)
    )
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["e.csv"]


def test_json(tmp_path: Path) -> None:
    save_episodes(tmp_path / "e.json", "film.mp4", EPISODES)
    content = json.loads((tmp_path / "e.json").read_text("utf-8"))
    assert content["source"] == "film.mp4"
    assert tuple(content["episodes"][0]) == COLUMNS[1:]
    assert [e["duration_s"] for e in content["episodes"]] == [1.25, 0, 3.562]


def test_vtt(tmp_path: Path) -> None:
    save_episodes(tmp_path / "e.vtt", "film.mp4", EPISODES)
    blocks = (tmp_path / "e.vtt").read_text("utf-8").strip().split("\n\n")
    assert blocks[0] == "WEBVTT"
    assert blocks[1] == "00:00:01.000 --> 00:00:02.250\nperson 1: happy"
    assert blocks[3] == "01:02:05.500 --> 01:02:09.062\nperson 2: sad"
    for block in blocks[1:]:
        begin, end = re.findall(r"\d\d:\d\d:\d\d\.\d{3}", block)
        assert begin < end
    with av.open(str(tmp_path / "e.vtt")) as captions:  # as a player reads it
        cues = [(float(p.pts * p.time_base), bytes(p).decode()) for p in captions.demux() if p.size]
    assert cues == [(1.0, "person 1: happy"), (4.0, "person 1: fear"), (3725.5, "person 2: sad")]


def test_tsv_as_elan_reads_it(tmp_path: Path) -> None:
    save_episodes(tmp_path / "e.tsv", "film.mp4", EPISODES)
    with (tmp_path / "e.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["tier", "begin", "end", "duration", "annotation"]
    assert rows[1] == ["person 1", "00:00:01.000", "00:00:02.250", "00:00:01.250", "happy"]


@pytest.mark.parametrize("ending", ["csv", "json", "vtt", "tsv"])
def test_none(tmp_path: Path, ending: str) -> None:
    save_episodes(tmp_path / f"e.{ending}", "film.mp4", [])
    assert (tmp_path / f"e.{ending}").read_text("utf-8").strip()


def test_where_they_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv, \.json, \.vtt, \.tsv"):
        save_episodes(tmp_path / "e.srt", "film.mp4", [])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the episodes"):
        save_episodes(tmp_path / "file" / "e.vtt", "film.mp4", [])


def test_no_source_is_a_formula(tmp_path: Path) -> None:
    save_episodes(tmp_path / "episodes.csv", "=1+1.mp4", EPISODES)
    assert "\r\n'=1+1.mp4," in (tmp_path / "episodes.csv").read_bytes().decode()
