"""A timeline tells who showed what when, in as little memory for an hour as for a minute."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.drawing.annotate import COLOURS
from mien.errors import InputError, OutputError
from mien.faces import Faces
from mien.labels import LABELS
from mien.output.timeline.bins import BINS, Timeline
from mien.output.timeline.lanes import MAX_LANES, OWN_LANES, Stay, assign_lanes
from mien.output.timeline.layout import clock, draw_timeline
from mien.output.timeline.render import save_timeline
from mien.tracking.episodes import Episode


def shown(person: int, label: str, onset: float, offset: float) -> Episode:
    return Episode("films/party.mp4", person, label, onset, onset, offset, 0.9, 0.8, 10)


def showing(time: float, **people: str) -> Faces:
    """A frame in which p1 and others show an expression with certainty."""
    ids = [int(name[1:]) for name in people]
    probs = np.array([[float(label == face) for label in LABELS] for face in people.values()], np.float32)
    n = len(ids)
    return Faces(
        np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.zeros((n, 5, 2), np.float32),
        probs.reshape(n, 7), np.array(ids, np.int64), time=time, source="films/party.mp4",
    )  # fmt: skip


@pytest.fixture
def party() -> Timeline:
    """10 seconds at 25 fps: p1 is happy, then sad, and away from 4 to 6 s; p2 comes in at 5 s."""
    timeline = Timeline()
    for k in range(250):
        t = k / 25
        people = {} if 4 <= t < 6 else {"p1": "happy" if t < 6 else "sad"}
        timeline.add(showing(t, **people, **({"p2": "fear"} if t >= 5 else {}), p0="angry"))
    return timeline


def test_who_was_seen_for_how_long(party: Timeline) -> None:
    assert party.duration == pytest.approx(10)
    assert party.people() == [1, 2], "0 is nobody"
    assert party.seconds(1) == pytest.approx(8, abs=0.1)
    assert party.seconds(2) == pytest.approx(5, abs=0.1)
    assert party.mean(1)[LABELS.index("happy")] == pytest.approx(0.5, abs=0.01)


def test_stretches(party: Timeline) -> None:
    (first, happy), (second, sad) = party.runs(1)
    assert (first[0], first[-1], second[0], second[-1]) == pytest.approx((0, 4, 6, 10), abs=0.05)
    assert (happy[:, LABELS.index("happy")] == 1).all()
    assert (sad[:, LABELS.index("sad")] == 1).all()


def test_few_frames_a_second_are_no_gaps() -> None:
    timeline = Timeline()
    for k in range(20):
        timeline.add(showing(k * 2.0, p1="happy"))
    ((edges, _),) = timeline.runs(1)
    assert edges[-1] == pytest.approx(40, abs=0.1)


def test_memory_does_not_grow_with_time() -> None:
    timeline = Timeline()
    for k in range(5000):
        timeline.add(showing(k * 2.0, p1="happy" if k < 2500 else "sad"))
    assert len(timeline._sums[1]) <= BINS
    assert timeline.seconds(1) == pytest.approx(10_000, rel=0.01)
    ((edges, probs),) = timeline.runs(1)
    middle = edges[:-1][probs[:, LABELS.index("happy")] > 0.5].max()
    assert middle == pytest.approx(5000, abs=2 * timeline._bin)


def test_lanes_stacks_and_episodes(party: Timeline) -> None:
    episodes = [shown(1, "happy", 0.5, 3.9), shown(2, "fear", 5.0, 9.0)]
    scene = draw_timeline(party, episodes)
    texts = [words.text for words in scene.words]
    assert "person 1" in texts
    assert "person 2" in texts
    assert scene.title == "party.mp4"
    assert tuple(label for label, _ in scene.legend) == LABELS
    hints = {area.hint: area for area in scene.areas if area.hint}
    assert "person 1: happy, 0.5 s to 3.9 s, mean probability 80%" in hints
    box, other = (
        hints["person 1: happy, 0.5 s to 3.9 s, mean probability 80%"],
        hints["person 2: fear, 5.0 s to 9.0 s, mean probability 80%"],
    )
    assert box.points[1][0] < other.points[0][0], "later is to the right"
    assert box.points[0][1] < other.points[0][1], "below in the second lane"
    for area in scene.areas:
        assert all(0 <= x <= scene.width and 0 <= y <= scene.height for x, y in area.points)


def test_who_is_seen_for_a_moment_gets_no_lane(party: Timeline) -> None:
    party.add(showing(10.0, p3="happy"))
    scene = draw_timeline(party)
    assert "person 3" not in [words.text for words in scene.words]
    assert "1 more person" in scene.about
    alone = Timeline()
    for k in range(3):
        alone.add(showing(k / 25, p1="happy"))
    assert "person 1" in [words.text for words in draw_timeline(alone).words], "somebody has to be shown"


def test_many_people() -> None:
    timeline = Timeline()
    for k in range(40):
        timeline.add(showing(k / 10, **{f"p{i}": "happy" for i in range(1, 31) if i <= 15 or k < i}))
    scene = draw_timeline(timeline)
    texts = " ".join(words.text for words in scene.words)
    assert texts.count("person ") == MAX_LANES
    assert f"{30 - MAX_LANES} more people" in scene.about


def cuts(shots: int, seconds: float = 1.0) -> Timeline:
    """A film of that many shots with two people in each, everybody new after every cut."""
    timeline = Timeline()
    for k in range(round(25 * shots * seconds)):
        shot = int(k / 25 / seconds)
        timeline.add(showing(k / 25, **{f"p{2 * shot + 1}": "happy", f"p{2 * shot + 2}": "sad"}))
    return timeline


def test_people_of_many_shots_share_lanes() -> None:
    scene = draw_timeline(cuts(40), [shown(k, "happy", (k - 1) // 2, (k + 1) // 2) for k in range(1, 81)])
    assert scene.height < 500, "no staircase"
    assert "more" not in scene.about, "everybody is there"
    names = {words.text.removeprefix("person "): words for words in scene.words if words.anchor == "start"}
    assert {str(k) for k in range(1, 81)} <= set(names)
    assert names["1"].y == names["3"].y != names["2"].y
    assert names["1"].x < names["3"].x < names["79"].x
    assert sum(words.text == "40 people" for words in scene.words) == 2


def test_few_people_have_a_lane_each_even_after_cuts() -> None:
    texts = [words.text for words in draw_timeline(cuts(OWN_LANES // 2)).words]
    assert [text for text in texts if text.startswith("person ")] == [f"person {k + 1}" for k in range(OWN_LANES)]


@pytest.mark.parametrize("shots", [1, 3, 40, 200])
def test_text_can_be_read(shots: int) -> None:
    scene = draw_timeline(cuts(shots), [shown(1, "happy", 0, 1)])
    assert min(words.size for words in scene.words) >= 13


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 30)), max_size=60))
def test_lanes(times: list[tuple[float, float]]) -> None:
    """Nobody is in two lanes, nobody overlaps another, and nobody is left out while few people are there at a time."""
    stays = [Stay(k, start, start + lasts) for k, (start, lasts) in enumerate(times, 1)]
    lanes = assign_lanes(stays)
    placed = [stay.person for lane in lanes for stay in lane]
    assert len(placed) == len(set(placed))
    for lane in lanes:
        for one, other in pairwise(lane):
            assert other.start >= one.end
    most = max((sum(s.start <= stay.start < s.end for s in stays) for stay in stays), default=0)
    if most <= MAX_LANES:
        assert len(placed) == len(stays)
    assert len(lanes) <= max(MAX_LANES, OWN_LANES)
    assert not stays or stays[0].person in placed, "the most important one is there"


@pytest.mark.parametrize("ending", ["png", "html"])
def test_nobody(tmp_path: Path, ending: str) -> None:
    timeline = Timeline()
    timeline.add(showing(0.0))
    save_timeline(tmp_path / f"t.{ending}", timeline)
    assert any(words.text == "nobody was seen" for words in draw_timeline(timeline).words)


def test_png(party: Timeline, tmp_path: Path) -> None:
    save_timeline(tmp_path / "new" / "t.png", party)
    with Image.open(tmp_path / "new" / "t.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100_000) or []}
    assert {COLOURS["happy"], COLOURS["sad"], COLOURS["fear"]} <= colours
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["t.png"]


def test_html_is_a_page_by_itself(party: Timeline, tmp_path: Path) -> None:
    party.source = "<b>.mp4"
    save_timeline(tmp_path / "t.html", party, [shown(1, "happy", 0.5, 3.9)])
    page = (tmp_path / "t.html").read_text("utf-8")
    assert "&lt;b&gt;.mp4" in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    names, lanes = (ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert [t.text for t in lanes.iter("title")] == ["person 1: happy, 0.5 s to 3.9 s, mean probability 80%"]
    assert {"person 1", "person 2"} <= {t.text for t in names.iter("text")}
    assert "happy" in {t.text for t in lanes.iter("text")}


def test_where_it_cannot_be_written(party: Timeline, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the timeline"):
        save_timeline(tmp_path / "file" / "t.png", party)
    with pytest.raises(InputError, match=r"did you mean '\.html'"):
        save_timeline(tmp_path / "t.htm", party)


def test_clock() -> None:
    assert [clock(5, 30), clock(2.5, 30), clock(65, 300), clock(3725, 7200)] == ["5 s", "2.5 s", "1:05", "1:02:05"]
    assert clock(65.25, 300, 1) == "1:05.2"


def test_a_timeline_is_of_one_source(party: Timeline) -> None:
    with pytest.raises(InputError, match="a timeline is of one source"):
        party.add(Faces.none(source="another.mp4"))
