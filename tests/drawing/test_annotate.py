"""Marks lie inside the picture, beside the faces and clear of each other, and the picture is otherwise untouched."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from mien.drawing.annotate import COLOURS, Rect, annotate, layout
from mien.faces import Faces
from mien.labels import LABELS, UNCERTAIN


def faces_at(boxes: ArrayLike, best: str = "happy", share: float = 0.9) -> Faces:
    places = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(places)
    probs = np.full((n, 7), (1 - share) / 6, np.float32)
    probs[:, LABELS.index(best)] = share
    return Faces(places, np.full(n, 0.8, np.float32), np.full((n, 5, 2), np.nan, np.float32), probs)


def grey(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 120, np.uint8)


def overlap(a: Rect, b: Rect) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def inside(rect: Rect, width: int, height: int) -> bool:
    return 0 <= rect[0] < rect[2] <= width and 0 <= rect[1] < rect[3] <= height


def test_there_is_a_colour_for_every_label() -> None:
    assert set(COLOURS) == {*LABELS, UNCERTAIN}
    assert len(set(COLOURS.values())) == len(COLOURS)


@pytest.mark.parametrize("colour", COLOURS.values())
def test_dark_text_can_be_read_on_every_chip(colour: tuple[int, int, int]) -> None:
    def luminance(rgb: tuple[int, int, int]) -> float:  # WCAG 2.1
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert (luminance(colour) + 0.05) / (luminance((19, 21, 26)) + 0.05) > 4.5


def test_input_is_untouched_and_result_is_a_new_picture() -> None:
    image = grey(300, 200)
    image.flags.writeable = False
    result = annotate(image, faces_at([100, 50, 180, 150]))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert (image == 120).all()
    assert (result != 120).any()


def test_no_face_no_change() -> None:
    assert (annotate(grey(30, 20), Faces.none()) == 120).all()


def test_nothing_is_drawn_over_the_face_itself() -> None:
    result = annotate(grey(640, 480), faces_at([[100, 80, 220, 230], [380, 150, 500, 300]]))
    for x, y in ((100, 80), (380, 150)):
        assert (result[y + 8 : y + 142, x + 8 : x + 112] == 120).all()  # within its rounded corners
        assert (result[y - 1 : y + 4, x + 20 : x + 100] != 120).any(), "the frame"


def test_the_frame_has_the_colour_of_the_expression() -> None:
    for label in LABELS:
        result = annotate(grey(400, 400), faces_at([100, 100, 220, 250], best=label))
        assert result[175, 101].tolist() == list(COLOURS[label])


def test_bars_are_as_long_as_the_probabilities() -> None:
    faces = faces_at([100, 80, 300, 320], "sad", 0.8)
    (mark,) = layout(faces, 800, 600)
    assert mark.panel is not None
    x1, y1, x2, y2 = mark.panel
    panel = annotate(grey(800, 600), faces)[y1:y2, x1:x2].astype(int)

    def bar(label: str) -> int:
        return int((np.abs(panel - COLOURS[label]).sum(2) < 8).any(0).sum())

    assert bar("sad") > 3 * bar("angry") > 0


def test_uncertain_faces_look_uncertain() -> None:
    faces = faces_at([100, 100, 220, 250], share=0.4)
    (mark,) = layout(faces, 400, 400, min_confidence=0.5)
    assert mark.text.startswith("uncertain")
    assert mark.colour == COLOURS[UNCERTAIN]
    (mark,) = layout(faces, 400, 400, min_confidence=0.3)
    assert mark.text == "happy 40%"


def test_unclassified_faces_show_the_detector_score() -> None:
    (mark,) = layout(faces_at([100, 100, 220, 250]).replace(probs=None), 400, 400)
    assert mark.text == "face 80%"
    assert mark.panel is None


def test_tracks_show_their_id() -> None:
    (mark,) = layout(faces_at([100, 100, 220, 250]).replace(ids=np.array([12])), 400, 400)
    assert mark.text == "12 happy 90%"


def test_who_is_not_confirmed_yet_is_not_drawn() -> None:
    faces = faces_at([[100, 100, 220, 250], [260, 100, 380, 250]]).replace(ids=np.array([0, 3]))
    (mark,) = layout(faces, 400, 400)
    assert mark.text.startswith("3 ")
    assert (annotate(grey(400, 400), faces.select([0])) == 120).all()


def test_small_faces_have_the_chip_alone() -> None:
    large, small = layout(faces_at([[50, 50, 200, 230], [400, 300, 424, 330]]), 640, 480)
    assert large.panel is not None
    assert small.panel is None
    assert small.chip is not None


@pytest.mark.parametrize("side", [64, 128, 512, 1500, 4000])
def test_marks_grow_with_the_picture(side: int) -> None:
    (mark,) = layout(faces_at(np.array([0.3, 0.3, 0.6, 0.65]) * side), side, side)
    assert mark.chip is not None
    assert inside(mark.chip, side, side)
    assert not overlap(mark.chip, mark.box)
    assert mark.chip[3] - mark.chip[1] >= side / 40
    assert (mark.panel is not None) == (side >= 512)
    if mark.panel is not None:
        assert mark.panel[3] - mark.panel[1] >= side / 8


def test_a_face_that_fills_the_picture_keeps_its_label() -> None:
    (mark,) = layout(faces_at([-20, -20, 140, 140]), 120, 120)
    assert mark.box == (0, 0, 120, 120)
    assert mark.chip is not None
    assert mark.chip[1] > 60, "on the chin, not on the eyes"
    assert mark.panel is None


def test_faces_outside_and_pictures_too_small_for_text() -> None:
    assert layout(faces_at([200, 200, 250, 250]), 100, 100) == []
    (mark,) = layout(faces_at([2, 2, 10, 10]), 12, 12)
    assert mark.chip is None
    assert annotate(grey(1, 1), faces_at([0, 0, 1, 1])).shape == (1, 1, 3)
    assert annotate(grey(500, 3), faces_at([10, 0, 14, 3])).shape == (3, 500, 3)


def test_a_group_is_labelled_without_collisions() -> None:
    boxes = [[x, y, x + 90, y + 110] for y in (60, 300) for x in range(40, 900, 170)]
    marks = layout(faces_at(boxes), 1000, 500)
    chips = [mark.chip for mark in marks if mark.chip is not None]
    assert len(chips) == len(boxes)
    assert not any(overlap(a, b) for a, b in combinations([*chips, *(mark.box for mark in marks)], 2))


def test_bars_cover_nobody_elses_head() -> None:
    """A large face with bars, and a small one without anywhere on its right: hair and chin reach beyond the box."""
    for left in range(425, 700, 5):
        large, small = layout(faces_at([[300, 130, 420, 270], [left, 190, left + 50, 250]]), 900, 460)
        assert large.panel is not None
        assert small.panel is None
        assert not overlap(large.panel, (left - 9, 168, left + 59, 261)), left


def test_neutral_can_be_seen_on_paper_and_on_a_dark_page() -> None:
    def luminance(rgb: tuple[int, int, int]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for behind in ((255, 255, 255), (25, 28, 34)):  # WCAG 2.2 asks 3 to 1 of what is drawn
        light, dark = sorted((luminance(COLOURS["neutral"]), luminance(behind)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Faces, int, int]:
    width, height = draw(st.integers(1, 2000)), draw(st.integers(1, 2000))
    boxes = []
    for _ in range(draw(st.integers(0, 12))):
        x, y = draw(st.floats(-50, width + 50)), draw(st.floats(-50, height + 50))
        size = draw(st.floats(1, max(width, height)))
        boxes.append([x, y, x + size, y + size * draw(st.floats(0.7, 1.5))])
    return faces_at(boxes), width, height


@settings(max_examples=100, deadline=None, database=None)
@given(pictures())
def test_any_faces_anywhere(picture: tuple[Faces, int, int]) -> None:
    faces, width, height = picture
    marks = layout(faces, width, height)
    boxes = [mark.box for mark in marks]
    panels = [mark.panel for mark in marks if mark.panel is not None]
    chips = [mark.chip for mark in marks if mark.chip is not None]
    assert all(inside(rect, width, height) for rect in boxes + panels + chips)
    for i, panel in enumerate(panels):
        assert not any(overlap(panel, other) for other in boxes + chips + panels[:i])


@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480), (3000, 200)])
def test_a_real_face(astronaut: NDArray[np.uint8], width: int, height: int) -> None:
    image = np.ascontiguousarray(np.resize(astronaut, (height, width, 3)))
    result = annotate(image, faces_at([width * 0.4, height * 0.2, width * 0.5, height * 0.6]))
    assert (result != image).any()
