"""Films: read in processes of their own, refused when they are none, bounded, and gone when they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import polars as pl
import pytest
from command import mien
from films import make_faces_film, make_film
from numpy.typing import NDArray
from serving import Server, serving, wait_until

from mien.analyzer import Analyzer
from mien.output.tables import COLUMNS


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> bytes:
    return make_faces_film(tmp_path_factory.mktemp("film") / "film.mp4", astronaut).read_bytes()


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    """A film without faces: 30 frames of 160x120, a second long."""
    return make_film(tmp_path / "small.mp4").read_bytes()


def upload(client: httpx.Client, content: bytes, name: str = "a film.mp4", **query: Any) -> httpx.Response:
    return client.post("/v1/videos", files={"file": (name, content)}, params=query)


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The film, once it is not worked on any more."""
    assert answer.status_code == 202, answer.text
    film: dict[str, Any] = {}

    def over() -> bool:
        film.update(client.get(answer.headers["location"]).json())
        return film["state"] in {"done", "failed"}

    wait_until(over)
    return film


def test_a_film(server: Server, analyzer: Analyzer, film: bytes, tmp_path: Path) -> None:
    with server.client() as client:
        answer = upload(client, film, "../../my film.mp4", every=3)
        begun = answer.json()
        assert answer.headers["location"] == f"/v1/videos/{begun['id']}"
        assert begun["state"] in {"queued", "running"}
        assert (begun["name"], begun["progress"]) == ("my film.mp4", 0)
        assert begun["duration"] == pytest.approx(60 * 1001 / 30000, abs=0.1)
        early = client.get(f"{answer.headers['location']}/table.csv")
        assert early.status_code == 409
        assert early.headers["content-type"] == "application/problem+json"
        done = finished(client, answer)
        assert (done["state"], done["progress"], done["frames_done"], done["detail"]) == ("done", 1, 20, "")
        assert done["seconds_done"] == pytest.approx(57 * 1001 / 30000, abs=1e-3)

        got = {}
        for name in (
            "table.csv", "table.jsonl", "table.parquet", "frames.csv", "episodes.csv", "episodes.json",
            "episodes.vtt", "episodes.tsv", "timeline.png", "timeline.html",
        ):  # fmt: skip
            result = client.get(f"{answer.headers['location']}/{name}")
            assert result.status_code == 200, name
            assert (name == "timeline.png") != ("attachment" in result.headers.get("content-disposition", ""))
            assert str(server.service.folder).encode() not in result.content
            got[name] = result.content
        missing = client.get(f"{answer.headers['location']}/table.xlsx")
        assert missing.status_code == 422
        kept = {path.name for path in server.service.folder.rglob("*") if path.is_file()}
        # Beside tables lies what they were made by.
        assert {*got, "log"} <= kept <= {*got, "log", *(f"{name}.json" for name in got)}

    (tmp_path / "film.mp4").write_bytes(film)
    expected = [face for faces in analyzer.stream(tmp_path / "film.mp4", every=3) for face in faces.rows()]
    about = {"schema", "source", "frame", "time_s", "detector", "model"}
    rows = [json.loads(line) for line in got["table.jsonl"].splitlines()]
    assert [{key: value for key, value in row.items() if key not in about} for row in rows] == expected
    frames = pl.read_csv(BytesIO(got["frames.csv"]))
    assert (len(frames), frames["faces"].sum()) == (20, len(expected))
    for table in (pl.read_csv(BytesIO(got["table.csv"])), pl.read_parquet(BytesIO(got["table.parquet"]))):
        assert set(table.columns) == set(COLUMNS)
        assert set(table["source"]) == {"my film.mp4"}
        assert sorted(table["x1"]) == pytest.approx(sorted(face["box"][0] for face in expected), abs=0.01)
        assert set(table["id"]) == {face["id"] for face in expected}
    episodes = json.loads(got["episodes.json"])
    assert episodes["source"] == "my film.mp4"
    assert {episode["label"] for episode in episodes["episodes"]} == {"happy"}
    assert got["episodes.vtt"].startswith(b"WEBVTT")
    assert len(pl.read_csv(StringIO(got["episodes.csv"].decode()))) == len(episodes["episodes"])
    assert got["timeline.png"].startswith(b"\x89PNG")
    assert b"my film.mp4" in got["timeline.html"]


def test_a_film_gives_what_the_command_gives(server: Server, film: bytes, tmp_path: Path) -> None:
    """The same people, times and episodes, as long as the page asks for no fewer frames."""
    (tmp_path / "party.mp4").write_bytes(film)
    done = mien(
        "predict", tmp_path / "party.mp4", "--detector", "haar", "--table", tmp_path / "party.csv",
        "--episodes", tmp_path / "party.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    with server.client() as client:
        answer = upload(client, film, "party.mp4")
        assert finished(client, answer)["frames_done"] == 60
        table = client.get(f"{answer.headers['location']}/table.csv").text
        episodes = client.get(f"{answer.headers['location']}/episodes.json").json()["episodes"]
    ours, theirs = pl.read_csv(StringIO(table)), pl.read_csv(tmp_path / "party.csv")
    assert len(ours) > 60
    assert ours.drop("source").equals(theirs.drop("source"))
    assert episodes == json.loads((tmp_path / "party.json").read_text("utf-8"))["episodes"]
    assert {episode["id"] for episode in episodes} == set(ours["id"]) - {0}


@pytest.fixture
def none_of_them(tmp_path: Path, small: bytes) -> dict[str, tuple[bytes, int, str]]:
    """What is no film: content, status, and a word of the sentence."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    tone = tmp_path / "tone.m4a"
    with av.open(str(tone), "w") as out:
        sound = out.add_stream("aac", rate=44100, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        samples.sample_rate = 44100
        out.mux(sound.encode(samples))
        out.mux(sound.encode(None))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    return {
        "text.mp4": (b"this is a text file\n" * 100, 415, "not a readable film"),
        "empty.mp4": (b"", 415, "film"),
        "cut.mp4": (small[: len(small) // 2], 415, "damaged"),
        "tone.mp4": (tone.read_bytes(), 422, "no picture"),
        "list.m3u8": (playlist.encode(), 415, "film"),
        "list.ffconcat": (f"ffconcat version 1.0\nfile {secret}\n".encode(), 415, "film"),
    }


def test_what_is_no_film(server: Server, none_of_them: dict[str, tuple[bytes, int, str]]) -> None:
    before = set(server.service.folder.iterdir())
    with server.client() as client:
        for name, (content, status, word) in none_of_them.items():
            answer = upload(client, content, name)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), name
            assert word in answer.json()["detail"], name
            assert name in answer.json()["detail"]
            assert str(server.service.folder) not in answer.text
    assert set(server.service.folder.iterdir()) == before


def test_a_film_that_is_cut_short(server: Server, tmp_path: Path) -> None:
    content = make_film(tmp_path / "film.mkv", count=90).read_bytes()
    with server.client() as client:
        done = finished(client, upload(client, content[: len(content) * 6 // 10], "cut.mkv"))
        assert done["state"] == "done"
        assert "cut.mkv" in done["detail"]
        assert 0 < done["frames_done"] < 90


@pytest.mark.parametrize(
    ("limits", "word"),
    [({"film_seconds": 0.5}, "lasts"), ({"film_pixels": 10_000}, "pixels"), ({"film_bytes": 1000}, "upload")],
)
def test_films_that_are_too_much(analyzer: Analyzer, small: bytes, limits: dict[str, Any], word: str) -> None:
    with serving(analyzer, **limits) as server, server.client() as client:
        # A form may be larger than its file, so the last one comes as it is.
        answer = client.post("/v1/videos", content=small * (40 if word == "upload" else 1))
        assert answer.status_code == 413
        assert word in answer.json()["detail"]


def test_a_process_that_would_take_too_much(analyzer: Analyzer, small: bytes) -> None:
    """With too little memory for a film, the film fails and the server lives."""
    with serving(analyzer, film_memory=100 * 1024**2) as server, server.client() as client:
        answer = upload(client, small)
        assert answer.status_code == 422
        assert "memory" in answer.json()["detail"]
        assert client.get("/v1/health").json()["status"] == "ok"


def test_a_film_that_takes_too_long(analyzer: Analyzer, film: bytes) -> None:
    with serving(analyzer, stall_seconds=0.05) as server, server.client() as client:
        done = finished(client, upload(client, film))
        assert (done["state"], done["frames_done"]) == ("failed", 0)
        assert "too long" in done["detail"]
        assert client.get(f"/v1/videos/{done['id']}/table.csv").status_code == 409


def gone(client: httpx.Client, place: str) -> Callable[[], bool]:
    return lambda: client.get(place).status_code == 404


def test_stopped_and_forgotten(analyzer: Analyzer, film: bytes, small: bytes) -> None:
    with serving(analyzer, max_films=2, keep_seconds=0.2) as server, server.client() as client:
        first = upload(client, film)
        second = upload(client, film)
        assert second.json()["state"] == "queued"
        full = upload(client, film)
        assert (full.status_code, full.headers["retry-after"]) == (503, "60")
        assert client.get("/v1/health").json()["films"] == {"queued": 1, "running": 1}
        for answer in (first, second):
            assert client.delete(answer.headers["location"]).status_code == 204
            assert gone(client, answer.headers["location"])()
            assert client.delete(answer.headers["location"]).status_code == 404
        assert list(server.service.folder.iterdir()) == []
        third = upload(client, small)
        wait_until(gone(client, third.headers["location"]))
        assert list(server.service.folder.iterdir()) == []


def test_the_server_ends_while_a_film_is_read(analyzer: Analyzer, film: bytes) -> None:
    """`serving` checks that the folder is gone."""
    with serving(analyzer) as server, server.client() as client:
        place = upload(client, film).headers["location"]
        wait_until(lambda: client.get(place).json()["state"] == "running")
