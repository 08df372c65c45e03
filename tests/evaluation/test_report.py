"""The report as its readers have it: one file, true numbers, pictures, nothing from elsewhere, and clear refusals."""

from __future__ import annotations

import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from browser import needs_browser
from command import mien
from pixels import ballot, build_model, four_tests

from mien import models
from mien.data.prepared import manifest_hash, save
from mien.errors import DataError
from mien.evaluation.charts import Axis, Line, line_chart, matrix
from mien.evaluation.expression.portraits import find_model
from mien.evaluation.expression.run import evaluate
from mien.evaluation.expression.training_log import read_training_log
from mien.metrics import wilson_interval

if TYPE_CHECKING:
    from playwright.sync_api import Browser

METRICS = """epoch,size,lr,train_loss,train_accuracy,validation_loss,validation_accuracy,images_per_second,seconds
1,48,0.1,1.8,0.25,1.7,0.3,500,50
2,48,0.1,1.2,0.55,1.1,0.625,500,50
3,48,0.0,1.0,0.65,1.2,0.6,500,50
"""


class Page(HTMLParser):
    """Elements, attributes and visible words of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self._hidden = False
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
        self._hidden = tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.words += "" if self._hidden else f" {data}"


class Bench(NamedTuple):
    """A run folder, and the prepared set, scores and model that belong together."""

    run: Path
    data: Path
    scores: Path
    model: Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    for name in ("run", "scores", "elsewhere"):
        (folder / name).mkdir()
    (folder / "run" / "metrics.csv").write_text(METRICS)
    (folder / "run" / "run.json").write_text('{"device": "cpu", "note": "a <b>note</b>"}')
    data, model = four_tests(), build_model(folder / "elsewhere" / "pixels.onnx")
    save(folder / "set", data)
    manifest = manifest_hash(folder / "set")
    scores = evaluate(models.load(model), data, "test", manifest_sha256=manifest, robustness=True)
    (folder / "scores" / "scores.json").write_text(scores.model_dump_json())
    return Bench(folder / "run", folder / "set", folder / "scores", model)


report = partial(mien, "report")


def test_a_run_and_its_scores_in_one_page(bench: Bench, tmp_path: Path) -> None:
    done = report(bench.run, bench.scores, "--data", bench.data, "--model", bench.model, "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    assert done.out.startswith(str(tmp_path / "r.html"))
    page = Page(tmp_path / "r.html")
    assert "best on validation: 62.5 % in epoch 2" in page.words
    assert "a <b>note</b>" in page.words  # as text
    assert "75.0 % accuracy 95 % interval" in page.words
    assert "The most confident mistakes" in page.words
    assert re.search(r"surprise \d+ % labelled fear row 4", page.words)
    assert "Low resolution" in page.words
    assert page.tags.count("svg") > 14  # curves, matrices, bars, reliability, robustness, and keys of legends
    # three faces (a mistake and two read right), each with its picture, the picture below its map, and the map
    assert len([link for link in page.links if link.startswith("data:image/png")]) == 9


def test_it_holds_all_that_it_shows(bench: Bench, tmp_path: Path) -> None:
    report(bench.run, bench.scores, "--data", bench.data, "--model", bench.model, "--out", tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert all(link.startswith("data:") for link in page.links)
    assert not re.search(r"https?:|url\(|@import", page.text)
    assert "script" not in page.tags


def test_the_page_has_a_title_and_says_everything_once(bench: Bench, tmp_path: Path) -> None:
    options = ("--data", bench.data, "--model", bench.model, "--face", 0)
    assert report(bench.run, bench.run, bench.scores, *options, "--out", tmp_path / "r.html").code == 0
    page = Page(tmp_path / "r.html")
    assert "<h1>Report: run, pixels</h1>" in page.text
    assert "<title>Report: run, pixels" in page.text
    paragraphs = [" ".join(text.split()) for text in re.findall(r"<p class=.faint.>(.*?)</p>", page.text, re.DOTALL)]
    sentences = [s for text in paragraphs for s in re.split(r"(?<=[.:;]) ", re.sub("<[^>]+>", "", text)) if len(s) > 60]
    assert len(sentences) == len(set(sentences))
    assert page.words.count("occlusion map") == 1


def test_labels_with_few_images_are_warned_of_and_have_their_intervals(bench: Bench, tmp_path: Path) -> None:
    done = report(bench.scores, "--out", tmp_path / "r.html")
    assert "note: few test images (1 of fear, 2 of happy, 1 of sad)" in done.err
    page = Page(tmp_path / "r.html")
    assert "Few test images (1 of fear, 2 of happy, 1 of sad)" in page.words
    low, high = wilson_interval(2, 2)
    assert f"happy 2 100.0 % 100.0 % {100 * low:.0f} to {100 * high:.0f} % 100.0 %" in page.words


def test_images_without_a_face_are_left_out_and_counted(bench: Bench, tmp_path: Path) -> None:
    data = four_tests()
    data.votes[4] = ballot(no_face=9, fear=1)
    save(tmp_path / "set", data)
    manifest = manifest_hash(tmp_path / "set")
    scores = evaluate(models.load(bench.model), data, "test", manifest_sha256=manifest)
    shown = json.loads(scores.model_dump_json())
    known = json.loads((bench.scores / "scores.json").read_text())
    for name, mistakes in (("new", shown["mistakes"]), ("old", known["mistakes"])):  # older scores list them
        (tmp_path / f"{name}.json").write_text(json.dumps(shown | {"mistakes": mistakes}))
        done = report(tmp_path / f"{name}.json", "--data", tmp_path / "set", "--out", tmp_path / "r.html")
        assert done.code == 0, done.err
        words = Page(tmp_path / "r.html").words
        assert "row 4" not in words
        assert "The most confident mistakes" not in words
        assert "Left out of these pictures: 1 image without a face" in words


def test_a_folder_of_several_scores_says_which_to_name(bench: Bench, tmp_path: Path) -> None:
    for name in ("base", "mine"):
        (tmp_path / "scores" / name).mkdir(parents=True)
        (tmp_path / "scores" / name / "scores.json").write_text((bench.scores / "scores.json").read_text())
    done = report(bench.run, tmp_path / "scores", "--out", tmp_path / "r.html")
    assert done.code == 1
    assert f"name one of the folders in it: {tmp_path / 'scores' / 'base'}, {tmp_path / 'scores' / 'mine'}" in done.err


def test_models_stand_side_by_side(bench: Bench, tmp_path: Path) -> None:
    other = (bench.scores / "scores.json").read_text().replace('"model":"pixels"', '"model":"<i>other</i>"', 1)
    (tmp_path / "other.json").write_text(other.replace('"accuracy":0.75', '"accuracy":0.5', 1))
    done = report(bench.scores, tmp_path / "other.json", "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    assert "no pictures of faces" in done.err
    page = Page(tmp_path / "r.html")
    assert "Side by side" in page.words
    assert "pixels <i>other</i>" in page.words
    assert "i" not in page.tags
    assert '<td class="best">75.0 %</td><td>50.0 %</td>' in page.text
    assert not [link for link in page.links if link.startswith("data:image")]


def test_scores_of_one_model_are_told_apart_by_split(bench: Bench, tmp_path: Path) -> None:
    other = (bench.scores / "scores.json").read_text().replace('"split":"test"', '"split":"validation"', 1)
    (tmp_path / "other.json").write_text(other)
    assert report(bench.scores, tmp_path / "other.json", "--out", tmp_path / "r.html").code == 0
    page = Page(tmp_path / "r.html")
    assert "pixels on test pixels on validation" in page.words
    assert 'class="best"' not in page.text  # different images: none is the better


def test_without_the_network_there_are_pictures_and_no_maps(bench: Bench, tmp_path: Path) -> None:
    done = report(bench.scores, "--data", bench.data, "--out", tmp_path / "r.html")
    assert done.code == 0
    assert "no maps for pixels" in done.err
    assert len([link for link in Page(tmp_path / "r.html").links if link.startswith("data:image")]) == 3


def test_a_network_is_found_by_its_weights(bench: Bench) -> None:
    sha256 = models.load(bench.model).card.sha256
    found = find_model(sha256, [bench.run, bench.model.parent])
    assert found is not None
    assert found.card.name == "pixels"
    assert find_model(sha256, [bench.run]) is None
    shipped = models.load()
    assert find_model(shipped.card.sha256, []) == shipped


def test_chosen_faces(bench: Bench, tmp_path: Path) -> None:
    named = ("--data", bench.data, "--model", bench.model, "--out", tmp_path / "r.html")
    assert report(bench.scores, *named, "--face", 0, "--face", 2).code == 0
    words = Page(tmp_path / "r.html").words
    assert "Chosen faces" in words
    assert "row 0 ·" in words
    done = report(bench.scores, *named, "--face", 9)
    assert (done.code, done.out) == (1, "")
    assert "there is no row 9; the set has rows 0 to 4" in done.err


def test_what_cannot_be_shown_is_told_in_one_sentence(bench: Bench, tmp_path: Path) -> None:
    other = four_tests()
    save(tmp_path / "other", other.take(np.arange(4)))
    (tmp_path / "empty").mkdir()
    arguments: list[tuple[tuple[str | Path, ...], str]] = [
        ((tmp_path / "empty",), "holds no metrics.csv of mien train and no scores.json"),
        ((tmp_path / "nothing.json",), "cannot read"),
        ((bench.run, "--data", bench.data), "none are named; measure a model first"),
        ((bench.scores, "--data", tmp_path / "other"), "pixels was not measured on"),
        ((bench.scores, "--data", bench.data, "--model", "base"), "the scores are not those of the model base"),
        ((bench.scores, "--data", bench.data, "--face", "1"), "faces need the network of pixels"),
    ]
    for words, sentence in arguments:
        done = report(*words, "--out", tmp_path / "r.html")
        assert (done.code, done.out) == (1, ""), words
        assert sentence in done.err
        assert len([line for line in done.err.splitlines() if not line.startswith("note:")]) == 1
        assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (METRICS.splitlines()[0], "has no epoch yet"),
        ("epoch,loss\n1,2\n", "is damaged: it should have the columns epoch, train_loss"),
        (METRICS.replace("0.55", "half"), "is damaged"),
        (None, "cannot read"),
    ],
)
def test_a_damaged_run_is_told(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_training_log(tmp_path)


def test_axes_are_round_and_enclose_what_they_show() -> None:
    axis = Axis.around([0.253, 0.777])
    assert (axis.low, axis.high) == pytest.approx((0.2, 0.8))
    assert list(axis.ticks) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    for values in ([5.0], [0.0], [], [-3.2, 8.1], [1e-6, 2e-6]):
        axis = Axis.around(values)
        assert axis.low < axis.high
        assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values)


def test_charts_say_what_they_show_and_escape_it() -> None:
    axis = Axis(0, 2, [0, 1, 2])
    chart = line_chart([Line("a & b", [(0, 0), (2, 2)], 1, dots=True)], axis, axis, 'say "x"')
    assert 'aria-label="say &#34;x&#34;"' in chart
    assert "a &amp; b" in chart
    assert chart.count("<circle") == 2
    grid = matrix(["one", "two"], [[3, 1], [0, 2]], [["3", "1"], ["0", "2"]], "m")
    assert "<title>one taken for two: 1</title>" in grid
    assert grid.count("<rect") == 4


@needs_browser
def test_a_browser_shows_it_without_a_complaint(bench: Bench, browser: Browser, tmp_path: Path) -> None:
    report(bench.run, bench.scores, "--data", bench.data, "--model", bench.model, "--out", tmp_path / "r.html")
    said: list[str] = []
    papers = set()
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto((tmp_path / "r.html").as_uri())
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for width in (380, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(papers) == 2
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert said == []
