"""Frames come out with the container's own times, whole, upright, and from where they were asked for."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from films import NTSC, make_film, number, numbered, packets
from PIL import Image

from mien.errors import InputError
from mien.media.frames import Frame
from mien.media.opening import RawVideo, open_frames
from mien.media.sources import find_sources


def frames_until_problem(*source: object, **options: object) -> tuple[list[Frame], str]:
    """All frames that come before an InputError, and its sentence."""
    seen: list[Frame] = []
    with pytest.raises(InputError) as caught:
        for frame in open_frames(*source, **options):  # type: ignore[arg-type]
            seen.append(frame)  # noqa: PERF402
    assert "\n" not in str(caught.value)
    return seen, str(caught.value)


# Time


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "ts", "avi"])
def test_2997_frames_a_second(tmp_path: Path, ending: str) -> None:
    path = make_film(
        tmp_path / f"film.{ending}", count=40, sound="libmp3lame" if ending == "avi" else "aac",
        time_base=NTSC if ending == "avi" else Fraction(1, 30000),
    )  # fmt: skip
    frames = list(open_frames(path))
    assert [number(f.image) for f in frames] == list(range(40))
    assert [f.index for f in frames] == list(range(40))
    allowed = 6e-4 if ending == "mkv" else 1.2e-5  # Matroska counts in milliseconds, MPEG-TS in 1/90000
    np.testing.assert_allclose([f.time for f in frames], [float(i * NTSC) for i in range(40)], atol=allowed)
    assert {f.source for f in frames} == {str(path)}
    assert not any(f.still for f in frames)


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [Fraction(t, 1000) for t in (0, 33, 66, 400, 410, 1500, 1533, 2999)]
    path = make_film(tmp_path / "film.mp4", times=times, count=8, time_base=Fraction(1, 90000))
    assert [f.time for f in open_frames(path)] == pytest.approx([float(t) for t in times], abs=1e-9)


def test_time_counts_from_the_first_frame_that_is_shown(tmp_path: Path) -> None:
    late = make_film(tmp_path / "late.ts", times=[5 + i * NTSC for i in range(10)], count=10)
    frames = list(open_frames(late))
    assert [f.time for f in frames] == pytest.approx([float(i * NTSC) for i in range(10)], abs=1.2e-5)


def test_an_edit_list_hides_the_beginning(tmp_path: Path) -> None:
    """The first 5 frames have negative times, which an MP4 writes as an edit that begins later."""
    path = make_film(
        tmp_path / "film.mp4", times=[(i - 5) * NTSC for i in range(20)], count=20, options={"bf": "0"},
        muxing={"avoid_negative_ts": "disabled", "movflags": "+negative_cts_offsets"},
    )  # fmt: skip
    frames = list(open_frames(path))
    assert [number(f.image) for f in frames] == list(range(5, 20))
    assert [f.time for f in frames] == pytest.approx([float(i * NTSC) for i in range(15)], abs=1e-9)


# What is wanted


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("start", [0.0, 1.0, 4.0, 6.6])
def test_from_start_to_end(tmp_path: Path, ending: str, start: float) -> None:
    path = make_film(tmp_path / f"film.{ending}", count=240, options={"g": "25"})
    frames = list(open_frames(path, start=start, end=start + 0.5))
    numbers = [number(f.image) for f in frames]
    assert [f.index for f in frames] == numbers
    assert numbers == [i for i in range(240) if start - 6e-4 <= i * NTSC < start + 0.5 - 6e-4]
    assert [f.time for f in frames] == pytest.approx([float(i * NTSC) for i in numbers], abs=6e-4)


def test_every_nth_and_no_more_than(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=90)
    assert [f.index for f in open_frames(path, every=7)] == list(range(0, 90, 7))
    times = [f.time for f in open_frames(path, max_fps=10)]
    assert [int(t * 10 + 1e-6) for t in times] == list(range(30))
    assert len(list(open_frames(path, max_fps=100))) == 90
    assert [f.index for f in open_frames(path, every=2, start=1, end=1.2)] == [30, 32, 34]


def test_a_start_beyond_the_end(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=90)
    seen, sentence = frames_until_problem(path, start=8)
    assert not seen
    assert "ends at 2.97 s, before the start at 8 s" in sentence


# The picture


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation(tmp_path: Path, rotation: int) -> None:
    path = make_film(tmp_path / "film.mp4", count=3, rotation=rotation)
    frames = list(open_frames(path))
    upright = np.rot90(frames[2].image, -rotation // 90)
    assert upright.shape == (120, 160, 3)
    assert number(upright) == 2
    assert all(f.image.flags.c_contiguous for f in frames)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=3, pixel_shape=Fraction(4, 3))
    assert {f.image.shape for f in open_frames(path)} == {(120, 213, 3)}


def test_odd_size_and_colour(tmp_path: Path) -> None:
    red = np.zeros((95, 151, 3), np.uint8)
    red[:] = (220, 30, 40)
    path = make_film(tmp_path / "film.mkv", [red] * 3, codec="ffv1")
    for frame in open_frames(path):
        assert frame.image.shape == red.shape
        assert np.abs(frame.image.astype(int) - red).max() < 12


# Several sources


def test_pictures_and_films_in_one(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    (folder / "b").mkdir(parents=True)
    Image.fromarray(numbered(3)).save(folder / "a.png")
    make_film(folder / "b" / "film.mp4", count=2)
    Image.fromarray(numbered(9)).save(folder / "c.png")
    frames = list(open_frames(folder))
    assert [(Path(f.source).name, f.index, f.still, number(f.image)) for f in frames] == [
        ("a.png", 0, True, 3), ("c.png", 0, True, 9), ("film.mp4", 0, False, 0), ("film.mp4", 1, False, 1),
    ]  # fmt: skip
    assert [f.source for f in open_frames([folder / "c.png", str(folder / "*.png")])] == [
        str(folder / "c.png"), str(folder / "a.png"),
    ]  # fmt: skip


def test_bad_sources_do_not_stop_the_good_ones(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    make_film(tmp_path / "b.mp4", count=2)
    (tmp_path / "c.png").write_text("no picture")
    seen, sentence = frames_until_problem(tmp_path)
    assert [Path(f.source).name for f in seen] == ["b.mp4", "b.mp4"]
    assert "2 sources could not be read" in sentence
    assert "a.mp4" in sentence
    assert "c.png" in sentence


def test_kinds_by_name_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(numbered(1)).save(tmp_path / "picture.dat", "PNG")
    make_film(tmp_path / "plain.mp4", count=2).rename(tmp_path / "film.dat")
    Path("7").touch()
    found, problems = find_sources(["picture.dat", "film.dat", "0", "7", "/dev/video1", "rtsp://host/x", "-"])
    assert not problems
    kinds = [source.kind for source in found]
    assert kinds == ["picture", "film", "camera", "film", "camera", "stream", "pipe"]


# What is wrong with a film


def test_empty_and_junk(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "junk.mkv").write_text("Dear reader, this is no film.\n" * 100)
    (tmp_path / "letter").write_text("Dear reader, this is no film.\n" * 100)
    for name, words in (
        ("empty.mp4", "empty"),
        ("junk.mkv", "not a readable film"),
        ("letter", "not a readable film"),
        ("no.mp4", "exist"),
    ):
        seen, sentence = frames_until_problem(tmp_path / name)
        assert not seen
        assert words in sentence
        assert name in sentence


def test_sound_without_picture(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        audio = out.add_stream("aac", rate=44100, layout="mono")
        for first in range(0, 44100, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 44100, first
            out.mux(audio.encode(samples))
        out.mux(audio.encode(None))
    assert "sound but no picture" in frames_until_problem(path)[1]


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_truncated_films_give_what_is_there(tmp_path: Path, ending: str) -> None:
    path = make_film(
        tmp_path / f"film.{ending}", count=120, sound="aac",
        muxing={"movflags": "+faststart"} if ending == "mp4" else None, options={"qp": "30", "g": "10"},
    )  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    seen, sentence = frames_until_problem(path)
    assert 30 < len(seen) < 110
    assert [number(f.image) for f in seen[:25]] == list(range(25))
    assert "cut short" in sentence


def test_truncated_before_its_table_of_contents(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short" in frames_until_problem(path)[1]


def test_sound_that_goes_on_is_no_damage(tmp_path: Path) -> None:
    picture = make_film(tmp_path / "film.mkv", times=[0.0, 0.1, 3.0], count=3, sound="aac", options={"bf": "0"})
    longer = tmp_path / "longer.mkv"
    with av.open(str(picture)) as film, av.open(str(longer), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in film.streams}
        for packet in film.demux():
            if packet.size and not (packet.stream.type == "video" and packet.pts * packet.time_base > 1):
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    assert len(list(open_frames(longer))) == 2


def test_a_damaged_packet_costs_its_frame(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mov", codec="png", count=30)
    content = bytearray(path.read_bytes())
    eleventh = content.index(packets(path, "video")[10][1])
    content[eleventh : eleventh + 8] = bytes(8)
    path.write_bytes(content)
    seen, sentence = frames_until_problem(path)
    assert [number(f.image) for f in seen] == [i for i in range(30) if i != 10]
    assert "1 of its packets" in sentence


# Live sources


def test_raw_frames_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").write_bytes(b"".join(numbered(i).tobytes() for i in range(5)) + b"rest")
    with (tmp_path / "raw").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        seen, sentence = frames_until_problem("-", raw=RawVideo(160, 120, 12.5))
    assert [(number(f.image), f.time) for f in seen] == [(i, i * 0.08) for i in range(5)]
    assert "ends within frame 5" in sentence
    assert "--size" in frames_until_problem("-")[1]


def test_no_such_camera() -> None:
    if Path("/dev/video97").exists():
        pytest.skip("there is a camera of that number")
    for name in (97, "97", "/dev/video97"):
        assert "camera" in frames_until_problem(name)[1]


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[Callable[[BaseHTTPRequestHandler], None]], str]:
    """A local web server that answers every request as told; gives its URL."""

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    return start


def test_mjpeg_stream_that_drops_and_returns(serve: Callable[..., str]) -> None:
    answers: list[int] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        first = 10 * len(answers)
        answers.append(first)
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for i in range(first, first + 10):
            file = io.BytesIO()
            Image.fromarray(numbered(i)).save(file, "JPEG", quality=95)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {file.tell()}\r\n\r\n"
            request.wfile.write(head.encode() + file.getvalue() + b"\r\n")

    url = serve(answer) + "/live.mjpg"
    seen = []
    with open_frames(url) as frames:
        assert frames.live
        for frame in frames:
            seen.append(frame)
            if len(seen) == 15:
                break
    assert len(answers) >= 2, "it asked again"
    assert [f.index for f in seen] == list(range(15))
    times = [f.time for f in seen]
    assert times == sorted(times)
    assert times[-1] > 0.9, "the second connection came after a pause"


def test_a_film_behind_a_url(tmp_path: Path, serve: Callable[..., str]) -> None:
    content = make_film(tmp_path / "film.mp4", count=30, muxing={"movflags": "+faststart"}).read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    frames = list(open_frames(serve(answer) + "/film.mp4"))
    assert [number(f.image) for f in frames] == list(range(30))


def test_nobody_answers() -> None:
    seen, sentence = frames_until_problem("http://127.0.0.1:9/none.mp4")
    assert not seen
    assert "127.0.0.1:9" in sentence


def test_newest_wins(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=60)
    with open_frames(path, newest=True) as frames:
        first = next(frames)
        deadline = time.monotonic() + 20
        while frames.dropped < 58 and time.monotonic() < deadline:  # until the reader is through
            time.sleep(0.01)
        rest = list(frames)
    assert first.index == 0
    assert [f.index for f in rest][-1:] == [59]
    assert frames.dropped == 60 - 1 - len(rest)


def test_leaving_early_stops_the_reader(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=90)
    with open_frames(path) as frames:
        next(frames)
    assert not frames._thread.is_alive()
    assert list(frames) == []
