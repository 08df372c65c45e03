"""A detector's training pictures: what is drawn of photographs, crops and mistakes, and where the faces are then."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import BOX, LANDMARKS, marked
from numpy.typing import NDArray
from training_sets import PLAIN_SCENES

from mien.data.photographs import Photograph
from mien.training.detector.drawn import draw_clutter
from mien.training.detector.mistakes import find_mistakes
from mien.training.detector.scenes import Studio
from mien.training.recipe import SceneTable
from mien.vision.detect import load_detector

DOTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])
MIRRORED = [1, 0, 2, 4, 3]


def dotted() -> Photograph:
    """A face that is an oval with a dot of its own colour at each landmark."""
    image = np.full((300, 260, 3), 40, np.uint8)
    box, points = np.array([60, 70, 200, 250]), np.array([[95, 130], [165, 130], [130, 170], [105, 205], [155, 205]])
    cv2.ellipse(image, (130, 160), (70, 90), 0, 0, 360, (128, 128, 128), -1)
    for point, colour in zip(points, DOTS, strict=True):
        cv2.circle(image, point.tolist(), 11, colour.tolist(), -1)
    return marked(image, [box], [points])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
@settings(max_examples=60, deadline=None)
def test_landmarks_and_boxes_stay_on_their_faces(seed: int, natural: int) -> None:
    table = SceneTable.model_validate(PLAIN_SCENES | {"smallest": 60, "tiles": [1], "natural": natural})
    studio = Studio([dotted()], np.empty((0, 48, 48), np.uint8), table)
    scene = studio.compose(0, 320, np.random.default_rng(seed))
    for box, points in zip(scene.boxes, scene.landmarks, strict=True):
        seen = scene.image[tuple(points.clip(0, 319).astype(int).T[::-1])].astype(int)
        # Light changes colours, but not which channels are bright.
        bright = seen > (seen.min(1, keepdims=True) + seen.max(1, keepdims=True)) / 2
        inside = ((points > 2) & (points < 318)).all(1)
        for order in (DOTS, DOTS[MIRRORED]):
            if (bright == (order > 128))[inside].all():
                break
        else:
            raise AssertionError(f"no landmark's own colour at {points}")
        center = (box[:2] + box[2:]) / 2
        assert np.abs(points.mean(0) - center).max() < 0.25 * np.max(box[2:] - box[:2])
        assert ((points > box[:2]) & (points < box[2:])).all()


@pytest.mark.parametrize("seed", range(40))  # not any: one turn in 200 has corners larger than that
def test_a_picture_as_it_was_taken_shows_as_much_as_fits_in(seed: int) -> None:
    """A photograph larger than the picture fills it, wherever in it the face is, less the corners of a slight turn."""
    red = marked(np.full((400, 400, 3), (200, 0, 0), np.uint8), [BOX], [LANDMARKS])
    studio = Studio([red], np.empty((0, 48, 48), np.uint8), SceneTable.model_validate(PLAIN_SCENES | {"natural": 1}))
    scene = studio.compose(0, 160, np.random.default_rng(seed))
    assert (scene.image[..., 0] > 1.5 * scene.image[..., 1:].max(2)).mean() > 0.85, "the light may have changed"


def test_a_scene_is_its_seed(astronaut: NDArray[np.uint8]) -> None:
    pictures = [marked(astronaut, [BOX], [LANDMARKS]), marked(astronaut[:300, 260:])]
    crops = np.full((2, 48, 48), 200, np.uint8)
    studio = Studio(pictures, crops, SceneTable(paste=1, occlude=1))
    one, same, other = (studio.compose(0, 160, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image, other.image)


def test_pasted_faces_have_boxes_but_no_landmarks() -> None:
    empty = marked(np.full((200, 200, 3), 90, np.uint8))
    studio = Studio(
        [empty], np.full((3, 48, 48), 255, np.uint8), SceneTable.model_validate(PLAIN_SCENES | {"paste": 1})
    )
    scenes = [studio.compose(0, 256, np.random.default_rng(seed)) for seed in range(8)]
    assert all(len(scene.boxes) for scene in scenes)
    for scene in scenes:
        assert np.isnan(scene.landmarks).all()
        for box in scene.boxes:
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            corner = scene.image[0, 0].astype(int)
            assert scene.image[y, x].astype(int).sum() > corner.sum(), "the face is brighter than the wall"


def test_a_crop_fills_a_tile_and_its_face_lies_in_the_middle() -> None:
    empty, crop = marked(np.full((200, 200, 3), 90, np.uint8)), np.full((1, 48, 48), 200, np.uint8)
    studio = Studio([empty], crop, SceneTable.model_validate(PLAIN_SCENES | {"tiles": [1], "frames": 1}))
    for seed in range(8):
        scene = studio.compose(0, 128, np.random.default_rng(seed))
        assert np.ptp(scene.image, axis=(0, 1)).max() <= 1, "nothing else is seen"
        ((x1, y1, x2, y2),) = scene.boxes
        assert x1 < 64 < x2 and y1 < 64 < y2
        assert y2 - y1 > 0.8 * 128
        assert np.isnan(scene.landmarks).all()


def test_mistakes_are_shown_near_the_middle_and_are_no_faces() -> None:
    pixels = np.full((300, 300, 3), 40, np.uint8)
    pixels[200:240, 30:70] = (0, 255, 0)
    mistake = (0, np.array([30, 200, 70, 240], np.float32))
    table = SceneTable.model_validate(PLAIN_SCENES | {"tiles": [1], "mistakes": 1, "close": 1})
    studio = Studio([marked(pixels)], np.empty((0, 48, 48), np.uint8), table, [mistake])
    for seed in range(8):
        scene = studio.compose(0, 128, np.random.default_rng(seed))
        green = (scene.image[..., 1] > scene.image[..., 0].astype(int) + 50).mean()
        assert green > 0.04, "a third of the side or more, half of it in the picture"
        assert not len(scene.boxes)


def test_letters_and_dots_are_drawn_and_are_no_faces() -> None:
    """In every tile but the photograph's own."""
    table = SceneTable.model_validate(PLAIN_SCENES | {"tiles": [0, 1], "drawn": 1})
    studio = Studio([dotted()], np.empty((0, 48, 48), np.uint8), table)
    for seed in range(8):
        scene = studio.compose(0, 256, np.random.default_rng(seed))
        assert len(scene.boxes) <= 1
    pictures = [np.zeros((120, 160, 3), np.uint8) for _ in range(40)]
    for seed, picture in enumerate(pictures):
        draw_clutter(picture, np.random.default_rng(seed))
    edges = [float(cv2.Laplacian(picture, cv2.CV_32F).std()) for picture in pictures]
    assert sum(edge > 5 for edge in edges) > 30
    again = np.zeros_like(pictures[0])
    draw_clutter(again, np.random.default_rng(0))
    np.testing.assert_array_equal(again, pictures[0])


def test_hard_negatives_are_detections_where_no_face_is(astronaut: NDArray[np.uint8]) -> None:
    detector = load_detector("mien", threads=1)
    unmarked, known = marked(astronaut), marked(astronaut, [BOX], [LANDMARKS])
    doubtful = marked(astronaut, ignore=[BOX])
    found = find_mistakes([known, unmarked, doubtful], detector)
    assert {index for index, _ in found} == {1}
    for _, box in found:
        assert np.abs(box - BOX).max() < 25


def test_turned_faces_are_drawn_more_often(astronaut: NDArray[np.uint8]) -> None:
    """Two faces side by side: the right one is in the dark, and its nose stands far aside."""
    right = np.array([512, 0])
    aside = np.array(LANDMARKS) + right
    aside[2] += (30, 0)
    boxes = [BOX, np.array(BOX) + np.tile(right, 2)]
    pair = marked(np.concatenate([astronaut, astronaut // 4], 1), boxes, [LANDMARKS, aside])

    def dark_scenes(turned: float) -> int:
        table = SceneTable.model_validate(PLAIN_SCENES | {"tiles": [1], "close": 1, "turned": turned})
        studio = Studio([pair], np.empty((0, 48, 48), np.uint8), table)
        scenes = (studio.compose(0, 96, np.random.default_rng(seed)) for seed in range(60))
        return sum(bool(scene.image.mean() < 60) for scene in scenes)

    assert dark_scenes(50) > dark_scenes(1) + 10


def test_what_is_cut_or_tiny_is_ignored(astronaut: NDArray[np.uint8]) -> None:
    table = SceneTable.model_validate(PLAIN_SCENES | {"smallest": 4, "tiles": [0, 0, 1]})
    studio = Studio([marked(astronaut, [BOX], [LANDMARKS])], np.empty((0, 48, 48), np.uint8), table)
    scenes = [studio.compose(0, 200, np.random.default_rng(seed)) for seed in range(30)]
    sides = np.concatenate([np.sqrt(np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)) for scene in scenes])
    assert sides.min() >= 4 * 0.85
    assert sum(len(scene.ignore) for scene in scenes) > 0


# Cells
