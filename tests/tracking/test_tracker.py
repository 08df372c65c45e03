from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.faces import Faces
from mien.tracking.tracker import Tracker, appearance

Place = tuple[float, float, float]
"""Centre x, y and size in pixels."""


def frame(time: float, places: Iterable[Place], scores: Iterable[float] | None = None) -> Faces:
    found = np.array(list(places), np.float32).reshape(-1, 3)
    half = found[:, 2:] / 2
    return Faces(
        np.concatenate([found[:, :2] - half, found[:, :2] + half], 1),
        np.full(len(found), 0.9, np.float32) if scores is None else np.array(list(scores), np.float32),
        np.full((len(found), 5, 2), np.nan, np.float32),
        time=time,
    )


def follow(tracker: Tracker, time: float, *places: Place, cut: bool = False) -> list[int]:
    ids = tracker.update(frame(time, places), cut).ids
    assert ids is not None
    return [int(i) for i in ids]


def walk(t: float) -> Place:
    return 100 + 120 * t, 200 + 20 * np.sin(3 * t), 80


def test_people_get_ids_from_left_to_right_and_keep_them() -> None:
    tracker = Tracker()
    for k in range(50):
        t = k / 25
        assert follow(tracker, t, (700 - 100 * t, 300, 90), walk(t)) == [2, 1]


def test_faces_stay_as_they_are() -> None:
    faces = frame(0.0, [walk(0), (500, 100, 40)])
    followed = Tracker().update(faces)
    assert followed.replace(ids=None).to_dict() == faces.to_dict()


def test_nobody_is_nobody() -> None:
    tracker = Tracker()
    assert follow(tracker, 0.0) == []
    assert follow(tracker, 0.04, walk(0)) == [0]
    assert follow(tracker, 0.08) == []


def test_who_appears_within_a_shot_is_confirmed_first() -> None:
    """What is there for a frame or two is not shown as somebody; at few frames a second it takes two."""
    tracker = Tracker()
    assert follow(tracker, 0.0, walk(0)) == [1]
    ids = [follow(tracker, k / 25, walk(k / 25), (900, 500, 60)) for k in range(1, 6)]
    assert ids == [[1, 0], [1, 0], [1, 2], [1, 2], [1, 2]]
    flashes = Tracker()
    follow(flashes, 0.0, walk(0))
    for k in range(1, 60):
        flash = [(900.0, 500.0, 60.0)] if k % 10 < 2 else []
        assert follow(flashes, k / 25, walk(k / 25), *flash)[1:] == [0] * len(flash)
    slow = Tracker()
    assert follow(slow, 0.0) == []
    assert [follow(slow, t, (300, 300, 80)) for t in (1.0, 2.0, 3.0)] == [[0], [1], [1]]


def test_faint_faces_count_where_somebody_is_expected() -> None:
    tracker = Tracker(least_score=0.7)
    followed = []
    for k in range(30):
        faces = frame(k / 25, [walk(k / 25), (900, 500, 60)])
        scores = np.array([0.9 if k < 10 else 0.5, 0.6], np.float32)
        found = tracker.update(faces.replace(scores=scores))
        followed.append((found.ids.tolist() if found.ids is not None else None, found.scores.tolist()))
    assert followed[:10] == [([1], [pytest.approx(0.9)])] * 10
    assert followed[10:] == [([1], [0.5])] * 20


@pytest.mark.parametrize("fps", [5, 12, 25, 60])
def test_crossing_faces_keep_their_ids(fps: int) -> None:
    """Two walk past each other; while they overlap, only the nearer is found."""
    tracker = Tracker()
    for k in range(4 * fps):
        t = k / fps
        near, far = (100 + 200 * t, 300.0, 100.0), (900 - 200 * t, 310.0, 90.0)
        hidden = abs(near[0] - far[0]) < 60
        ids = follow(tracker, t, near) if hidden else follow(tracker, t, near, far)
        assert ids == ([1] if hidden else [1, 2])


@pytest.mark.parametrize("turn_back", [False, True])
def test_embeddings_tell_who_came_out_of_a_meeting(turn_back: bool) -> None:
    """Both stand in one place for a moment; by their motion alone they might have passed or turned back."""
    embeddings = np.eye(2, dtype=np.float32)
    tracker = Tracker()
    for k in range(100):
        t = k / 25
        apart = 300 - 150 * t if t < 2 else (150 * t - 300) * (1 if turn_back else -1)
        faces = frame(t, [(600 - apart, 300, 100), (600 + apart, 302, 98)])
        ids = tracker.update(
            faces.select([0]) if abs(apart) < 40 else faces, embeddings=embeddings[: 1 if abs(apart) < 40 else 2]
        )
        assert ids.ids is not None
        assert ids.ids.tolist() == [1, 2][: len(ids)]


@pytest.mark.parametrize(("gap", "kept"), [(0.2, True), (0.5, True), (0.9, True), (1.5, False), (3.0, False)])
def test_a_short_gap_keeps_the_id(gap: float, kept: bool) -> None:
    tracker = Tracker()
    for k in range(50):
        assert follow(tracker, k / 25, walk(k / 25)) == [1]
    for k in range(50, 50 + round(gap * 25)):
        follow(tracker, k / 25)
    t = 50 / 25 + gap
    assert follow(tracker, t, walk(t)) == [1 if kept else 0]
    assert follow(tracker, t + 0.04, walk(t + 0.04)) == [1 if kept else 0]
    assert follow(tracker, t + 0.08, walk(t + 0.08)) == [1 if kept else 2]


def test_uneven_frames() -> None:
    rng = np.random.default_rng(0)
    tracker, t = Tracker(), 0.0
    while t < 6:
        assert follow(tracker, t, walk(t)) == [1]
        t += rng.choice([0.005, 0.04, 0.2, 0.4])


def test_sitting_still_at_one_frame_a_second() -> None:
    tracker = Tracker()
    for t in range(10):
        assert follow(tracker, float(t), (300, 300, 100), (700, 310, 100)) == [1, 2]


def test_cut_ends_all_tracks_and_ids_are_never_used_again() -> None:
    tracker = Tracker()
    assert follow(tracker, 0.0, walk(0), (700, 300, 90)) == [1, 2]
    assert follow(tracker, 0.04, walk(0.04), (700, 300, 90), cut=True) == [3, 4]
    assert follow(tracker, 0.08, walk(0.08)) == [3]


def test_time_that_steps_back_begins_anew() -> None:
    tracker = Tracker()
    assert follow(tracker, 5.0, walk(0)) == [1]
    assert follow(tracker, 0.0, walk(0)) == [2]
    assert follow(tracker, 0.04, walk(0.04)) == [2]


def test_somebody_far_away_is_somebody_else() -> None:
    tracker = Tracker()
    assert follow(tracker, 0.0, (100, 100, 60)) == [1]
    assert follow(tracker, 0.04, (600, 100, 60)) == [0]
    assert follow(tracker, 0.08, (600, 100, 400)) == [0]
    assert follow(tracker, 0.12, (100, 100, 60)) == [1]


def test_a_shaken_camera_keeps_ids() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker()
    for k in range(100):
        x, y = rng.normal(0, 10, 2)
        assert follow(tracker, k / 25, (300 + x, 300 + y, 80), (600 + x, 300 + y, 80)) == [1, 2]


def test_faint_faces_are_followed_only_when_they_stay() -> None:
    tracker = Tracker()
    ids = [tracker.update(frame(k / 25, [walk(k / 25)], [0.6])).ids for k in range(12)]
    assert [list(i) for i in ids if i is not None] == [[0]] * 10 + [[1]] * 2, "0.4 seconds, however many sightings"
    flicker = Tracker()
    for k in range(40):
        seen = flicker.update(frame(k / 25, [walk(0)] if k % 8 == 0 else [], [0.6] if k % 8 == 0 else []))
        assert seen.ids is not None
        assert not seen.ids.any()


def test_a_faint_face_continues_somebody_followed() -> None:
    tracker = Tracker()
    follow(tracker, 0.0, walk(0))
    faint = tracker.update(frame(0.04, [walk(0.04), (900, 500, 50)], [0.4, 0.4]))
    assert faint.ids is not None
    assert faint.ids.tolist() == [1, 0]


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_faces_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    straight, shuffled = Tracker(), Tracker()
    for k in range(12):
        t = k / 12
        faces = frame(t, [(100 + 230 * i + (60 - 30 * i) * t, 200 + 40 * i, 70 + 5 * i) for i in range(5)])
        faces = faces.select(rng.random(5) < 0.8)
        order = rng.permutation(len(faces))
        expected, ids = straight.update(faces).ids, shuffled.update(faces.select(order)).ids
        assert expected is not None
        assert ids is not None
        assert ids.tolist() == expected[order].tolist()


def test_embeddings_need_one_row_per_face() -> None:
    with pytest.raises(ValueError, match=r"embeddings should have shape \(1, d\), not \(2, 4\)"):
        Tracker().update(frame(0.0, [walk(0)]), embeddings=np.zeros((2, 4), np.float32))


def person(seed: int) -> NDArray[np.uint8]:
    """A coloured pattern, smooth as faces are."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (90, 90), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_appearance_is_of_the_person_not_of_light_or_place() -> None:
    image = np.full((300, 600, 3), 120, np.uint8)
    image[20:110, 30:120] = person(1)
    image[150:240, 400:490] = np.clip(person(1) * 0.7 + 20, 0, 255).astype(np.uint8)
    image[20:110, 300:390] = person(2)
    faces = frame(0, [(75 + 2, 65, 90), (445, 195 + 2, 94), (345, 65, 90)])
    embeddings = appearance(image, faces)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert embeddings[0] @ embeddings[1] > 0.8
    assert embeddings[0] @ embeddings[2] < 0.4


@pytest.mark.parametrize("place", [(-500.0, 50.0, 40.0), (50.0, 50.0, 0.0), (2000.0, 50.0, 40.0)])
def test_appearance_of_what_is_not_there_is_nothing(place: Place) -> None:
    embeddings = appearance(np.zeros((100, 100, 3), np.uint8), frame(0, [place]))
    assert embeddings.shape == (1, 768)
    assert not embeddings.any()


def test_appearance_of_nobody() -> None:
    assert appearance(np.zeros((100, 100, 3), np.uint8), frame(0, [])).shape == (0, 768)


def test_frames_of_another_size_keep_ids_and_of_another_shape_do_not() -> None:
    def sized(time: float, factor: float, *places: Place, height: int = 360) -> list[int]:
        moved = [(x * factor, y * factor, size * factor) for x, y, size in places]
        faces = frame(time, moved).replace(width=round(640 * factor), height=round(height * factor))
        ids = tracker.update(faces).ids
        assert ids is not None
        return [int(i) for i in ids]

    tracker, people = Tracker(), ((150.0, 150.0, 60.0), (330.0, 150.0, 60.0))
    for t in range(10):
        ids = sized(t / 10, 1, *people)
    assert ids == [1, 2]
    assert sized(1.0, 0.5, *people) == [1, 2]
    assert sized(1.1, 2.0, *people) == [1, 2]
    assert sized(1.2, 2.0, *people, height=480) == [3, 4]
