from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.faces import Faces
from mien.labels import LABELS
from mien.tracking.episodes import Episode, EpisodeFinder

HAPPY, NEUTRAL = LABELS.index("happy"), LABELS.index("neutral")


def frame(time: float, people: dict[int, dict[str, float]]) -> Faces:
    """People with the probabilities that are given; the rest is shared by the other expressions."""
    count = len(people)
    probs = np.empty((count, len(LABELS)), np.float32)
    for row, known in zip(probs, people.values(), strict=True):
        row[:] = (1 - sum(known.values())) / (len(LABELS) - len(known))
        for label, p in known.items():
            row[LABELS.index(label)] = p
    return Faces(
        np.zeros((count, 4), np.float32), np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32), probs,
        np.array(list(people), np.int64), time=time, source="film.mp4",
    )  # fmt: skip


def curve(happy: list[float], fps: float = 10, finder: EpisodeFinder | None = None) -> list[Episode]:
    """The episodes of one person whose probability of happy goes like this."""
    finder = finder or EpisodeFinder()
    found = []
    for k, p in enumerate(happy):
        found += finder.update(frame(k / fps, {1: {"happy": p}}))
    return found + finder.close()


def test_one_episode_with_onset_apex_and_offset() -> None:
    probabilities = [0.2, 0.4, 0.5, 0.7, 0.9, 0.9, 0.6, 0.4, 0.3, 0.2]
    inside = probabilities[2:8]
    (episode,) = curve(probabilities)
    assert (episode.source, episode.id, episode.label) == ("film.mp4", 1, "happy")
    assert (episode.onset, episode.apex, episode.offset) == pytest.approx((0.2, 0.4, 0.8))
    assert episode.peak == pytest.approx(0.9)
    assert episode.mean == pytest.approx(np.mean(inside))
    assert episode.frames == len(inside)
    assert episode.duration == pytest.approx(0.6)
    with pytest.raises(FrozenInstanceError):
        episode.label = "sad"  # type: ignore[misc]


def test_hysteresis_makes_one_episode_of_a_trembling_probability() -> None:
    trembling = [0.2, *[0.52, 0.45, 0.38] * 10, 0.2]
    assert len(curve(trembling)) == 1
    assert len(curve(trembling, finder=EpisodeFinder(enter=0.5, leave=0.5, min_duration=0))) == 10


def test_between_the_thresholds_nothing_begins() -> None:
    assert curve([0.45] * 30) == []


def test_short_ones_are_left_out() -> None:
    assert curve([0.2, 0.9, 0.9, 0.2, 0.2]) == []
    assert len(curve([0.2, 0.9, 0.9, 0.9, 0.2])) == 1
    assert len(curve([0.2, 0.9, 0.9, 0.2, 0.2], finder=EpisodeFinder(min_duration=0.1))) == 1


def test_minimum_duration_is_in_seconds() -> None:
    assert len(curve([0.2, 0.9, 0.9, 0.2], fps=2)) == 1
    assert curve([0.2, 0.9, 0.9, 0.2], fps=100) == []


def test_one_expression_follows_another_without_a_gap() -> None:
    finder = EpisodeFinder()
    found = []
    for k in range(30):
        found += finder.update(frame(k / 10, {1: {"happy": 0.8} if k < 15 else {"neutral": 0.6, "happy": 0.38}}))
    found += finder.close()
    assert [(e.label, e.onset, e.offset) for e in found] == [("happy", 0.0, 1.5), ("neutral", 1.5, 2.9)]


def test_the_end_of_the_source_ends_the_episode() -> None:
    (episode,) = curve([0.9] * 11)
    assert (episode.onset, episode.offset) == (0.0, 1.0)


def test_a_short_absence_does_not_end_it_and_a_long_one_does() -> None:
    for missing, count in ((5, 1), (20, 2)):
        finder = EpisodeFinder()
        found = []
        for k in range(40 + missing):
            there = not 20 <= k < 20 + missing
            found += finder.update(frame(k / 10, {1: {"happy": 0.9}} if there else {}))
        found += finder.close()
        assert len(found) == count
        assert sum(e.frames for e in found) == 40
    assert found[0].offset == pytest.approx(1.9)


def test_episodes_come_as_soon_as_they_end() -> None:
    finder = EpisodeFinder()
    came = [k for k, p in enumerate([0.9] * 6 + [0.1] * 6) if finder.update(frame(k / 10, {1: {"happy": p}}))]
    assert came == [6]
    assert finder.close() == []


def test_people_have_their_own_episodes_and_strangers_none() -> None:
    finder = EpisodeFinder()
    for k in range(10):
        assert finder.update(frame(k / 10, {2: {"happy": 0.9}, 1: {"sad": 0.7}, 0: {"fear": 0.9}})) == []
    assert [(e.id, e.label) for e in finder.close()] == [(1, "sad"), (2, "happy")]


def test_low_frame_rate_keeps_an_episode_whole() -> None:
    (episode,) = curve([0.9] * 6, fps=0.5)
    assert episode.duration == 10


def test_memory_is_bounded_by_who_is_there() -> None:
    finder = EpisodeFinder()
    for k in range(2000):
        finder.update(frame(k / 10, {1 + k // 20: {"happy": 0.9}}))
    assert len(finder._open) <= 2


def test_time_that_steps_back_ends_what_was_open() -> None:
    finder = EpisodeFinder()
    for k in range(10):
        finder.update(frame(5 + k / 10, {1: {"happy": 0.9}}))
    (episode,) = finder.update(frame(0.0, {2: {"happy": 0.9}}))
    assert (episode.id, episode.onset) == (1, 5.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.5), st.integers(0, 6), st.floats(0.2, 1.0)), min_size=1, max_size=60))
def test_episodes_are_in_order_apart_and_dominant(frames: list[tuple[float, int, float]]) -> None:
    finder, time = EpisodeFinder(), 0.0
    found: list[Episode] = []
    for dt, label, p in frames:
        time += dt
        found += finder.update(frame(time, {1: {LABELS[label]: p}}))
    found += finder.close()
    for e in found:
        assert e.onset <= e.apex <= e.offset <= time
        assert e.duration >= finder.min_duration
        assert 0.35 <= e.mean <= e.peak + 1e-6
        assert e.peak >= 0.5
    for one, following in pairwise(found):
        assert one.offset <= following.onset


def test_what_cannot_have_episodes_is_refused() -> None:
    faces = frame(0.0, {1: {"happy": 0.9}})
    with pytest.raises(ValueError, match="faces need ids"):
        EpisodeFinder().update(faces.replace(ids=None))
    with pytest.raises(ValueError, match="faces need probs"):
        EpisodeFinder().update(faces.replace(probs=None))
    with pytest.raises(ValueError, match="0 < leave <= enter <= 1"):
        EpisodeFinder(enter=0.3, leave=0.5)


def test_another_source_has_people_of_its_own() -> None:
    finder = EpisodeFinder()
    found = []
    for source in ("a.mp4", "b.mp4"):
        for k in range(10):
            found += finder.update(frame(k / 10, {1: {"happy": 0.9}}).replace(source=source))
    found += finder.close()
    assert [(one.source, one.onset, one.offset, one.frames) for one in found] == [
        ("a.mp4", 0, 0.9, 10),
        ("b.mp4", 0, 0.9, 10),
    ]
