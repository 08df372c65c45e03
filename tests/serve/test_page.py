"""The page of `mien serve` live, in a real browser before a camera whose picture is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import (
    PLACES,
    SIZE,
    Server,
    Watched,
    boxes,
    canvas,
    chromium,
    known_box,
    make_camera,
    mirrored,
    moved_to,
    near,
    needs_browser,
    outlined,
    picture,
    serving,
    start,
    until,
    with_camera,
    yellow,
)  # fmt: skip
from numpy.typing import NDArray

from mien.labels import LABELS
from mien.output.tables import COLUMNS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright


@pytest.fixture(scope="module")
def browser(
    playwright: Playwright, tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]
) -> Iterator[Browser]:
    """One whose camera shows a head that moves."""
    film = make_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", astronaut)
    with chromium(playwright, *with_camera(film)) as browser:
        yield browser


def numbers(page: Page) -> list[int]:
    """The ids of the people in the list."""
    found: list[str] = page.eval_on_selector_all("#people li", "items => items.map(item => item.dataset.id)")
    return [int(number) for number in found]


@needs_browser
def test_the_overlay_lies_where_the_face_is_and_follows_it(tab: Watched) -> None:
    page = tab.page
    start(page)
    for place in PLACES:
        until(page, moved_to(page, place), f"nobody was seen at {place}")
    page.keyboard.press("Space")
    page.wait_for_selector("#state-text:text-is('Paused')")
    page.wait_for_timeout(600)  # what was on its way has been shown

    (box,) = boxes(page)
    assert any(near(box, known_box(place)) for place in PLACES)
    overlay = canvas(page, "overlay")
    height, width = overlay.shape[:2]
    scale = min(width / SIZE[0], height / SIZE[1])
    left, top = (width - scale * SIZE[0]) / 2, (height - scale * SIZE[1]) / 2
    x1, y1, x2, y2 = mirrored(box, scale * SIZE[0], scale * SIZE[1])
    assert outlined(overlay, (x1 + left, y1 + top, x2 + left, y2 + top))

    with page.expect_download() as download:
        page.keyboard.press("s")
    snapshot = picture(Path(download.value.path()).read_bytes())
    assert download.value.suggested_filename.endswith(".png")
    assert snapshot.shape == (SIZE[1], SIZE[0], 3)
    assert outlined(snapshot, mirrored(box, *SIZE))

    page.click("#pause")
    for place in PLACES:
        until(page, moved_to(page, place), "it does not go on after a pause")
    page.keyboard.press("m")
    page.wait_for_timeout(600)
    assert not page.is_checked("#mirror")
    page.click("#stop")
    assert page.is_visible("#welcome") and not boxes(page)


@needs_browser
def test_the_timeline_moves_and_the_figures_are_told(tab: Watched) -> None:
    page = tab.page
    start(page)
    until(page, lambda: yellow(canvas(page, "timeline")).mean() > 0.01, "the timeline stays empty")
    first = canvas(page, "timeline")
    until(page, lambda: not np.array_equal(first, canvas(page, "timeline")), "the timeline stands still")
    until(page, lambda: yellow(canvas(page, "timeline")).sum() > 1.5 * yellow(first).sum(), "nothing is added to it")
    page.wait_for_selector("#fps:text-matches('[1-9]')")
    assert re.fullmatch(r"\d+\u202fms", page.inner_text("#latency"))
    assert page.inner_text("#dropped").isdigit()
    # The accessible mirror of the overlay, and what is read out of it now and then.
    assert "happy" in page.inner_text("#people")
    page.wait_for_selector("#live-status:text-matches('^Person [0-9]+: happy')", state="attached")


@needs_browser
def test_a_recording_opens_as_a_table(tab: Watched, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    page = tab.page
    start(page)
    page.keyboard.press("r")
    assert page.get_attribute("#record", "aria-pressed") == "true"
    for place in PLACES:
        until(page, moved_to(page, place), "the face does not move")
    page.click("#record")
    page.wait_for_selector("#recording-dialog[open]")
    assert "frames" in page.inner_text("#recording-text")
    for ending in ("csv", "parquet", "vtt"):
        with page.expect_download() as download:
            page.click(f"[data-format={ending}]")
        assert download.value.suggested_filename.endswith(f".{ending}")
        download.value.save_as(tmp_path / f"session.{ending}")

    csv, parquet = polars.read_csv(tmp_path / "session.csv"), polars.read_parquet(tmp_path / "session.parquet")
    assert csv.columns == list(COLUMNS) and parquet.columns == list(COLUMNS)
    assert csv.shape == parquet.shape and len(csv) >= 2
    assert csv["time_s"].is_sorted() and 0 <= csv["time_s"][0] < csv["time_s"][-1]
    assert set(csv["label"]) == {"happy"}
    assert np.allclose(csv.select(LABELS).sum_horizontal(), 1, atol=0.01)
    # The size of frames follows the speed of the line; the boxes lie where the face was in one of its sizes.
    rows = csv.select("x1", "y1", "x2", "y2").rows()
    sizes = [(640, 480), (480, 360), (320, 240)]
    shares = [[(x1 / w, y1 / h, x2 / w, y2 / h) for x1, y1, x2, y2 in rows] for w, h in sizes]
    for place in PLACES:
        assert any(near(box, known_box(place)) for of_size in shares for box in of_size)
    assert (tmp_path / "session.vtt").read_text(encoding="utf-8").startswith("WEBVTT")


@needs_browser
def test_two_tabs_do_not_disturb_each_other(tab: Watched, site: Server) -> None:
    start(tab.page)
    until(tab.page, lambda: max(numbers(tab.page), default=0) >= 3, "whoever jumps elsewhere is somebody else")
    other = Watched(tab.page.context, site.url)
    start(other.page)
    until(other.page, lambda: max(numbers(other.page), default=0) > 0, "nobody is followed")
    assert max(numbers(other.page)) < 3, "people are counted for each tab"
    assert site.get("v1/health")["viewers"] == 2
    for page in (tab.page, other.page):
        for place in PLACES:
            until(page, moved_to(page, place), "one of two tabs stands still")
    other.page.close()
    until(tab.page, lambda: site.get("v1/health")["viewers"] == 1, "the closed tab is still connected")
    assert other.errors == []


@needs_browser
def test_it_goes_on_when_the_server_is_started_again(browser: Browser) -> None:
    from playwright.sync_api import TimeoutError as NotThereError

    with serving() as server, browser.new_context() as context:
        watched = Watched(context, server.url)
        page = watched.page
        start(page)
        page.wait_for_selector("#people li:not([data-id='0'])")
        before = max(numbers(page))
        server.stop()
        page.wait_for_selector("#trouble-retry")
        assert page.inner_text("#trouble-title") == "Connection lost"
        assert page.inner_text("#nobody") == "Waiting for the server."
        server.start()
        with suppress(NotThereError):  # the page's own next try may come first and hide the button
            page.click("#trouble-retry", timeout=5_000)
        page.wait_for_selector("#people li")
        page.wait_for_selector("#trouble", state="hidden")
        # The server counts people from 1 again; the page does not take the new one for the old.
        until(page, lambda: max(numbers(page), default=0) > before, "nobody is seen again")


@needs_browser
def test_a_camera_that_is_refused_and_one_that_is_missing(playwright: Playwright, site: Server) -> None:
    with chromium(playwright, "--use-fake-device-for-media-stream") as browser, browser.new_context() as context:
        page = Watched(context, site.url).page
        page.click("#start")
        page.wait_for_selector("#trouble")
        assert page.inner_text("#trouble-title") == "The camera is blocked"
        assert page.is_visible("#trouble-open") and page.is_visible("#trouble-retry")
        assert site.get("v1/health")["viewers"] == 0
    missing = "--use-fake-device-for-media-stream=device-count=0"
    with chromium(playwright, "--use-fake-ui-for-media-stream", missing) as browser, browser.new_context() as context:
        page = Watched(context, site.url).page
        page.click("#start")
        page.wait_for_selector("#trouble")
        assert page.inner_text("#trouble-title") == "No camera found"


@needs_browser
def test_the_token_comes_with_the_address_and_leaves_it(browser: Browser) -> None:
    token = "a-token-for-the-tests"
    with serving(MIEN_TOKEN=token) as server:
        with browser.new_context() as context:
            page = Watched(context, server.url).page
            page.wait_for_selector("#trouble")
            assert "token" in page.inner_text("#trouble-text")
        with browser.new_context() as context:
            watched = Watched(context, f"{server.url}#token={token}")
            assert watched.page.url == server.url
            start(watched.page)
            assert watched.errors == []
