"""Parts of the page one by one, in a real browser: what is drawn where, in which colour and in which words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np
import pytest
from browser import Watched, boxes, canvas, needs_browser, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from serving import jpeg, serving

from mien.analyzer import Analyzer
from mien.drawing.annotate import COLOURS
from mien.labels import LABELS
from mien.output.timeline.lanes import Stay, assign_lanes
from mien.serve.films import Result

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DENSE = {"label": "happy", "confidence": 0.9, "probabilities": {label: float(label == "happy") for label in LABELS}}


def face(box: list[float], number: int) -> dict[str, Any]:
    return {"id": number, "box": box, **DENSE}


def painted(
    page: Page, faces: list[dict[str, Any]], frame: tuple[int, int], area: tuple[int, int]
) -> NDArray[np.uint8]:
    """The overlay of such faces in a frame that is shown in the middle of an area; black is where nothing is."""
    address: str = page.evaluate(
        """async ([faces, frame, area]) => {
            const { contain, paintFaces } = await import("/page/paint.js");
            const canvas = Object.assign(document.createElement("canvas"), { width: area[0], height: area[1] });
            const [frameWidth, frameHeight] = frame;
            paintFaces(canvas.getContext("2d"), faces.map((face) => ({ ...face, name: String(face.id) })), {
                ...contain(...frame, ...area), width: area[0], height: area[1], frameWidth, frameHeight,
                mirrored: false, bars: true, unit: 1, font: "sans-serif",
            });
            return canvas.toDataURL("image/png");
        }""",
        [faces, frame, area],
    )
    return picture(base64.b64decode(address.partition(",")[2]))


@needs_browser
def test_boxes_end_where_the_picture_ends(tab: Watched) -> None:
    """A square frame in the middle of a wide area: nothing is framed in the bars on its left and right."""
    image = painted(tab.page, [face([-40, 120, 90, 260], 1)], (400, 400), (900, 400))
    near = np.abs(image.astype(int) - COLOURS["happy"]).max(-1) < 30
    framed = near[150:230]  # below the chip, beside the bars' own colours
    assert framed[:, 250:256].any(), "the frame runs along the picture's border"
    assert not framed[:, :248].any()


def dark(image: NDArray[np.uint8]) -> int:
    """Pixels of panels, which are nearly black behind their bars."""
    return int(((image.max(-1) > 10) & (image.max(-1) < 40)).sum())


@needs_browser
def test_bars_cover_nobody_elses_head(tab: Watched) -> None:
    """A large face with bars, and a small one without anywhere near it: its hair and chin are free, too."""
    panels = 0
    places = [*((left, 190) for left in range(586, 604, 3)), *((470, top) for top in range(250, 300, 6))]
    for left, top in places:
        large, small = face([300, 130, 420, 270], 1), face([left, top, left + 50, top + 60], 2)
        image = painted(tab.page, [large, small], (900, 460), (900, 460))
        panels += dark(image) > 3000
        around = [image[top - 22 : top - 2, left - 8 : left - 3], image[top + 4 : top + 70, left + 54 : left + 59]]
        # A chip may lie there, with a few dark pixels of its text, but no panel.
        assert all(dark(part) < 0.4 * part.shape[0] * part.shape[1] for part in around), (left, top)
    assert panels == len(places)


@needs_browser
def test_several_people_on_a_phone_have_their_bars_in_the_list(tab: Watched) -> None:
    one, other = face([60, 80, 160, 200], 1), face([300, 80, 400, 200], 2)
    assert dark(painted(tab.page, [one], (480, 640), (366, 488))) > 3000
    assert dark(painted(tab.page, [one, other], (480, 640), (366, 488))) < 1500


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_neutral_looks_the_same_in_lane_and_legend(browser: Browser, site: Any, theme: str) -> None:
    with browser.new_context(color_scheme=theme) as context:  # type: ignore[arg-type]
        page = Watched(context, site.url).page
        neutral = {"id": 1, "probabilities": {label: float(label == "neutral") for label in LABELS}}
        page.evaluate(
            """async (face) => {
                const { Timeline } = await import("/page/timeline.js");
                const timeline = new Timeline(document.getElementById("timeline"), document.createElement("p"));
                timeline.film(10, 0.1);
                for (let k = 0; k < 100; k += 1) timeline.add(k / 10, [face]);
                await new Promise((done) => setTimeout(done, 300));
            }""",
            neutral,
        )
        lane = canvas(page, "timeline")
        colours, counts = np.unique(lane.reshape(-1, 3), axis=0, return_counts=True)
        shown = [tuple(int(v) for v in colour) for colour in colours[np.argsort(-counts)[:3]]]
        assert COLOURS["neutral"] in shown
        swatch = "getComputedStyle(document.querySelector('#legend [data-label=neutral]'), '::before').backgroundColor"
        assert page.evaluate(swatch) == "rgb({}, {}, {})".format(*COLOURS["neutral"])
        listed: list[str] = page.eval_on_selector_all("#legend li", "items => items.map(item => item.textContent)")
        assert tuple(listed) == LABELS


@needs_browser
def test_overlay_and_list_show_the_same_numbers(tab: Watched) -> None:
    """Frames come faster than the list changes; at no moment do the two differ."""
    moments: list[list[Any]] = tab.page.evaluate(
        """async () => {
            const { Readings } = await import("/page/readings.js");
            const shown = { overlay: [], people: [] };
            const view = (name) => ({ show: (faces) => (shown[name] = faces), clear: () => (shown[name] = []) });
            const readings = new Readings(view("overlay"), view("people"));
            const moments = [];
            const numbers = (faces) => faces.map((face) => [face.id, face.label, face.confidence]);
            const note = () => moments.push([numbers(shown.overlay), numbers(shown.people), shown.overlay[0]?.box[0]]);
            for (let k = 0; k < 40; k += 1) {
                const face = (id) => ({ id, box: [k, 0, 50, 50], label: k % 2 ? "sad" : "happy", confidence: k / 40,
                                        probabilities: {} });
                readings.show(k < 30 ? [face(1), face(0), face(2)] : [face(3)], 100, 100);
                note();
                await new Promise((done) => setTimeout(done, 20));
                note();
            }
            await new Promise((done) => setTimeout(done, 400));
            note();
            return moments;
        }"""
    )
    assert all(overlay == people for overlay, people, _ in moments)
    assert {number for _, people, _ in moments for number, *_ in people} == {1, 2, 3}, (
        "who is not confirmed is not shown"
    )
    assert len({json.dumps(people) for _, people, _ in moments}) < 35, "the numbers can be read"
    assert [box for *_, box in moments[:60:2]] == list(range(30)), "boxes follow every frame"
    assert moments[-1][0] == [[3, "sad", 39 / 40]], "the last numbers are shown in the end"


@needs_browser
@pytest.mark.parametrize(("width", "phone"), [(390, True), (1280, False)])
def test_people_stand_before_the_timeline_on_a_phone(browser: Browser, site: Any, width: int, phone: bool) -> None:
    with browser.new_context(viewport={"width": width, "height": 844}) as context:
        page = Watched(context, site.url).page
        people, timeline = (page.locator(f"#{name}").bounding_box() for name in ("people-card", "timeline-card"))
        assert people and timeline
        assert (people["x"] >= timeline["x"] + timeline["width"]) != phone
        assert not phone or people["y"] + people["height"] <= timeline["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@needs_browser
def test_times_in_words(tab: Watched) -> None:
    said: list[str] = tab.page.evaluate(
        """async () => {
            const { clock, range } = await import("/page/expressions.js");
            return [range(3.5, 4, 8), range(0, 12.04, 30), range(63.5, 64, 300), range(3599.96, 3725.04, 4000),
                    clock(4, 8), clock(65, 300), clock(3725, 4000), clock(4, 8, 1), clock(59.97, 300)];
        }"""
    )
    thin = "\N{NARROW NO-BREAK SPACE}"
    said = [text.replace("\N{EN DASH}", "-") for text in said]
    assert said == [
        f"3.5 - 4.0{thin}s", f"0.0 - 12.0{thin}s", "1:03.5 - 1:04.0", "0:59:59.9 - 1:02:05.0",
        f"4{thin}s", "1:05", "1:02:05", f"4.0{thin}s", "0:59",
    ]  # fmt: skip


@needs_browser
def test_lanes_are_those_of_the_command(tab: Watched) -> None:
    """The page's lanes and those of `mien predict --timeline` come from the same rule."""

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=24))
    def compare(times: list[tuple[int, int]]) -> None:
        stays = [Stay(k, start, start + lasts) for k, (start, lasts) in enumerate(times, 1)]
        expected = [[stay.person for stay in lane] for lane in assign_lanes(stays)]
        if len(expected) > 8:
            return  # the page has less room
        lanes = tab.page.evaluate(
            """async (stays) => {
                const { filmLanes } = await import("/page/lanes.js");
                return filmLanes(stays).map((lane) => lane.map((stay) => stay.id));
            }""",
            [{"id": stay.person, "start": stay.start, "end": stay.end} for stay in stays],
        )
        assert lanes == expected

    compare()


@needs_browser
def test_live_lanes_are_shared_with_those_who_are_gone(tab: Watched) -> None:
    lanes = tab.page.evaluate(
        """async () => {
            const { LiveLanes } = await import("/page/lanes.js");
            const live = new LiveLanes();
            const gone = { 2: 5, 4: 3 };
            for (const id of [1, 2, 3, 4]) live.place(id, () => undefined);
            for (const id of [5, 6, 7, 5]) live.place(id, (other) => gone[other]);
            const before = structuredClone(live.lanes);
            live.remove(1);
            live.remove(4);
            const alone = new LiveLanes();
            for (const id of [1, 2, 3]) alone.place(id, () => 1);
            return [before, live.lanes, alone.lanes];
        }"""
    )
    assert lanes == [[[1], [2, 6], [3], [4, 5]], [[2, 6], [3], [5]], [[1, 2, 3]]]


def test_every_result_of_a_film_is_offered() -> None:
    html = (Path(__file__).parents[2] / "src/mien/serve/page/index.html").read_text("utf-8")
    assert {name for name in get_args(Result) if f'data-what="{name}"' in html} == set(get_args(Result))


@needs_browser
def test_a_wrong_file_closes_nothing(tab: Watched, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    page = tab.page
    cv2.imwrite(str(tmp_path / "photo.png"), astronaut[..., ::-1])
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector("#people li")
    before = boxes(page)
    (tmp_path / "note.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "note.txt")
    page.wait_for_selector("#toast:text-matches('neither a photo nor a film')")
    for name in ("broken.png", "broken.mp4"):
        (tmp_path / name).write_text("no picture")
        page.set_input_files("#file", tmp_path / name)
        page.wait_for_selector(f"#toast:text-matches('{name}')")
        page.wait_for_selector("#job", state="hidden")
    assert page.is_visible("#photo") and not page.is_visible("#trouble")
    assert boxes(page) == before
    assert [error for error in tab.errors if "415" not in error] == []
    tab.errors.clear()  # the browser notes every refusal


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Another site: the origin of an empty page."""
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>", "utf-8")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()


_ASK = """async ([host, token, photo]) => {
    const headers = { Authorization: `Bearer ${token}` };
    const body = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
    const said = { faces: null, stream: null };
    try {
        const answer = await fetch(`http://${host}/v1/analyze`, { method: "POST", headers, body });
        said.faces = (await answer.json()).faces.length;
    } catch (error) { said.faces = error.name; }
    said.stream = await new Promise((done) => {
        const socket = new WebSocket(`ws://${host}/v1/stream`, ["mien.v1", `bearer.${token}`]);
        socket.onmessage = (event) => done(JSON.parse(event.data).type);
        socket.onclose = (event) => done(event.code);
    });
    return said;
}"""


@needs_browser
@pytest.mark.parametrize("allowed", [True, False])
def test_a_page_of_another_site(
    browser: Browser, analyzer: Analyzer, astronaut: NDArray[np.uint8], elsewhere: str, allowed: bool
) -> None:
    """A real browser's own idea of CORS, for requests with a token and for the stream."""
    token = "a-token-for-the-test"
    origins = frozenset({elsewhere} if allowed else ())
    with serving(analyzer, token=token, origins=origins) as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(elsewhere)
        said = page.evaluate(_ASK, [server.host, token, base64.b64encode(jpeg(astronaut)).decode()])
    assert said == ({"faces": 1, "stream": "ready"} if allowed else {"faces": "TypeError", "stream": 1008})
