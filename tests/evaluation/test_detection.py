"""Detectors measured: what counts as found and as false, one origin after the other, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import mien
from marked import BOX, LANDMARKS, SCENE, marked, write_folder, write_photographs
from numpy.typing import NDArray

from mien.errors import DataError, ModelError
from mien.evaluation.detection import run as detection
from mien.evaluation.detection.match import FALSE, NEITHER, Judged, Tally, judge, landmark_error, match
from mien.evaluation.detection.run import FALSE_ALARMS, contender, measure
from mien.evaluation.detection.scores import DetectionReport, DetectionScores
from mien.evaluation.detection.views import (
    PLAIN,
    SIZES,
    VARIANTS,
    View,
)
from mien.faces import Faces

Boxes = Sequence[tuple[float, float, float, float]]
BY_NAME = {variant.name: variant for variant in VARIANTS}


def view(boxes: Boxes, ignore: Boxes | None = None, counted: list[bool] | None = None) -> View:
    """A grey picture of 200 pixels with faces whose landmarks stand around the middle of their boxes."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    middle = (array[:, None, :2] + array[:, None, 2:]) / 2
    points = middle + np.array([[-10, -10], [10, -10], [0, 0], [-8, 10], [8, 10]], np.float32)
    return View(
        np.full((200, 200, 3), 127, np.uint8), array, points.astype(np.float32),
        np.array(ignore or [], np.float32).reshape(-1, 4), np.array(counted or [True] * len(array), bool),
    )  # fmt: skip


def verdicts(detections: Boxes, scores: list[float], there: View) -> list[int]:
    found = match(np.array(detections, np.float32).reshape(-1, 4), np.array(scores, np.float32), there)
    return [int(verdict) for verdict in found]


def test_each_face_is_found_once_by_the_surest() -> None:
    there = view([(0, 0, 40, 40), (100, 100, 140, 140)])
    near, exact, other = (4, 4, 44, 44), (0, 0, 40, 40), (100, 100, 140, 140)
    assert verdicts([near, exact, other], [0.9, 0.8, 0.7], there) == [0, FALSE, 1]
    assert verdicts([near, exact, other], [0.8, 0.9, 0.7], there) == [FALSE, 0, 1]
    # a detection of two faces that stand side by side takes the one that it overlaps more, and leaves the other
    beside = view([(0, 0, 40, 40), (20, 0, 60, 40)])
    assert verdicts([(14, 0, 54, 40), (10, 0, 50, 40)], [0.9, 0.8], beside) == [1, 0]


def test_an_overlap_of_two_fifths_is_enough() -> None:
    there = view([(0, 0, 100, 100)])
    assert verdicts([(0, 0, 100, 40.5)], [0.5], there) == [0]
    assert verdicts([(0, 0, 100, 39.5)], [0.5], there) == [FALSE]
    assert verdicts([(0, 0, 64, 64), (20, 20, 180, 180)], [0.5, 0.4], there) == [0, FALSE]


def test_what_is_ignored_counts_neither_way() -> None:
    there = view([(0, 0, 40, 40)], ignore=[(100, 100, 160, 160)])
    inside, half_in, elsewhere = (110, 110, 130, 130), (90, 100, 130, 130), (170, 0, 200, 30)
    assert verdicts([inside, half_in, elsewhere], [0.9, 0.8, 0.7], there) == [NEITHER, NEITHER, FALSE]
    # a box drawn larger than the region is it all the same, one that merely holds it is not
    assert verdicts([(95, 95, 165, 165), (60, 60, 200, 200)], [0.9, 0.8], there) == [NEITHER, FALSE]
    # a true face on such a region is found
    assert verdicts([(0, 0, 40, 40)], [0.9], view([(0, 0, 40, 40)], ignore=[(0, 0, 50, 50)])) == [0]


def test_faces_that_do_not_count_are_neither_found_nor_false() -> None:
    there = view([(0, 0, 20, 20), (100, 100, 140, 140)], counted=[False, True])
    twice = [(0, 0, 20, 20), (1, 1, 21, 21), (100, 100, 140, 140)]
    assert verdicts(twice, [0.9, 0.8, 0.7], there) == [NEITHER, NEITHER, 1]
    judged = judge(faces(twice, [0.9, 0.8, 0.7]), there)
    assert judged.found.tolist() == pytest.approx([0.7])
    assert not len(judged.false)


def test_boxes_past_the_border_are_those_inside() -> None:
    there = view([(-60, -60, 40, 40)])
    assert verdicts([(0, 0, 40, 40)], [0.5], there) == [0]


def test_nothing_meets_nothing() -> None:
    assert verdicts([], [], view([])) == []
    assert verdicts([(0, 0, 9, 9)], [0.5], view([])) == [FALSE]
    assert judge(faces([], []), view([(0, 0, 40, 40)])).found.tolist() == [-1]


def faces(boxes: Boxes, scores: list[float], points: NDArray[np.float32] | None = None) -> Faces:
    unknown = np.full((len(boxes), 5, 2), np.nan, np.float32)
    return Faces(
        np.array(boxes, np.float32), np.array(scores, np.float32), unknown if points is None else points,
        width=200, height=200,
    )  # fmt: skip


def test_landmark_errors_are_shares_of_the_distance_of_the_eyes() -> None:
    there = view([(0, 0, 40, 40)])
    off = there.landmarks[0].copy()
    off[2] += (6, 8)  # the nose by 10 pixels; the eyes are 20 apart
    assert landmark_error(off, there.landmarks[0]) == pytest.approx(10 / 5 / 20)
    judged = judge(faces([(0, 0, 40, 40)], [0.9], off[None]), there)
    assert judged.errors.tolist() == pytest.approx([0.1])
    assert np.isnan(judge(faces([(0, 0, 40, 40)], [0.9]), there).errors).all()


def tally(found: list[float], false: list[float], images: int) -> Tally:
    """All of it in the first of so many pictures."""
    one = Judged(
        np.zeros((len(found), 4), np.float32), np.array(found, np.float32), np.zeros(len(found), np.float32),
        np.arange(len(found), dtype=np.float32), np.array(false, np.float32), np.zeros((len(false), 4), np.float32),
    )  # fmt: skip
    nothing = judge(faces([], []), view([]))
    return Tally.of([(0, one), *((i, nothing) for i in range(1, images))])


def test_the_threshold_keeps_to_the_rate_of_false_alarms() -> None:
    seen = tally([0.9, 0.6, 0.4, -1], [0.7, 0.5, 0.5, 0.3], 100)
    assert seen.images == 100
    for rate, alarms, recall in ((0.0, 0, 0.25), (0.01, 1, 0.5), (0.02, 1, 0.5), (0.03, 3, 0.75), (0.5, 4, 0.75)):
        threshold = seen.threshold(rate)
        assert round(seen.false_alarms(threshold) * 100) == alarms  # two of the same score go together
        assert seen.recall(threshold) == recall
    assert seen.rates()[:3] == [0, 0.01, 0.02]
    assert tally([0.9], [], 10).threshold(0.02) == 0


def test_turned_faces_are_counted_apart() -> None:
    """Their yaws are 0, 1 and 2 degrees."""
    turned = tally([0.9, 0.8, -1], [0.5], 10).turned(1, 3)
    assert turned.found.tolist() == pytest.approx([0.8, -1])
    assert (turned.images, len(turned.false)) == (10, 1)


def test_the_cascade_is_measured(astronaut: NDArray[np.uint8]) -> None:
    x1, y1, x2, y2 = SCENE
    found = [marked(astronaut, [BOX], [LANDMARKS]), marked(astronaut[y1:y2, x1:x2])]
    steps: list[int] = []
    scores = measure([contender("haar")], found, [PLAIN, BY_NAME["64 px"], BY_NAME["90°"]], step=steps.append)
    assert sum(steps) == 2
    (haar,) = scores.detectors
    assert (scores.images, scores.scenes, scores.false_alarms_per_image) == (2, 1, FALSE_ALARMS)
    assert [(v.name, v.images, v.faces) for v in scores.variants] == [
        ("plain", 2, 1), ("yaw under 30°", 2, 1), ("yaw 30 to 60°", 2, 0), ("yaw above 60°", 2, 0), ("64 px", 1, 1),
        ("90°", 1, 1),
    ]  # fmt: skip
    assert haar.variants["yaw under 30°"].recall == 1
    plain = haar.variants["plain"]
    assert (plain.recall, plain.false_alarms, plain.default_recall, plain.default_false_alarms) == (1, 0, 1, 0)
    assert plain.landmark_error is not None
    assert plain.landmark_error.median < 0.1
    turned = haar.variants["90°"]
    assert (turned.recall, turned.default_recall, turned.landmark_error) == (0, 0, None)
    (miss,) = haar.misses
    assert (miss.variant, miss.row, miss.found_by) == ("90°", 0, ())
    assert [p.false_alarms for p in haar.curve] == sorted(p.false_alarms for p in haar.curve)
    assert [p.recall for p in haar.curve] == sorted(p.recall for p in haar.curve)
    assert DetectionScores.model_validate_json(scores.model_dump_json()) == scores


def test_small_faces_alone_are_nothing_to_find(astronaut: NDArray[np.uint8]) -> None:
    small = np.asarray(cv2.resize(astronaut, (64, 64)), np.uint8)
    points = np.array(LANDMARKS) / 8
    with pytest.raises(DataError, match="nothing to find"):
        measure([contender("haar")], [marked(small, [np.array(BOX) / 8], [points])], [PLAIN])


def test_a_network_sees_more_than_the_cascade(astronaut: NDArray[np.uint8], shared: Path) -> None:
    photograph = marked(astronaut, [BOX], [LANDMARKS])
    wanted = [PLAIN, *(BY_NAME[f"{size} px"] for size in SIZES[1:5]), BY_NAME["30°"]]
    yunet = contender(str(shared / "models" / "yunet_n_dynamic.onnx"))
    haar, network = measure([contender("haar"), yunet], [photograph], wanted).detectors
    assert network.name == "yunet_n_dynamic"
    assert network.default_threshold == pytest.approx(0.6)
    assert network.variants["24 px"].recall > haar.variants["24 px"].recall == 0
    missed = next(miss for miss in haar.misses if miss.variant == "24 px")
    assert missed.found_by == ("yunet_n_dynamic",)


def test_unknown_detectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'haar'"):
        contender("hair")
    with pytest.raises(ModelError, match="cannot read"):
        contender(str(tmp_path / "none.onnx"))


@pytest.fixture
def two_small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes times at these only."""
    monkeypatch.setattr(detection, "SPEED_SIZES", ((160, 120), (320, 240)))


@pytest.mark.usefixtures("two_small_sizes")
def test_the_command(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    sha256 = write_photographs(tmp_path / "photographs.parquet", astronaut)
    arguments = ("evaluate", "haar", "--task", "detect", "--data", tmp_path / "photographs.parquet")
    done = mien(*arguments, "--json", "--out", tmp_path / "scores")
    assert done.code == 0, done.err
    report = DetectionReport.model_validate_json(done.out)
    (scores,) = report.origins
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == json.loads(done.out)
    assert (scores.images, scores.scenes) == (2, 1)
    assert (scores.origin, scores.data_sha256) == ("photographs.parquet", sha256)
    assert "--task detect" in report.provenance["command"]
    (haar,) = scores.detectors
    assert haar.variants["plain"].default_recall == 1
    assert [(s.width, s.height) for s in haar.speed] == [(160, 120), (320, 240)]
    assert all(s.milliseconds > 0 for s in haar.speed)
    assert {v.name for v in scores.variants if v.group == "kind"} == {"portrait photographs", "scene photographs"}
    page = (tmp_path / "scores" / "detection.html").read_text()
    assert page.count('<figure class="sight') == len(haar.misses) + len(haar.false_alarms)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "http" not in page
    assert sha256 in page

    done = mien("report", tmp_path / "scores", "--out", tmp_path / "r.html")
    assert done.code == 1
    assert "detection.html" in done.err

    done = mien(*arguments)
    assert done.code == 0, done.err
    assert "very blurred" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_the_command_refuses_in_one_sentence(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    data = tmp_path / "photographs.parquet"
    write_photographs(data, astronaut)
    (tmp_path / "no.parquet").write_text("nothing of that kind")
    detect = ("evaluate", "--task", "detect", "--data")
    for arguments, code, words in (
        ((*detect, data, "hair"), 1, "did you mean 'haar'"),
        ((*detect, data, "haar", "haar"), 1, "named twice"),
        ((*detect, data, "haar", "--tta", "mirror"), 1, "are for expressions"),
        ((*detect, data, "haar", "--split", "test"), 1, "are for expressions"),
        ((*detect, tmp_path, "haar"), 1, "is a folder without boxes.csv"),
        ((*detect, data, "--data", data, "haar"), 1, "named twice"),
        ((*detect, data, "haar", "--out", data), 1, "is a file"),
        ((*detect, tmp_path / "no.parquet", "haar"), 1, "cannot be read as Parquet"),
        ((*detect, tmp_path / "none.parquet", "haar"), 1, "cannot be read as Parquet"),
        (("evaluate", "haar", "--task", "detekt", "--data", data), 1, "did you mean 'detect'"),
        (("evaluate", "--data", data), 1, "name a model to measure"),
        (("evaluate", "base", "--data", data, "--every", 2), 1, "every is for detectors"),
    ):
        done = mien(*arguments)
        assert done.code == code, done.err
        assert words in re.sub(r"[\s│]+", " ", done.err), done.err
        assert "Traceback" not in done.err


@pytest.mark.usefixtures("two_small_sizes")
def test_each_origin_is_measured_by_itself(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    write_photographs(tmp_path / "photographs.parquet", astronaut)
    write_folder(tmp_path / "mine", astronaut)
    arguments = ("evaluate", "haar", "--task", "detect", "--data", tmp_path / "photographs.parquet")
    done = mien(*arguments, "--data", tmp_path / "mine", "--out", tmp_path / "scores")
    assert done.code == 0, done.err
    assert "mine: 2 photographs, 1 without a face" in re.sub(r"\s+", " ", done.out)
    report = DetectionReport.model_validate_json((tmp_path / "scores" / "scores.json").read_text())
    marked_ones, mine = report.origins
    assert (marked_ones.origin, mine.origin, mine.images, mine.scenes) == ("photographs.parquet", "mine", 2, 1)
    (haar,) = mine.detectors
    assert haar.variants["plain"].recall == 1
    assert haar.variants["plain"].landmark_error is None, "the folder has none marked"
    assert "30°" not in haar.variants, "nobody knows how the head stands"
    assert haar.speed == ()
    page = (tmp_path / "scores" / "detection.html").read_text()
    assert page.count('<section id="origin-') == 2
    done = mien(*arguments, "--every", 2, "--json")
    assert DetectionReport.model_validate_json(done.out).origins[0].images == 1


def test_photographs_that_are_all_for_training_are_refused(tmp_path: Path) -> None:
    import polars as pl

    made = (marked(np.full((8, 8, 3), level, np.uint8)) for level in range(256))
    picture = next(photograph.encoded for photograph in made if photograph.part == "train")
    nothing = pl.Series([[]], dtype=pl.List(pl.List(pl.Float32)))
    pl.DataFrame({"image": [picture], "faces": nothing, "landmarks": nothing, "ignore": nothing}).write_parquet(
        tmp_path / "train.parquet"
    )
    done = mien("evaluate", "haar", "--task", "detect", "--data", tmp_path / "train.parquet")
    assert done.code == 1
    assert "held out" in done.err


@pytest.mark.slow
@pytest.mark.usefixtures("two_small_sizes")
def test_a_browser_shows_it_without_a_complaint(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    write_photographs(tmp_path / "photographs.parquet", astronaut)
    data = tmp_path / "photographs.parquet"
    assert mien("evaluate", "haar", "--task", "detect", "--data", data, "--out", tmp_path / "scores").code == 0
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme="dark")
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto((tmp_path / "scores" / "detection.html").as_uri())
        for width in (380, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert said == []
