"""The page of `mien serve` without a camera: its files, photos and films in a real browser, the keyboard."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from browser import (
    Server,
    Watched,
    boxes,
    canvas,
    near,
    needs_browser,
    outlined,
    until,
    yellow,
)
from films import make_faces_film
from numpy.typing import NDArray

from mien.drawing.annotate import COLOURS
from mien.drawing.annotate import colours as colours_of
from mien.labels import LABELS
from mien.output.tables import COLUMNS

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = Path(__file__).parents[2] / "src" / "mien" / "serve" / "page"


def test_the_page_has_the_colours_and_labels_of_the_house() -> None:
    script = (PAGE / "expressions.js").read_text(encoding="utf-8")
    found = re.search(r"LABELS = (\[.*?\]);", script)
    assert found and tuple(json.loads(found[1])) == LABELS
    colours = re.findall(r"(\w+): \[(\d+), (\d+), (\d+)\]", script)
    assert {name: (int(r), int(g), int(b)) for name, r, g, b in colours} == COLOURS
    others = re.search(r"OTHERS = \[\n(.*?)\n\];", script, re.DOTALL)
    tones = re.findall(r"\[(\d+), (\d+), (\d+)\]", others[1]) if others else []
    own = tuple(f"own{k:02}" for k in range(len(tones)))
    assert tones and [tuple(map(int, tone)) for tone in tones] == [colours_of(own)[label] for label in own]


def test_everything_that_the_page_names_is_there_and_nothing_comes_from_elsewhere() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:src|href)="(/[^"]*)"', html):
        assert name == "/docs" or (PAGE / name.removeprefix("/page/")).is_file(), name
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[\w-]+\.\w+/", text), f"{file.name} names another host"
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert (PAGE / name).is_file(), f"{file.name} imports {name}"
    assert not re.search(r'<script(?![^>]*src=)|\sstyle="|\son\w+="', html), "the page's own policy would refuse these"


def test_scripts_and_labels_name_what_is_in_the_page() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'\sid="([^"]+)"', html))
    used = set()
    for file in PAGE.glob("*.js"):
        used |= set(re.findall(r'\$\("([^"]+)"\)', file.read_text(encoding="utf-8")))
    assert used <= ids, f"not in the page: {used - ids}"
    assert set(re.findall(r'\s(?:for|aria-labelledby)="([^"]+)"', html)) <= ids


@needs_browser
def test_a_photo_that_is_dropped(tab: Watched, astronaut: NDArray[np.uint8]) -> None:
    page = tab.page
    done, png = cv2.imencode(".png", astronaut[..., ::-1])
    assert done
    drop = """content => {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "portrait.png", { type: "image/png" }));
        for (const kind of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, base64.b64encode(png.tobytes()).decode())
    page.wait_for_selector("#people li")
    (box,) = boxes(page)
    assert near(box, (178 / 512, 65 / 512, 269 / 512, 176 / 512))
    assert page.inner_text("#people .label") == "happy"
    page.wait_for_timeout(300)
    overlay = canvas(page, "overlay")
    height, width = overlay.shape[:2]
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    x1, y1, x2, y2 = (v * side for v in box)
    assert outlined(overlay, (x1 + left, y1 + top, x2 + left, y2 + top))

    page.evaluate("document.getElementById('threshold').value = 95")
    share = float(page.inner_text("#people .share").split("\u202f")[0])
    page.dispatch_event("#threshold", "input")
    page.wait_for_timeout(500)
    assert page.inner_text("#people .label") == ("uncertain" if share < 95 else "happy")
    page.click("#close")
    assert page.is_visible("#welcome")


@needs_browser
def test_a_file_that_is_no_picture(tab: Watched, tmp_path: Path) -> None:
    page, note = tab.page, tmp_path / "note.txt"
    note.write_text("no picture")
    page.set_input_files("#file", note)
    page.wait_for_selector("#toast")
    assert page.inner_text("#toast") == "note.txt is neither a photo nor a film."
    note.rename(tmp_path / "note.png")
    page.set_input_files("#file", tmp_path / "note.png")
    page.wait_for_selector("#trouble")
    assert page.inner_text("#trouble-text")
    assert len(tab.errors) == 1 and "415" in tab.errors.pop()  # the browser notes every refusal


@needs_browser
def test_a_film_is_uploaded_analysed_and_scrubbed(
    tab: Watched, site: Server, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    page, film = tab.page, make_faces_film(tmp_path / "faces.mp4", astronaut)
    page.evaluate("""() => {
        window.steps = [];
        const note = () => window.steps.push([document.getElementById("job-title").textContent,
                                              document.getElementById("job-bar").value]);
        new MutationObserver(note).observe(document.getElementById("job"),
            { subtree: true, childList: true, attributes: true, attributeFilter: ["value"] });
    }""")
    requested: list[tuple[str, str]] = []
    page.on("request", lambda request: requested.append((request.method, request.url)))
    page.set_input_files("#file", film)
    page.wait_for_selector("#timeline[role=slider]")
    steps: list[tuple[str, float]] = page.evaluate("window.steps")
    assert {"Uploading", "Analysing"} <= {title for title, _ in steps}
    assert all(0 <= share <= 1 for _, share in steps)
    assert max(share for title, share in steps if title == "Uploading") == 1

    # Two people until the cut at 40 frames of 29.97 a second, then one who is somebody else.
    page.wait_for_selector("#people li:nth-child(2)")
    until(page, lambda: page.locator("#moments button").count() >= 2, "there are no moments")
    assert yellow(canvas(page, "timeline")).mean() > 0.05
    page.focus("#timeline")
    page.keyboard.press("End")
    until(page, lambda: len(boxes(page)) == 1, "the end of the film looks like its beginning")
    assert float(page.get_attribute("#timeline", "aria-valuenow") or 0) > 1.5
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    until(page, lambda: len(boxes(page)) == 2, "the film does not go back")
    page.locator("#moments button").last.click()
    until(page, lambda: len(boxes(page)) == 1, "a moment does not lead to it")
    place_in_file = "document.getElementById('video').currentTime"
    before = float(page.evaluate(place_in_file))
    page.click("#pause")
    until(page, lambda: float(page.evaluate(place_in_file)) > before, "the film does not play")

    assert page.inner_text("#moments-count") == str(page.locator("#moments button").count())
    assert ("POST", f"{site.url}v1/videos") in requested, "every frame is read, as by the command"
    for what, beginning in (
        ("table.jsonl", b"{"), ("frames.csv", b"source,"), ("table.parquet", b"PAR1"),
        ("episodes.csv", b"source,"), ("episodes.json", b"{"), ("episodes.vtt", b"WEBVTT"),
        ("episodes.tsv", b"tier\t"), ("timeline.png", b"\x89PNG"), ("timeline.html", b"<!doctype html>"),
    ):  # fmt: skip
        with page.expect_download() as download:
            page.click(f"[data-what='{what}']")
        assert Path(download.value.path()).read_bytes().startswith(beginning), what
        assert download.value.suggested_filename == f"faces-{what}"
    with page.expect_download() as download:
        page.click("[data-what='table.csv']")
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith(",".join(COLUMNS))
    (place,) = {url for method, url in requested if method == "GET" and re.fullmatch(r".*/v1/videos/[^/]+", url)}
    assert site.get(place.removeprefix(site.url))["state"] == "done"
    with page.expect_request(lambda request: request.method == "DELETE" and request.url == place):
        page.click("#close")


@needs_browser
def test_a_film_is_cancelled(tab: Watched, site: Server, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    page, film = tab.page, make_faces_film(tmp_path / "faces.mp4", astronaut)
    page.set_input_files("#file", film)
    page.wait_for_selector("#job-title:text-matches('Analysing|Waiting')")
    page.click("#job-cancel")
    assert page.is_visible("#welcome") and not page.is_visible("#job")

    def idle() -> bool:
        films = site.get("v1/health")["films"]
        return not films["running"] and not films["queued"]

    until(page, idle, "the server goes on with a film that was cancelled")


@needs_browser
def test_keyboard_names_and_contrast(tab: Watched) -> None:
    page = tab.page
    nameless = """() => [...document.querySelectorAll("button, input, select, dialog, [role=slider], canvas[role]")]
        .filter(e => !(e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
                       || e.textContent.trim()))
        .map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("?")
    page.wait_for_selector("#help-dialog[open]")
    page.keyboard.press("c")  # belongs to the dialog now
    assert page.evaluate("document.documentElement.dataset.mode") == "idle"
    page.keyboard.press("Escape")
    page.click("#about")
    assert "Article 5(1)(f)" in page.inner_text("#about-dialog")
    page.click("#about-dialog .shut")
    page.wait_for_selector("#about-dialog", state="hidden")
    assert "stay on this machine" in page.inner_text("#privacy")

    for _ in range(2):  # both themes
        page.keyboard.press("t")
        for text in ("body", "#nobody", "#privacy", "#about", "#start", "#welcome-open", "#state-text", "#legend li"):
            assert contrast(page, text) >= 4.5, text


def contrast(page: Page, selector: str) -> float:
    """The contrast of text with what lies behind it, as WCAG 2.2 has it."""
    painted = """(selector) => {
        const element = document.querySelector(selector);
        let behind = element;
        while (behind && /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor))
            behind = behind.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor];
    }"""
    page.wait_for_timeout(250)
    values: list[str] = page.evaluate(painted, selector)

    def luminance(colour: str) -> float:
        shares = np.array([float(v) for v in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    light, dark = sorted((luminance(value) for value in values), reverse=True)
    return (light + 0.05) / (dark + 0.05)
