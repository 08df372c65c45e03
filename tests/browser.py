"""For tests of the page: a server process, a browser whose camera shows a known picture, and what is on its screen."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.drawing.annotate import COLOURS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = (640, 480)
#: Where the head is for three seconds, and then for three more: left upper corner of the pasted piece, in pixels.
PLACES = ((60, 90), (330, 90))
SIDE = 260
#: The astronaut's face within the pasted piece, as shares of its side: from the photograph, by eye.
FACE = (0.34, 0.26, 0.70, 0.74)
PATIENCE = 90_000
"""Milliseconds; a busy machine takes its time, and nothing here is measured by the clock."""


def needs_browser(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test as slow, and skips it where there is no browser."""
    reason = "needs chromium or google-chrome on the PATH"
    marked: Callable[..., None] = pytest.mark.slow(pytest.mark.skipif(CHROMIUM is None, reason=reason)(test))
    return marked


class Server:
    """`mien serve` as a process of its own, on a port that it keeps when it is started again."""

    def __init__(self, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self._environment = {**os.environ, **environment}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mien.cli", "serve", "--no-browser", "--detector", "haar"]
        self._process = subprocess.Popen([*command, "--port", str(self.port)], env=self._environment)
        deadline = time.monotonic() + PATIENCE / 1000
        while not self._listens():
            assert self._process.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, "the server does not begin to listen"
            time.sleep(0.3)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def get(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving(**environment: str) -> Iterator[Server]:
    server = Server(**environment)
    try:
        yield server
    finally:
        server.stop()


def make_camera(path: Path, photo: NDArray[np.uint8]) -> Path:
    """A film of JPEGs that a browser takes for its camera: a head in one of `PLACES`, then in the other, for ever."""
    head = cv2.resize(np.ascontiguousarray(photo[:270, 90:360]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    with path.open("wb") as film:
        for x, y in PLACES:
            frame = np.full((SIZE[1], SIZE[0], 3), 190, np.uint8)
            frame[y : y + SIDE, x : x + SIDE] = head
            done, jpeg = cv2.imencode(".jpg", frame[..., ::-1])
            assert done
            film.write(jpeg.tobytes() * 90)  # three seconds at the browser's 30 fps
    return path


class Watched:
    """A tab, and what it complained about or asked of other hosts."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda line: self._note(line.url))
        self.page.goto(url)
        self.page.wait_for_selector("#state-text:not(:text-is('Connecting'))")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _note(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme in {"http", "https", "ws", "wss"}:
            self.hosts.add(rest.partition("/")[0])


@contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    flags = ("--no-sandbox", "--disable-gpu", *flags)
    with playwright.chromium.launch(executable_path=CHROMIUM, args=flags) as browser:
        yield browser


def with_camera(film: Path) -> tuple[str, ...]:
    """The flags of a browser whose camera shows that film, and who never asks."""
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    return (*fake, f"--use-file-for-fake-video-capture={film}")


@contextmanager
def watching(browser: Browser, server: Server) -> Iterator[Watched]:
    """A tab with the page in it; at the end it has complained about nothing and asked nobody else."""
    with browser.new_context(reduced_motion="reduce", accept_downloads=True) as context:
        watched = Watched(context, server.url)
        yield watched
        assert watched.errors == []
        assert watched.hosts == {f"127.0.0.1:{server.port}"}


Box = tuple[float, float, float, float]


def known_box(place: tuple[int, int]) -> Box:
    """The face as shares of the camera's picture when the head is there."""
    (x, y), (width, height) = place, SIZE
    x1, y1, x2, y2 = ((x, y)[k % 2] + share * SIDE for k, share in enumerate(FACE))
    return x1 / width, y1 / height, x2 / width, y2 / height


def near(box: Box, known: Box) -> bool:
    """Whether two boxes share half or more of what they cover together."""
    wide = min(box[2], known[2]) - max(box[0], known[0])
    high = min(box[3], known[3]) - max(box[1], known[1])
    both = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, known))
    shared = max(wide, 0) * max(high, 0)
    return shared / (both - shared) > 0.5


def boxes(page: Page) -> list[Box]:
    """What the list of people says, as shares of the picture."""
    found: list[str] = page.eval_on_selector_all("#people li", "items => items.map(item => item.dataset.box)")
    return [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in map(str.split, found)]


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(200)


def start(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("#people li")


def moved_to(page: Page, place: tuple[int, int]) -> Callable[[], bool]:
    return lambda: any(near(box, known_box(place)) for box in boxes(page))


def yellow(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels in the colour of a happy face, give or take the blending of edges."""
    far: NDArray[np.bool_] = np.abs(image.astype(int) - COLOURS["happy"]).max(-1) > 30
    return ~far


def picture(content: bytes) -> NDArray[np.uint8]:
    """A PNG as `(H, W, 3)` RGB; what is transparent is black."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    if image.shape[2] == 4:
        image[image[..., 3] < 128] = 0
    return np.ascontiguousarray(image[..., 2::-1]).astype(np.uint8)


def canvas(page: Page, name: str) -> NDArray[np.uint8]:
    address: str = page.eval_on_selector(f"#{name}", "canvas => canvas.toDataURL('image/png')")
    return picture(base64.b64decode(address.partition(",")[2]))


def outlined(image: NDArray[np.uint8], box: Box) -> bool:
    """Whether yellow lines run along the middle third of all four sides of a box in pixels."""
    on, slack = yellow(image), 4
    x1, y1, x2, y2 = (round(v) for v in box)
    across, down = slice((2 * x1 + x2) // 3, (x1 + 2 * x2) // 3), slice((2 * y1 + y2) // 3, (y1 + 2 * y2) // 3)

    def around(v: int) -> slice:
        return slice(max(v - slack, 0), v + slack + 1)

    sides = on[around(y1), across], on[around(y2), across], on[down, around(x1)].T, on[down, around(x2)].T
    return all(side.any(0).mean() > 0.9 for side in sides)


def mirrored(box: Box, width: float, height: float) -> Box:
    """A box of shares in pixels of a picture that is shown as in a mirror."""
    return (1 - box[2]) * width, box[1] * height, (1 - box[0]) * width, box[3] * height
