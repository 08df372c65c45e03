from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.faces import Faces
from mien.labels import LABELS
from mien.tracking.quality import pose, quality, sharpness, size
from mien.tracking.smoother import Smoother

HAPPY, SAD = LABELS.index("happy"), LABELS.index("sad")


def probs_of(label: int, confidence: float = 0.6) -> NDArray[np.float32]:
    probs = np.full(len(LABELS), (1 - confidence) / (len(LABELS) - 1), np.float32)
    probs[label] = confidence
    return probs


def seen(time: float, probs: NDArray[np.float32], good: float | None = 1.0, person: int = 1) -> Faces:
    return Faces(
        np.array([[0, 0, 50, 50]], np.float32), np.ones(1, np.float32), np.full((1, 5, 2), np.nan, np.float32),
        probs[None], np.array([person]), quality=None if good is None else np.array([good], np.float32), time=time,
    )  # fmt: skip


def smoothed(smoother: Smoother, faces: Faces) -> NDArray[np.float32]:
    probs = smoother.update(faces).probs
    assert probs is not None
    first: NDArray[np.float32] = probs[0]
    return first


def switch_time(times: NDArray[np.float64], change: float = 1.0, confidence: float = 0.6, good: float = 1.0) -> float:
    """Seconds after a change from happy to sad at which sad leads."""
    smoother = Smoother()
    for t in times:
        probs = smoothed(smoother, seen(t, probs_of(HAPPY if t < change else SAD, confidence), good))
        if t >= change and probs.argmax() == SAD:
            return float(t - change)
    raise AssertionError("never switched")


def test_a_person_begins_with_the_first_frames_own_probabilities() -> None:
    np.testing.assert_allclose(smoothed(Smoother(), seen(3.0, probs_of(SAD))), probs_of(SAD), atol=1e-5)


def test_raw_probabilities_are_kept() -> None:
    smoother = Smoother()
    smoother.update(seen(0.0, probs_of(HAPPY)))
    after = smoother.update(seen(0.04, probs_of(SAD)))
    assert after.raw_probs is not None
    assert after.probs is not None
    np.testing.assert_array_equal(after.raw_probs[0], probs_of(SAD))
    assert after.probs.sum() == pytest.approx(1, abs=1e-5)
    assert after.probs[0].argmax() == HAPPY


def test_a_single_wrong_frame_does_not_flicker_and_a_true_change_comes_through() -> None:
    smoother = Smoother()
    labels = [SAD if k == 25 or k >= 50 else HAPPY for k in range(75)]
    read = [int(smoothed(smoother, seen(k / 25, probs_of(label))).argmax()) for k, label in enumerate(labels)]
    assert read[:50] == [HAPPY] * 50
    assert read[60:] == [SAD] * 15
    assert np.count_nonzero(np.diff(read)) == 1


@pytest.mark.parametrize("confidence", [0.4, 0.6, 0.9])
def test_halving_the_frame_rate_does_not_change_the_time_behaviour(confidence: float) -> None:
    delays = [switch_time(np.arange(0, 4, 1 / fps), confidence=confidence) for fps in (100, 50, 25)]
    assert max(delays) - min(delays) < 1 / 25 + 1e-6


def test_probabilities_at_one_time_do_not_hang_on_the_frame_rate() -> None:
    ends = []
    for fps in (100, 50, 25):
        smoother = Smoother()
        for t in np.arange(fps + 1) / fps:
            probs = smoothed(smoother, seen(t, probs_of(HAPPY if t <= 0.8 else SAD, 0.4)))
        ends.append(probs)
    np.testing.assert_allclose(ends[0], ends[1], atol=0.03)
    np.testing.assert_allclose(ends[0], ends[2], atol=0.08)


def test_uneven_frames_switch_in_the_same_time() -> None:
    steps = np.random.default_rng(0).choice([0.01, 0.02, 0.04, 0.06], 400)
    uneven = np.cumsum(steps)
    change = float(uneven[uneven >= 2][0])
    assert switch_time(uneven, change) == pytest.approx(switch_time(np.arange(0, 4, 0.04)), abs=0.06)


def test_clear_faces_switch_sooner() -> None:
    even = np.arange(0, 6, 0.04)
    assert switch_time(even, confidence=0.95) < switch_time(even, confidence=0.5)
    assert switch_time(even, good=0.9) < switch_time(even, good=0.3)


def test_a_face_that_cannot_be_read_says_nothing() -> None:
    smoother = Smoother()
    for k in range(10):
        before = smoothed(smoother, seen(k / 25, probs_of(HAPPY)))
    after = smoothed(smoother, seen(10 / 25, probs_of(SAD, 0.99), good=0.0))
    assert after.argmax() == HAPPY
    assert after.max() <= before.max()


def test_a_longer_time_constant_is_calmer() -> None:
    fast, slow = Smoother(0.04), Smoother(0.3)
    for k in range(20):
        for smoother in (fast, slow):
            smoother.update(seen(k / 25, probs_of(HAPPY)))
    for k in range(20, 26):
        quick, calm = (smoothed(s, seen(k / 25, probs_of(SAD))) for s in (fast, slow))
    assert quick.argmax() == SAD
    assert calm.argmax() == HAPPY


def test_people_do_not_disturb_each_other() -> None:
    alone, together = Smoother(), Smoother()
    rng = np.random.default_rng(0)
    for k in range(30):
        one, two = rng.dirichlet(np.ones(7), 2).astype(np.float32)
        first = seen(k / 25, one)
        both = Faces(
            np.repeat(first.boxes, 2, 0), np.ones(2, np.float32), np.repeat(first.landmarks, 2, 0),
            np.stack([two, one]), np.array([2, 1]), time=k / 25, quality=np.ones(2, np.float32),
        )  # fmt: skip
        probs = together.update(both).probs
        assert probs is not None
        np.testing.assert_allclose(probs[1], smoothed(alone, first), atol=1e-6)


def test_a_person_gone_for_long_is_forgotten() -> None:
    smoother = Smoother()
    for k in range(25):
        smoother.update(seen(k / 25, probs_of(HAPPY)))
    for k in range(25, 100):
        smoother.update(Faces.none(ids=[], probs=np.empty((0, 7)), time=k / 25))
    np.testing.assert_allclose(smoothed(smoother, seen(4.0, probs_of(SAD))), probs_of(SAD), atol=1e-5)


def test_who_is_not_followed_is_not_smoothed() -> None:
    smoother = Smoother()
    smoother.update(seen(0.0, probs_of(HAPPY), person=0))
    np.testing.assert_array_equal(smoothed(smoother, seen(0.04, probs_of(SAD), person=0)), probs_of(SAD))


def test_quality_may_be_unknown() -> None:
    smoother = Smoother()
    smoother.update(seen(0.0, probs_of(HAPPY), good=None))
    assert smoother.update(seen(0.04, probs_of(HAPPY), good=None)).quality is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=30))
def test_always_probabilities(frames: list[tuple[float, int, float]]) -> None:
    smoother, time = Smoother(), 0.0
    for dt, label, good in frames:
        time += dt
        probs = smoothed(smoother, seen(time, np.eye(7, dtype=np.float32)[label], good))
        assert np.isfinite(probs).all()
        assert (probs >= 0).all()
        assert probs.sum() == pytest.approx(1, abs=1e-4)


def test_faces_without_ids_or_probs_are_refused() -> None:
    faces = seen(0.0, probs_of(HAPPY))
    with pytest.raises(ValueError, match="faces need ids"):
        Smoother().update(faces.replace(ids=None))
    with pytest.raises(ValueError, match="faces need probs"):
        Smoother().update(faces.replace(probs=None))
    with pytest.raises(ValueError, match="time_constant should be more than 0"):
        Smoother(0.0)


FRONTAL = np.array([[0.328, 0.39], [0.672, 0.39], [0.5, 0.58], [0.352, 0.742], [0.648, 0.742]])


def face_at(x: float, y: float, side: float, score: float = 0.9, landmarks: NDArray[np.float64] = FRONTAL) -> Faces:
    return Faces(
        np.array([[x, y, x + side, y + side]], np.float32), np.array([score], np.float32),
        (landmarks * side + [x, y])[None].astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def portrait(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The astronaut's face, 100 x 100."""
    return astronaut[70:170, 175:275]


def test_quality_is_high_for_a_good_face(portrait: NDArray[np.uint8]) -> None:
    found = quality(portrait, face_at(0, 0, 100))
    assert found.dtype == np.float32
    assert 0.7 < found[0] <= 1


def test_quality_falls_with_blur(portrait: NDArray[np.uint8]) -> None:
    blurred = [portrait, *(cv2.GaussianBlur(portrait, (0, 0), sigma) for sigma in (2, 4, 8))]
    found = [float(quality(np.asarray(image, np.uint8), face_at(0, 0, 100))[0]) for image in blurred]
    assert found == sorted(found, reverse=True)
    assert found[3] < found[0] / 2


def test_quality_falls_with_smallness(portrait: NDArray[np.uint8]) -> None:
    found = []
    for side in (100, 48, 24, 12, 6):
        small = np.asarray(cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        found.append(float(quality(small, face_at(0, 0, side))[0]))
    assert found == sorted(found, reverse=True)
    assert found[4] < found[0] / 3


def test_contrast_and_light_are_not_sharpness(portrait: NDArray[np.uint8]) -> None:
    dim = (portrait * 0.5 + 20).astype(np.uint8)
    faces = face_at(0, 0, 100)
    assert sharpness(dim, faces)[0] == pytest.approx(float(sharpness(portrait, faces)[0]), abs=0.03)


@pytest.mark.parametrize("roll", [0.0, 30.0, -90.0])
def test_pose_is_the_cosine_of_the_yaw_and_roll_does_not_count(roll: float) -> None:
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    values = []
    for yaw in (0, 30, 60):
        # A head of radius 1 seen from the front: eyes 30 degrees to the sides, the nose standing out.
        azimuth = np.radians([yaw - 30, yaw + 30, yaw])
        x = np.sin(azimuth) * [1, 1, 1.25]
        points = np.stack([np.append(x, [0, 0]), [0, 0, 0.5, 1, 1]], 1)
        values.append(float(pose(face_at(0, 0, 100, landmarks=points @ turn.T))[0]))
    np.testing.assert_allclose(values, np.cos(np.radians([0, 30, 60])), atol=0.03)


def test_unknown_landmarks_are_taken_as_frontal() -> None:
    assert pose(seen(0.0, probs_of(HAPPY))).tolist() == [1]


def test_quality_falls_with_the_score(portrait: NDArray[np.uint8]) -> None:
    high, low = (float(quality(portrait, face_at(0, 0, 100, score))[0]) for score in (0.9, 0.3))
    assert low == pytest.approx(high / 3, rel=1e-4)


def test_quality_of_a_face_that_is_not_there(portrait: NDArray[np.uint8]) -> None:
    assert quality(portrait, face_at(400, 0, 50)).tolist() == [0]
    assert quality(portrait, face_at(10, 10, 0)).tolist() == [0]
    assert quality(np.full((90, 90, 3), 7, np.uint8), face_at(5, 5, 60)).tolist() == [0]
    assert quality(portrait, Faces.none()).shape == (0,)
    assert size(Faces.none()).shape == pose(Faces.none()).shape == (0,)
