"""Films at URLs lose neither frames nor sound; files that only name others are read when that is asked for."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command import Predict
from films import make_film, number, packets

import mien
from mien.errors import InputError
from mien.media.opening import open_frames
from mien.media.sources import find_sources


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server for the test's own folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def playlist(tmp_path: Path) -> Path:
    return make_film(
        tmp_path / "list.m3u8", count=90, sound="aac", options={"g": "30"},
        muxing={"hls_time": "1", "hls_list_size": "0", "hls_playlist_type": "vod"},
    )  # fmt: skip


def numbers(url: str) -> list[int]:
    """What a slow reader gets who asks for the newest frame of what is live."""
    with open_frames(url, newest=True) as frames:
        return [number(frame.image) for frame in frames]


@pytest.mark.parametrize("name", ["film.ts", "film.h264", "film.mkv"])
def test_no_frame_is_lost(tmp_path: Path, site: str, name: str) -> None:
    """Nor is one waited for that has ended, also where films do not say how long they are, as browsers record them."""
    muxing = {"live": "1"} if name == "film.mkv" else None
    path = make_film(tmp_path / name, count=120, muxing=muxing)
    assert numbers(f"{site}/{name}") == numbers(path.as_uri()) == list(range(120))


def test_a_list_that_has_an_end(site: str, playlist: Path) -> None:
    assert numbers(f"{site}/{playlist.name}") == list(range(90))


def test_the_url_of_a_file_is_the_file(tmp_path: Path, analyzer: mien.Analyzer) -> None:
    path = make_film(tmp_path / "my film.mp4", count=5)
    found, problems = find_sources([path.as_uri()])
    assert not problems
    assert [(source.path, source.kind) for source in found] == [(path, "film")]
    with pytest.raises(InputError, match="would overwrite what is to be read"):
        mien.watch(path.as_uri(), video=path, analyzer=analyzer)


def test_the_saved_film_has_the_sound_of_a_url(
    tmp_path: Path, site: str, playlist: Path, analyzer: mien.Analyzer
) -> None:
    path = make_film(tmp_path / "film.mp4", count=60, sound="aac", muxing={"movflags": "+faststart"})
    saved = tmp_path / "saved.mp4"
    assert not mien.watch(f"{site}/{path.name}", video=saved, analyzer=analyzer).notes
    assert [content for _, content in packets(saved, "audio")] == [content for _, content in packets(path, "audio")]
    assert not mien.watch(f"{site}/{playlist.name}", video=saved, analyzer=analyzer).notes
    assert len(packets(saved, "audio")) == pytest.approx(3 * 44100 / 1024, abs=2)


def test_a_url_that_gives_its_film_but_once(
    tmp_path: Path, site: str, analyzer: mien.Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_film(tmp_path / "film.mp4", count=30, sound="aac", muxing={"movflags": "+faststart"})
    asked = []

    def once(self: Quiet) -> None:
        asked.append(self.path)
        SimpleHTTPRequestHandler.do_GET(self) if len(asked) == 1 else self.send_error(410)

    monkeypatch.setattr(Quiet, "do_GET", once, raising=False)
    recording = mien.watch(f"{site}/{path.name}", video=tmp_path / "saved.mp4", analyzer=analyzer)
    assert recording.coverage.frames == len(packets(tmp_path / "saved.mp4", "video")) == 30
    assert not recording.problems
    assert "its sound is missing, since it could not be opened a second time" in recording.notes[0]


@pytest.fixture(params=["script.mp4", "list.m3u8"])
def names_others(request: pytest.FixtureRequest, tmp_path: Path, playlist: Path) -> Path:
    """A file that holds no film but the name of one of 90 frames."""
    path = tmp_path / str(request.param)
    if request.param == "script.mp4":
        make_film(tmp_path / "other.mkv", count=90)
        path.write_text("ffconcat version 1.0\nfile other.mkv\n")
    return path


def test_other_films_are_not_read_unasked(names_others: Path, predict: Predict, tmp_path: Path) -> None:
    words = "holds no film but the names of others"
    with pytest.raises(InputError, match=words):
        open_frames(names_others)
    done = predict(names_others, "--table", tmp_path / "faces.csv")
    assert done.code == 1
    assert len(done.errors) == 1
    assert words in done.errors[0]
    assert "--follow-playlists" in done.errors[0]
    assert not (tmp_path / "faces.csv").exists()
    assert len(list(open_frames(names_others, follow_playlists=True))) == 90
    done = predict(names_others, "--follow-playlists", "--frames", tmp_path / "frames.csv")
    assert done.code == 0
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == 91
