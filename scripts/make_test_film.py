"""Make a film of which all is known: who is where and shows what at every moment, written beside it as JSON.

    python scripts/make_test_film.py film.mp4 --data sets/fer2013

22 seconds at 30000/1001 frames a second, with a tone that rises by a semitone every second. First shot: A walks past
in front of B, and C leaves by the right side and comes back after some seconds. Then a hard cut to A and B elsewhere.

Faces are FER2013's, from the test split of a prepared set (`--data`): a person has a size and a colour, and another
face for every expression, as FER2013 knows no identities. Only faces are taken that the network reads as FER2013's
annotators did, so that a mistake in the film's reading is one of the film's. Without a prepared set they are the
portrait of scikit-image's `astronaut` with brows and mouth moved (mimics.py): what such a face shows is what the
network reads in a still of it, so there only places and times are independent truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import cv2
import mimics
import numpy as np
from make_demo_film import INTERVAL, RATE, encode, lay
from numpy.typing import NDArray
from skimage import data

import mien
from mien.data import prepared
from mien.labels import LABELS

SECONDS, CUT = 22.0, 14.5
HELD = 0.5
"""Somebody counts as visible when this share of the face is."""
FADE = 0.25
"""Seconds in which an expression becomes the next; the change counts from their middle."""
SURE, ENOUGH = 0.8, 0.6
"""Probability with which a still is read, for a face with the wanted expression, and for one with any."""
FOUND = 0.75
"""Score with which every detector finds the still; fainter faces are not followed from their first frame on."""
_CANDIDATES = 60
"""FER2013's faces of one expression that are tried."""

Image = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class Person:
    """Somebody in the film.

    size    side of the face (FER2013's framing) as a share of the film's height
    colour  of the skin, red, green, blue, as multiples of a face's own tones
    way     second and place, the middle of the face as a share of the film's width; at rest or moving smoothly
            between; leaps at the cut
    expressions  until which second which expression
    """

    name: str
    size: float
    colour: tuple[float, float, float]
    y: float
    way: tuple[tuple[float, float], ...]
    expressions: tuple[tuple[float, str], ...]

    def place(self, time: float) -> tuple[float, float]:
        """Middle of the face as shares of width and height."""
        shot = [(t, x) for t, x in self.way if (t >= CUT) == (time >= CUT)]
        i = max(k for k, (t, _) in enumerate(shot) if t <= time or k == 0)
        (t0, x0), (t1, x1) = shot[i], shot[min(i + 1, len(shot) - 1)]
        step = 0.0 if t1 == t0 else min(max((time - t0) / (t1 - t0), 0.0), 1.0)
        return x0 + (x1 - x0) * (1 - np.cos(np.pi * step)) / 2, self.y + 0.015 * np.sin(2.5 * time + 9 * self.y)


#: From the back to the front.
PEOPLE = (
    Person("C", 0.23, (0.86, 1.02, 1.12), 0.48, ((0, 0.84), (8, 0.84), (9.2, 1.14), (11, 1.14), (12.2, 0.84), (CUT, 2)),
           ((4, "happy"), (10, "disgust"), (SECONDS, "fear"))),
    Person("B", 0.25, (1.0, 1.03, 0.8), 0.46, ((0, 0.52), (3.5, 0.52), (7.5, 0.17), (CUT, 0.30), (SECONDS, 0.36)),
           ((3, "surprise"), (9, "angry"), (CUT, "happy"), (18, "neutral"), (SECONDS, "surprise"))),
    Person("A", 0.27, (1.2, 0.95, 0.78), 0.54, ((0, 0.19), (3.5, 0.19), (7.5, 0.58), (CUT, 0.75), (SECONDS, 0.69)),
           ((3, "neutral"), (8, "happy"), (11, "surprise"), (CUT, "neutral"), (18.5, "happy"), (SECONDS, "sad"))),
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A picture to lay into the film, `(H, W, 3)` uint8 RGB, and the square in it that is the face: left, top, side;
    whose it is, and what annotators saw in it, empty where nobody was asked."""

    image: Image
    face: tuple[float, float, float]
    about: str
    label: str = ""


def fer_heads(faces: prepared.PreparedSet, analyzer: mien.Analyzer) -> dict[str, list[Head]]:
    """FER2013's faces of each expression, those first that the network is surest of; their border pixels go on."""
    test = faces.split("test")
    heads: dict[str, list[Head]] = {}
    for k, label in enumerate(LABELS):
        own = test.take(np.flatnonzero(test.labels == k)[: 4 * _CANDIDATES])
        order = np.argsort(-analyzer.classify(own.images)[:, k], kind="stable")
        _, first = np.unique(own.hashes[order], return_index=True)  # FER2013 repeats some of its pictures
        heads[label] = [
            _fer_head(own.images[i], str(own.sources[i]), label) for i in order[np.sort(first)][:_CANDIDATES]
        ]
    return heads


def _fer_head(face: Image, about: str, label: str) -> Head:
    side, around, finer = face.shape[0], round(0.3 * face.shape[0]), 4
    wide = cv2.copyMakeBorder(face, around, around, around, around, cv2.BORDER_REPLICATE)
    wide = cv2.resize(wide, None, fx=finer, fy=finer, interpolation=cv2.INTER_CUBIC)
    image = np.asarray(cv2.cvtColor(wide, cv2.COLOR_GRAY2RGB), np.uint8)
    return Head(image, (around * finer, around * finer, side * finer), about, label)


def portrait_heads(person: Person) -> list[Head]:
    """The astronaut with different looks; B is her mirror image."""
    looks = [look[:, ::-1] if person.name == "B" else look for look in mimics.heads()]
    return [
        Head(np.ascontiguousarray(look), mimics.FACE, f"astronaut, look {i}, for {person.name}")
        for i, look in enumerate(looks)
    ]


def coloured(head: Head, person: Person) -> Head:
    """In the person's colour."""
    image = np.clip(head.image * np.array(person.colour) * 0.9, 0, 255).astype(np.uint8)
    return Head(image, head.face, head.about)


def place(frame: Image, head: Head, x: float, y: float, side: float) -> None:
    """Lay a head into the frame, the middle of its face at x, y and the face `side` pixels large."""
    lay(frame, head.image, *outline(head, x, y, side))


def outline(head: Head, x: float, y: float, side: float) -> tuple[float, float, float, float]:
    """Left, top, width and height of the whole head."""
    left, top, own = head.face
    scale = side / own
    height, width = head.image.shape[:2]
    return x - (left + own / 2) * scale, y - (top + own / 2) * scale, width * scale, height * scale


class Casting:
    """Finds a face for every wanted expression: one that all the analyzers surely find and read alike in a still."""

    def __init__(
        self, candidates: Callable[[Person, str], list[Head]], analyzers: Sequence[mien.Analyzer], height: int
    ) -> None:
        self.candidates, self.analyzers, self.height = candidates, analyzers, height
        self._takers: dict[str, str] = {}
        self._read: dict[tuple[str, str], tuple[str, float]] = {}

    def faces(self, person: Person) -> list[tuple[float, Head, str]]:
        """Until which second which head, and what it shows."""
        found: list[tuple[float, Head, str]] = []
        for until, wanted in person.expressions:
            found.append((until, *self._face(person, wanted, found[-1][2] if found else "")))
        return found

    def _face(self, person: Person, wanted: str, before: str) -> tuple[Head, str]:
        """A head that is surely read as `wanted`, else the most surely read one that differs from what was before."""
        others: list[tuple[bool, float, Head, str]] = []
        for head in self.candidates(person, wanted):
            if self._takers.get(head.about, person.name) != person.name:
                continue
            label, share = self.read(head, person)
            if share < ENOUGH or label == before or head.label not in ("", label):
                continue
            others.append((label == wanted, share, head, label))
            if label == wanted and share >= SURE:
                break
        if not others:
            raise ValueError(f"no face for {person.name} to be {wanted} is read with a probability of {ENOUGH} or more")
        _, _, head, label = max(others, key=lambda other: other[:2])
        self._takers[head.about] = person.name
        return coloured(head, person), label

    def read(self, head: Head, person: Person) -> tuple[str, float]:
        """What a still is read as and the least probability; `("", 0)` where the analyzers do not agree."""
        known = self._read.get((head.about, person.name))
        if known is None:
            side = person.size * self.height
            still = np.full((round(2.4 * side), round(2.4 * side), 3), 110, np.uint8)
            place(still, coloured(head, person), 1.2 * side, 1.2 * side, side)
            seen = [analyzer.analyze(still) for analyzer in self.analyzers]
            labels = {label for faces in seen for label in faces.labels()}
            known = "", 0.0
            found = all(len(faces) == 1 and faces.scores[0] >= FOUND for faces in seen)
            if found and len(labels) == 1:
                known = labels.pop(), float(min(faces.confidences[0] for faces in seen))
            self._read[head.about, person.name] = known
        return known


@dataclass(frozen=True)
class Role:
    """A person with the heads that are shown, and by frames where: `(n, 4)` x, y, side in pixels, visible share."""

    person: Person
    faces: list[tuple[float, Head, str]]
    path: NDArray[np.float64]

    def at(self, time: float) -> tuple[Head, str]:
        """What is shown."""
        return next(((head, label) for until, head, label in self.faces if time < until), self.faces[-1][1:])

    def drawn(self, time: float) -> Head:
        """The head as it is seen: one face fades into the next, except at the cut."""
        head, _ = self.at(time)
        for (until, old, _), (_, new, _) in pairwise(self.faces):
            share = (time - until) / FADE + 0.5
            if until != CUT and 0 < share < 1:
                image = cv2.addWeighted(old.image, 1 - share, new.image, share, 0)
                return Head(np.asarray(image, np.uint8), head.face, head.about)
        return head


def make_film(
    path: Path,
    analyzers: Sequence[mien.Analyzer],
    faces: prepared.PreparedSet | None = None,
    size: tuple[int, int] = (1280, 720),
) -> dict[str, Any]:
    """Write the film, and beside it as `.json` what is returned: its truth.

    `analyzers` are those that are to read it; `faces` is FER2013, None for the portrait. Raises ValueError when they
    read no face well enough.
    """
    if faces is None:
        portraits = {person.name: portrait_heads(person) for person in PEOPLE}
        casting = Casting(lambda person, _: portraits[person.name], analyzers, size[1])
    else:
        heads = fer_heads(faces, analyzers[0])
        casting = Casting(lambda _, wanted: heads[wanted], analyzers, size[1])
    times = np.arange(round(SECONDS / INTERVAL), dtype=np.float64) * float(INTERVAL)
    roles = [Role(person, casting.faces(person), _path(person, times, size)) for person in PEOPLE]
    for i, role in enumerate(roles):
        _see(role, roles[i + 1 :], times, size)
    notes = 220 * 2 ** (np.arange(int(SECONDS) + 1) / 12)
    encode(path, _frames(roles, times, size), _tone(notes, len(times) * float(INTERVAL)))
    truth = _truth(path, roles, times, size, "astronaut of scikit-image" if faces is None else "FER2013, test split")
    truth["notes_hz"] = [round(note, 2) for note in notes.tolist()]
    path.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return truth


def _path(person: Person, times: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    places = np.array([person.place(time) for time in times.tolist()]) * size
    return np.column_stack([places, np.full(len(times), person.size * size[1]), np.ones(len(times))])


def _see(role: Role, before: list[Role], times: NDArray[np.float64], size: tuple[int, int]) -> None:
    """Count what of the face is inside the picture and not behind those in front."""
    grid = np.stack(np.meshgrid(*2 * [(np.arange(12) + 0.5) / 12 - 0.5]), -1).reshape(-1, 2)
    for i, time in enumerate(times.tolist()):
        x, y, side, _ = role.path[i]
        points = np.array([x, y]) + grid * side
        seen = ((points >= 0) & (points < size)).all(1)
        for other in before:
            left, top, width, height = outline(other.at(time)[0], *other.path[i, :3])
            middle, half = np.array([left + width / 2, top + height / 2]), np.array([width, height]) / 2
            seen &= (((points - middle) / half) ** 2).sum(1) > 1
        role.path[i, 3] = seen.mean()


def _frames(roles: list[Role], times: NDArray[np.float64], size: tuple[int, int]) -> Iterator[Image]:
    shots = [_background(photo, size) for photo in (data.rocket(), data.coffee())]
    for i, time in enumerate(times.tolist()):
        frame = shots[time >= CUT].copy()
        for role in roles:
            place(frame, role.drawn(time), *role.path[i, :3])
        yield frame


def _background(photo: Any, size: tuple[int, int]) -> Image:
    """A photo without a face, as large as the film, blurred and dimmed so that faces stand out."""
    height, width = photo.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    wide = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    top, left = (wide.shape[0] - size[1]) // 2, (wide.shape[1] - size[0]) // 2
    part = wide[top : top + size[1], left : left + size[0]]
    return np.asarray(cv2.GaussianBlur(part, (0, 0), size[1] / 90) * 0.7 + 20, np.uint8)


def _tone(notes: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """A note for every second, each swelling and dying away."""
    time = np.arange(round(seconds * RATE)) / RATE
    second = time.astype(int)
    swell = np.clip(np.minimum(time - second, second + 1 - time) * 50, 0, 1)
    tone: NDArray[np.float64] = 0.1 * swell * np.sin(2 * np.pi * notes[second] * (time - second))
    return tone


def _truth(
    path: Path, roles: list[Role], times: NDArray[np.float64], size: tuple[int, int], faces: str
) -> dict[str, Any]:
    end = len(times) * float(INTERVAL)
    shot = (times >= CUT).tolist()

    def stretches(values: list[T]) -> list[tuple[T, float, float]]:
        """Values that last, from which second until which; they end at the cut."""
        begins = [i for i in range(len(values)) if i == 0 or (values[i], shot[i]) != (values[i - 1], shot[i - 1])]
        moments = [round(float(times[i]), 6) for i in begins] + [round(end, 6)]
        return [(values[i], moments[k], moments[k + 1]) for k, i in enumerate(begins)]

    people = [
        {
            "person": role.person.name,
            "visible": [[a, b] for seen, a, b in stretches((role.path[:, 3] >= HELD).tolist()) if seen],
            "expressions": [[*shown] for shown in stretches([role.at(time)[1] for time in times.tolist()])],
            "faces": [head.about for _, head, _ in role.faces],
            "path": {name: role.path[:, k].round(3).tolist() for k, name in enumerate(("x", "y", "side", "share"))},
        }
        for role in roles[::-1]
    ]
    return {
        "film": path.name,
        "faces": faces,
        "width": size[0],
        "height": size[1],
        "fps": f"{INTERVAL.denominator}/{INTERVAL.numerator}",
        "frames": len(times),
        "duration_s": round(end, 6),
        "cuts_s": [round(float(times[times >= CUT][0]), 6)],
        "people": people,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--data", type=Path, default=None, help="a prepared set of FER2013")
    given = parser.parse_args()
    wide, tall = (int(side) for side in given.size.split("x"))
    readers = [mien.load(detector=detector) for detector in ("haar", "mien")]
    make_film(given.path, readers, prepared.load(given.data) if given.data else None, (wide, tall))
