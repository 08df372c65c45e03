"""The live window: the newest frame wins, keys do what they say, and what is recorded opens and has true times."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Done, mien
from films import make_film, numbered
from numpy.typing import NDArray
from PIL import Image

from mien import load
from mien.analyzer import Analyzer
from mien.errors import OutputError
from mien.faces import Faces
from mien.labels import LABELS
from mien.live import hud
from mien.live.recordings import Recordings
from mien.live.session import Live, Status, View
from mien.media.opening import open_frames
from mien.media.sources import Source
from mien.vision.detect import Detector

FPS = 10


class Slow:
    """A detector that takes its time."""

    name, note = "slow", ""

    def __init__(self, detector: Detector, seconds: float) -> None:
        self.detector, self.seconds, self.asked = detector, seconds, 0

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        self.asked += 1
        time.sleep(self.seconds)
        return self.detector.detect(image)


@pytest.fixture(scope="module")
def analyzer(tiny_model: Path) -> Analyzer:
    return load(tiny_model, detector="haar")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    """Two minutes of somebody who sways, 160x160 at 10 frames a second: what a camera would see."""
    face = np.asarray(cv2.resize(astronaut[:300, 90:390], (160, 160), interpolation=cv2.INTER_AREA), np.uint8)
    swaying = [np.ascontiguousarray(np.roll(face, round(6 * np.sin(i / 5)), axis=1)) for i in range(120 * FPS)]
    path = tmp_path_factory.mktemp("camera") / "film.mp4"
    return make_film(path, swaying, times=[i / FPS for i in range(120 * FPS)], options={"preset": "ultrafast"})


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def next_view(live: Live, last: View | None = None) -> View:
    view = live.wait(last, 60)
    assert view is not None
    return view


def recorded_for(live: Live, seconds: float) -> bool:
    return (live.status().recording or 0) > seconds


def check_recording(path: Path) -> None:
    """It opens, has the camera's size and times, and in each frame somebody whose row has the frame's time."""
    frames = list(open_frames(path))
    times = [frame.time for frame in frames]
    with path.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(frames) >= 2
    assert all(frame.image.shape == (160, 160, 3) for frame in frames)
    assert times[0] == 0
    ticks = np.round(np.array(times) * FPS)
    assert np.allclose(times, ticks / FPS, atol=2e-3)
    assert (np.diff(ticks) >= 1).all(), "frames may be left out, but keep their times"
    assert {int(row["frame"]) for row in rows} == set(range(len(frames)))
    assert all(abs(float(row["time_s"]) - times[int(row["frame"])]) < 1e-3 for row in rows)
    assert all(row["label"] in LABELS for row in rows)


# Without a window


def test_the_newest_frame_wins(analyzer: Analyzer, tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=60)  # two seconds, of which a fifth can be read
    slow = Slow(analyzer.detector, 0.2)
    views: list[View] = []
    ages = []
    began = time.monotonic()
    with Live(Source(str(path), "film"), Analyzer(slow, analyzer.classifier), tmp_path) as live:
        while not live.status().over:
            view = live.wait(views[-1] if views else None, 0.1)
            if view is not None:
                views.append(view)
                live.mark_shown(view)
                ages.append(time.monotonic() - view.came)
        status = live.status()
    seen = [view.faces.frame for view in views]
    assert seen == sorted(set(seen))
    assert seen[-1] == 59, "the last one is not lost"
    assert status.dropped == 60 - slow.asked > 20
    assert max(ages) < 5, "waiting for their turn, they would be ten seconds old in the end"
    assert status.latency is None or status.latency >= 0.2
    assert all(view.came - began >= view.faces.time for view in views), "a camera sees nothing before it happens"


def test_a_picture_that_stands_still(analyzer: Analyzer, film: Path, tmp_path: Path) -> None:
    with Live(Source(str(film), "film"), analyzer, tmp_path) as live:
        next_view(live)
        live.toggle_pause()
        time.sleep(1)  # what was on its way has come
        still, before = next_view(live), live.status()
        assert before.paused
        time.sleep(1)
        assert live.wait(still) is None
        live.toggle_pause()
        after = next_view(live, still)
        passed = after.faces.frame - still.faces.frame
        assert passed >= FPS * 0.9
        assert live.status().dropped - before.dropped < passed / 2, "nobody wanted them"


def test_recordings_follow_each_other(analyzer: Analyzer, film: Path, tmp_path: Path) -> None:
    with Live(Source(str(film), "film"), analyzer, tmp_path / "out") as live:
        next_view(live)
        assert live.toggle_recording() is None
        until(lambda: recorded_for(live, 1))
        first = live.toggle_recording()
        assert live.status().recording is None
        live.toggle_recording()
        until(lambda: recorded_for(live, 0.2))
        shot = live.snapshot()
        assert (tmp_path / "out").exists()
    assert live.failure is None
    assert first is not None
    assert shot is not None
    films = [path for path in live.written if path.suffix == ".mp4"]
    assert len(films) == 2
    assert films[0] == first
    about = [path.with_suffix(".csv.json") for path in films]
    assert sorted((tmp_path / "out").iterdir()) == sorted([*live.written, *about]), "and nothing half done"
    for path in films:
        check_recording(path)
    with Image.open(shot) as picture:
        assert picture.size == (160, 160)


def test_a_recording_without_a_frame_leaves_nothing(analyzer: Analyzer, tmp_path: Path) -> None:
    written: list[Path] = []
    recorder = Recordings(tmp_path / "out", analyzer, 0, True, written)
    recorder.start()
    assert recorder.seconds == 0
    assert recorder.finish() is None
    assert not written
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(analyzer: Analyzer, film: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with Live(Source(str(film), "film"), analyzer, tmp_path / "out") as live:
        view = next_view(live)
        live.toggle_recording()
        until(lambda: live.failure)
        assert "cannot write" in str(live.failure)
        assert live.status().recording is None
        with pytest.raises(OutputError, match="cannot write the snapshot"):
            live.snapshot()
        assert next_view(live, view).faces.frame > view.faces.frame, "watching goes on"
    assert not live.written


def test_a_stream_that_drops_and_returns(analyzer: Analyzer, tmp_path: Path) -> None:
    asked: list[int] = []

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(1)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for i in range(10):
                file = io.BytesIO()
                Image.fromarray(numbered(i)).save(file, "JPEG")
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {file.tell()}\r\n\r\n"
                self.wfile.write(head.encode() + file.getvalue() + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/live.mjpg"
    with Live(Source(url, "stream"), analyzer, tmp_path) as live:
        view = next_view(live)
        while view.faces.frame < 10:
            view = next_view(live, view)
        assert not live.status().over
    assert len(asked) >= 2
    server.shutdown()


# The bar below the picture


def status(recording: float | None = None, paused: bool = False, silent: float = 0.0, over: bool = False) -> Status:
    return Status(29.97, 0.024, 3, paused, recording, silent, over)


def reds(image: NDArray[np.uint8]) -> int:
    return int((image == np.array(hud.RED)).all(2).sum())


@pytest.mark.parametrize("width", [120, 320, 640, 1920])
def test_recording_is_marked_in_red(width: int) -> None:
    plain, marked = hud.bar(width, status()), hud.bar(width, status(recording=75.3))
    assert plain.shape == marked.shape == (hud.bar_height(width), width, 3)
    assert reds(plain) == 0
    assert reds(marked) > width
    assert not np.array_equal(marked, hud.bar(width, status(recording=76.3))), "time is told"


def test_states_and_messages_are_seen() -> None:
    states = [status(), status(paused=True), status(silent=3), status(silent=4), status(over=True)]
    bars = [hud.bar(640, state).tobytes() for state in states]
    bars += [hud.bar(640, states[0], message).tobytes() for message in ("saved a.png", f"saved {'a' * 300}.png")]
    assert len(set(bars)) == len(bars)
    assert hud.bar(640, status(silent=1)).tobytes() == bars[0]


def test_the_help_panel() -> None:
    panel = hud.panel(640)
    assert panel.shape[2] == 4
    assert panel.shape[1] < 640
    assert panel[0, 0, 3] == 0, "its corners are round"


# With a window


def test_keys(analyzer: Analyzer, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from mien.live.window import Window, display

    def press(key: int, character: str = "") -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=character))

    def drive(live: Live) -> None:
        try:
            press(pygame.K_s)
            until(lambda: live.written)
            press(pygame.K_r)
            press(pygame.K_h)
            until(lambda: recorded_for(live, 0.5))
            press(pygame.K_SPACE)
            until(lambda: live.status().paused)
            press(pygame.K_SPACE)
            press(0, "?")
            until(lambda: not live.status().paused)
            press(pygame.K_r)
            until(lambda: live.status().recording is None)
            press(pygame.K_ESCAPE)
            until(lambda: live.stopped)
        finally:
            live.stop()

    with display(), Live(Source(str(film), "film"), analyzer, tmp_path) as live, ThreadPoolExecutor(1) as hands:
        window = Window(live, next_view(live), "camera - mien")
        driven = hands.submit(drive, live)
        window.run()
        driven.result()
        width, height = pygame.display.get_window_size()
        assert width == 640, "small pictures are enlarged"
        assert height == 640 + hud.bar_height(640)
        assert live.status().fps > 0
    assert live.failure is None
    assert [path.suffix for path in live.written] == [".png", ".mp4", ".csv"]
    check_recording(live.written[1])


@pytest.fixture
def opened(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`mien live` without a screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return partial(mien, "live", "--model", tiny_model, "--detector", "haar")


def test_one_sentence_each(opened: Callable[..., Done], film: Path, tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    cut, empty, photo, two = (tmp_path / name for name in ("cut.mkv", "empty.mp4", "photo.png", "two"))
    make_film(cut, count=90, options={"g": "10"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    empty.touch()
    Image.fromarray(numbered(1)).save(photo)
    two.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(film, two / name)
    for source, words in (
        ("97", "no camera 97"),
        (photo, "mien predict"),
        (two, "2 files"),
        (empty, "empty"),
        (cut, "cut short"),
        (tmp_path / "nowhere.mp4", "does not exist"),
        ("http://127.0.0.1:9/live.mjpg", "127.0.0.1"),
    ):
        done = opened(source)
        assert done.code == 1, source
        (sentence,) = done.err.splitlines()
        assert words in sentence


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a screen")
def test_without_a_display(opened: Callable[..., Done], film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert opened(film).code == 1
    for name, value in (("DISPLAY", ""), ("SDL_VIDEODRIVER", "nonsense")):
        monkeypatch.setenv(name, value)
        done = opened(film)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "display" in done.err
        assert "mien serve" in done.err


def test_without_its_packages(opened: Callable[..., Done], film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    done = opened(film)
    assert done.code == 1
    assert done.err.splitlines() == ['error: the live window needs optional packages: pip install "mien[live]"']


# On a real screen, with real keys


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """The name of an X display that nobody sees."""
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        pytest.skip("needs Xvfb and xdotool")
    pytest.importorskip("pygame")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        yield f":{number}"
        server.terminate()


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("q", 0),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_on_a_screen(
    screen: str, film: Path, tiny_model: Path, tmp_path: Path, ending: str | signal.Signals, code: int
) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in {"SDL_VIDEODRIVER", "WAYLAND_DISPLAY"}}
    environment["DISPLAY"] = screen
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mien.cli", "live", str(film), "--out", str(out)]
    command += ["--model", str(tiny_model), "--detector", "haar"]

    def xdotool(*words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True)
        return done.stdout.strip()

    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            window = ""

            def opened() -> bool:
                nonlocal window
                assert process.poll() is None
                window = xdotool("search", "--pid", str(process.pid))
                return xdotool("getwindowname", window) == f"{film} - mien"  # which it gets a moment after it is there

            until(opened)
            xdotool("windowfocus", "--sync", window)
            xdotool("key", "s")
            until(lambda: list(out.glob("*.png")))
            xdotool("key", "r")
            until(lambda: list(out.glob("*.mp4.part")))
            time.sleep(2)
            if isinstance(ending, str):
                xdotool("key", ending)
            else:
                process.send_signal(ending)
            printed, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, told
    assert told == ("" if code == 0 else "error: interrupted; what had been recorded until then is written\n")
    *paths, summary = printed.splitlines()
    assert sorted(map(Path, paths)) == sorted(out.iterdir())
    assert [Path(path).suffix for path in paths] == [".png", ".mp4", ".csv"]
    assert "dropped" in summary
    check_recording(Path(paths[1]))
    with Image.open(paths[0]) as picture:
        assert picture.size == (160, 160)
