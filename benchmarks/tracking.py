"""Do people keep their ids? Generated scenes in which we know who is who.

    python benchmarks/tracking.py --json tracking.json

People move through a frame of 1280x720 in seconds, not frames; what a detector would say of them is generated with
its usual faults: boxes that tremble, faces missed now and then or for a while, lower scores and foreign embeddings for
people partly hidden, nothing at all for people more than half hidden, false alarms. Looks are vectors that stand for
`mien.tracking.tracker.appearance`: the same person's have cosines around 0.75, two people's around 0.3.

Counted over visible people (at least half of the face to be seen): id switches, IDF1 (Ristani et al. 2016,
"Performance measures and a data set for multi-target, multi-camera tracking") and MOTA (Bernardin & Stiefelhagen
2008, "Evaluating multiple object tracking performance: the CLEAR MOT metrics"). Which person a box shows is known
from the generator, so no overlap has to decide it. After a cut everybody is somebody new. Faces with id 0 are not
followed, and count as not reported. Somebody who was not detected for longer than a track lives comes back as
somebody new by definition: these switches, listed as "gone", no tracker here can avoid.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as bar
from rich.table import Table

from mien.faces import Faces
from mien.provenance import provenance
from mien.tracking.assignment import assign
from mien.tracking.tracker import MAX_GAP, Tracker

WIDTH, HEIGHT = 1280, 720
EMBEDDING_DIMENSIONS = 48

Way = Callable[[float], tuple[float, float, float]]
"""Seconds to centre x, y and size of a face in pixels."""


@dataclass(frozen=True)
class Scene:
    """Who moves how, and how well they are detected."""

    ways: list[Way]
    seconds: float = 20.0
    fps: float = 25.0
    fps_spread: float = 0.0
    """Frame intervals vary by up to this share, either way."""
    jitter: float = 0.03
    """Of centre and size, as a share of the size."""
    missed: float = 0.03
    """Share of faces not detected, one by one."""
    dropouts: float = 0.1
    """Rate per second at which a face goes undetected for 0.1 to 0.6 seconds."""
    false_alarms: float = 0.05
    """Per frame."""
    shake: float = 0.0
    """Standard deviation in pixels by which the camera trembles."""
    pillars: list[tuple[float, float]] = field(default_factory=list)
    """Stretches of x that hide whoever is behind them."""
    cuts: list[float] = field(default_factory=list)
    """Seconds at which the people change places."""


def wander(rng: np.random.Generator) -> Way:
    """Back and forth all over the picture, at up to about four face sizes a second."""
    periods, phases = rng.uniform(5, 14, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    size = rng.uniform(60, 130)

    def way(t: float) -> tuple[float, float, float]:
        x, y = np.array([0.65, 0.35]) @ np.sin(2 * np.pi * t / periods + phases)
        return WIDTH / 2 + x * (WIDTH / 2 - size), HEIGHT / 2 + y * 160, size * (1 + 0.1 * np.sin(t + phases[0, 0]))

    return way


def swing(rng: np.random.Generator, left: float, right: float, y: float, period: float, size: float) -> Way:
    """From left to right and back, with a swaying head."""
    sway, phase = rng.uniform(0.03, 0.1), rng.uniform(0, 6)

    def way(t: float) -> tuple[float, float, float]:
        x = left + (right - left) * (1 - np.cos(2 * np.pi * t / period)) / 2
        return x, y + size * sway * np.sin(3 * t + phase), size

    return way


def pass_by(rng: np.random.Generator) -> Way:
    """Across the picture once, in by one side and out by the other."""
    start, speed, from_left = rng.uniform(-1, 17), rng.uniform(150, 400), rng.random() < 0.5
    y, size = rng.uniform(250, 450), rng.uniform(60, 130)

    def way(t: float) -> tuple[float, float, float]:
        x = (t - start) * speed - size
        return (x if from_left else WIDTH - x), y + 5 * np.sin(6 * t), size

    return way


def crossing(rng: np.random.Generator) -> Scene:
    """Three pairs who pass in front of each other again and again."""
    ways = []
    for y in (150.0, 370.0, 590.0):
        left, right = rng.uniform(80, 350), rng.uniform(900, 1200)
        period, size = rng.uniform(5, 9), rng.uniform(80, 120)
        ways.append(swing(rng, left, right, y, period, size))
        ways.append(swing(rng, right, left, y + rng.uniform(-15, 15), period * rng.uniform(0.9, 1.1), size * 0.9))
    return Scene(ways)


def turning_back(rng: np.random.Generator) -> Scene:
    """Three pairs who meet, hide each other, and turn back: by their motion they might as well have crossed."""
    ways = []
    for y in (150.0, 370.0, 590.0):
        size, meet, period = rng.uniform(80, 120), rng.uniform(450, 800), rng.uniform(4, 7)
        ways.append(swing(rng, meet - 350, meet - 0.1 * size, y, period, size))
        ways.append(swing(rng, meet + 350, meet + 0.1 * size, y + 10, period, size * 0.9))
    return Scene(ways)


def passing_by(rng: np.random.Generator) -> Scene:
    """Fourteen people who enter and leave."""
    return Scene([pass_by(rng) for _ in range(14)])


def wandering(rng: np.random.Generator, people: int = 4, **about: Any) -> Scene:
    """People all over the picture, who cross by chance."""
    return Scene([wander(rng) for _ in range(people)], **about)


SCENES: dict[str, Callable[[np.random.Generator], Scene]] = {
    "four people": wandering,
    "crossing": crossing,
    "turning back": turning_back,
    "behind pillars": partial(wandering, pillars=[(300, 390), (620, 740), (900, 960)]),
    "in and out": passing_by,
    "often missed": partial(wandering, missed=0.25, dropouts=0.4),
    "trembling": partial(wandering, jitter=0.08, shake=6.0),
    "false alarms": partial(wandering, false_alarms=1.0),
    "cuts": partial(wandering, cuts=[4.0, 7.5, 13.0, 16.0]),
    "5 frames a second": partial(wandering, fps=5.0),
    "uneven frames": partial(wandering, fps=12.0, fps_spread=0.9),
    "twelve people": partial(wandering, people=12),
}


@dataclass(frozen=True)
class Frame:
    """What a detector says, and the truth."""

    faces: Faces
    embeddings: NDArray[np.float32]
    people: NDArray[np.intp]
    """Whom each face shows, -1 for a false alarm; after a cut the same people have other numbers."""
    visible: set[int]
    cut: bool


def play(scene: Scene, rng: np.random.Generator) -> Iterator[Frame]:
    """The scene's frames in order."""
    count = len(scene.ways)
    common, persons = unit(rng.normal(size=EMBEDDING_DIMENSIONS)), unit(rng.normal(size=(count, EMBEDDING_DIMENSIONS)))
    posters = rng.uniform([0, 0, 40], [WIDTH, HEIGHT, 120], (3, 3))  # half of the false alarms are always these
    missing_until = np.full(count, -1.0)
    time, shot = 0.0, 0
    while time < scene.seconds:
        before, shot = shot, sum(time >= cut for cut in scene.cuts)
        # After a cut everybody stands where they would be much later.
        places = np.array([way(time + 37.7 * shot) for way in scene.ways])
        places[:, :2] += rng.normal(0, scene.shake, 2)
        shares, hiders = visibility(places, scene.pillars)
        inside = (places[:, 0] > 0) & (places[:, 0] < WIDTH)
        visible = np.flatnonzero(inside & (shares >= 0.5))

        drops = rng.random(count) < scene.dropouts / scene.fps
        missing_until[drops] = time + rng.uniform(0.1, 0.6, drops.sum())
        seen = visible[(missing_until[visible] <= time) & (rng.random(len(visible)) >= scene.missed)]
        alarms = rng.uniform([0, 0, 40], [WIDTH, HEIGHT, 120], (rng.poisson(scene.false_alarms), 3))
        again = rng.random(len(alarms)) < 0.5
        alarms[again] = posters[rng.integers(3, size=again.sum())]

        share = shares[seen, None]
        noise = unit(rng.normal(size=(len(seen), EMBEDDING_DIMENSIONS)))
        own = unit(0.55 * common + 0.67 * persons[seen] + 0.5 * noise)
        embeddings = np.concatenate([
            unit(share * own + (1 - share) * persons[hiders[seen]]),
            unit(rng.normal(size=(len(alarms), EMBEDDING_DIMENSIONS))),
        ])  # fmt: skip
        scores = np.concatenate([
            0.92 - 0.5 * (1 - shares[seen]) + rng.normal(0, 0.04, len(seen)), rng.uniform(0.6, 0.75, len(alarms))
        ])  # fmt: skip
        found = np.concatenate([places[seen], alarms])
        found += rng.normal(0, scene.jitter, found.shape) * found[:, 2:]
        half = found[:, 2:] * [0.5, 0.5]
        faces = Faces(
            np.concatenate([found[:, :2] - half, found[:, :2] + half], 1), scores.clip(0, 1),
            np.full((len(found), 5, 2), np.nan), time=time, width=WIDTH, height=HEIGHT,
        )  # fmt: skip
        people = np.concatenate([seen + shot * count, np.full(len(alarms), -1)])
        yield Frame(
            faces,
            embeddings.astype(np.float32),
            people,
            visible={int(i) + shot * count for i in visible},
            cut=shot != before,
        )
        time += (1 + scene.fps_spread * rng.uniform(-1, 1)) / scene.fps


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same directions at length one."""
    unity: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unity


def visibility(
    places: NDArray[np.float64], pillars: list[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Share of each face that is to be seen, and which face hides most of it; the larger face is in front."""
    half = places[:, 2:] / 2
    low, high = places[:, :2] - half, places[:, :2] + half
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    hidden = np.prod(np.maximum(overlap, 0), axis=2) / places[:, 2:] ** 2
    hidden[places[:, 2:] >= places[:, 2]] = 0
    shares = 1 - hidden.max(1)
    for left, right in pillars:
        behind = np.minimum(high[:, 0], right) - np.maximum(low[:, 0], left)
        shares = np.minimum(shares, 1 - np.maximum(behind, 0) / places[:, 2])
    return shares, hidden.argmax(1)


class Follower(Protocol):
    """What is compared."""

    def update(self, faces: Faces, cut: bool = False, embeddings: NDArray[np.float32] | None = None) -> Faces: ...


class GreedyIoU:
    """The usual small tracker: a face takes the id of the last box that it overlaps most, by at least 0.3."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[NDArray[np.float32], float]] = {}
        self._next = 1

    def update(self, faces: Faces, cut: bool = False, embeddings: NDArray[np.float32] | None = None) -> Faces:
        self._last = {i: (b, t) for i, (b, t) in self._last.items() if faces.time - t <= MAX_GAP and not cut}
        pairs = [
            (overlap(box, old), face, i) for i, (old, _) in self._last.items() for face, box in enumerate(faces.boxes)
        ]
        ids = [0] * len(faces)
        for shared, face, i in sorted(pairs, reverse=True):
            if shared >= 0.3 and not ids[face] and i not in ids:
                ids[face] = i
        for face in range(len(faces)):
            if not ids[face]:
                ids[face], self._next = self._next, self._next + 1
            self._last[ids[face]] = faces.boxes[face], faces.time
        return faces.replace(ids=ids)


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared)


@dataclass
class Tally:
    """Counts over frames, and the scores that follow from them."""

    people: int = 0
    missed: int = 0
    false: int = 0
    switches: int = 0
    gone: int = 0
    """Times that somebody was not detected for more than `MAX_GAP` seconds within a shot."""
    reported: int = 0
    identified: int = 0

    @property
    def mota(self) -> float:
        return 1 - (self.missed + self.false + self.switches) / self.people

    @property
    def idf1(self) -> float:
        return 2 * self.identified / (self.people + self.reported)

    def add(self, other: Tally) -> None:
        """Count what another counted."""
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)

    def follow(self, frames: list[Frame], tracker: Follower, by_appearance: bool) -> None:
        """Follow one scene and count."""
        together: Counter[tuple[int, int]] = Counter()
        last_id: dict[int, int] = {}
        last_time: dict[int, float] = {}
        for frame in frames:
            ids = tracker.update(frame.faces, frame.cut, frame.embeddings if by_appearance else None).ids
            assert ids is not None
            pairs = [(int(p), int(i)) for p, i in zip(frame.people, ids, strict=True) if i]
            self.people += len(frame.visible)
            self.reported += len(pairs)
            self.false += sum(person < 0 for person, _ in pairs)
            self.missed += len(frame.visible - {person for person, _ in pairs})
            for person in frame.people[frame.people >= 0].tolist():
                self.gone += frame.faces.time - last_time.get(person, frame.faces.time) > MAX_GAP
                last_time[person] = frame.faces.time
            for person, i in pairs:
                if person >= 0:
                    self.switches += last_id.get(person, i) != i
                    last_id[person] = i
                    together[person, i] += 1
        people, tracks = ({pair[k] for pair in together} for k in (0, 1))
        counts = np.array([[together[person, i] for i in sorted(tracks)] for person in sorted(people)])
        self.identified += int(counts[assign(-counts)].sum())


#: Greedy IoU; the tracker without embeddings, by motion alone; the tracker.
FOLLOWERS: dict[str, tuple[Callable[[], Follower], bool]] = {
    "greedy": (GreedyIoU, False),
    "motion": (Tracker, False),
    "mien": (Tracker, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="runs of every scene, each with its own people")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    tallies: dict[str, dict[str, Tally]] = {scene: {name: Tally() for name in FOLLOWERS} for scene in SCENES}
    for (number, (scene, make)), run in bar(
        [(s, r) for s in enumerate(SCENES.items()) for r in range(args.runs)], "following"
    ):
        rng = np.random.default_rng([args.seed, number, run])
        frames = list(play(make(rng), rng))
        for name, (follower, by_appearance) in FOLLOWERS.items():
            tallies[scene][name].follow(frames, follower(), by_appearance)

    total = {name: Tally() for name in FOLLOWERS}
    for row in tallies.values():
        for name, tally in row.items():
            total[name].add(tally)
    table = Table(title=f"{args.runs} runs of 20 s each")
    for column in (
        "scene",
        "faces",
        "gone",
        *(f"{name}\n{n}" for name in FOLLOWERS for n in ("switches", "IDF1", "MOTA")),
    ):
        table.add_column(column, justify="left" if column == "scene" else "right", no_wrap=True)
    for scene, row in [*tallies.items(), ("all", total)]:
        first = next(iter(row.values()))
        cells = (cell for t in row.values() for cell in (str(t.switches), f"{t.idf1:.3f}", f"{t.mota:.3f}"))
        table.add_row(scene, f"{first.people:,}", str(first.gone), *cells, end_section=scene == list(tallies)[-1])
    Console().print(table)
    if args.json:
        rows = [
            {"scene": scene, "tracker": name, **vars(tally), "idf1": tally.idf1, "mota": tally.mota}
            for scene, row in [*tallies.items(), ("all", total)]
            for name, tally in row.items()
        ]
        args.json.write_text(json.dumps({**provenance(), "runs": args.runs, "rows": rows}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
