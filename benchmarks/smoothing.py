"""Does smoothing over time pay? Sequences of faces whose expression changes when we say.

    python benchmarks/smoothing.py --data sets/fer2013 --json smoothing.json

Sequences of 20 s at 25 frames a second are rendered from FER2013's faces and read as any film would be: cropped by
landmarks, classified, judged for quality. An expression lasts 0.7 to 5 s, then another follows at once, all seven
being as likely. One image stands for it for a second or so, then another of the same class: FER2013 knows no
identities, so a "person" is a different one after each change. Only images are used whose label is also what most
FER+ annotators chose, so that the truth is one. Between frames the face moves, turns, comes nearer, light and
landmarks drift and tremble, noise is added; for moments it is blurred, or not detected at all.

Compared are the probabilities of each frame alone, moving averages of them, exponential averages of their
logarithms, and `mien.tracking.smoother.Smoother`, each by
    accuracy   share of frames with a face that are read as the expression shown,
    flicker    changes of label per minute beyond those of the truth,
    delay      milliseconds after a change at which it is half as often right as it is when settled,
    lost       milliseconds lost by a change: the whole area between accuracy after a change and when settled.
The Smoother's constants were chosen on validation (PublicTest); the test split is for reporting.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mien import models
from mien.data import prepared
from mien.faces import Faces
from mien.labels import LABELS, VOTE_LABELS
from mien.metrics import ferplus_targets
from mien.provenance import provenance
from mien.tracking.quality import quality
from mien.tracking.smoother import TIME_CONSTANT, Smoother
from mien.vision.classify import Classifier
from mien.vision.crop import crop_faces

FPS, SECONDS = 25, 20.0
FRAMES = int(FPS * SECONDS)
STRETCH = (0.7, 5.0)
"""Shortest and longest seconds of one expression, log-uniform."""
IMAGE_SECONDS, SHORTEST_IMAGE = 1.0, 0.3
"""Mean (exponential) and shortest time for which one image stands for it."""
SIZES = (32.0, 140.0)
"""Sides of the faces in pixels, log-uniform, one for each sequence."""

LAGS = 3 * FPS
SETTLED = slice(int(1.2 * FPS), int(2.8 * FPS))
"""Frames after a change: how many are looked at, and which of them count as settled."""

WINDOWS = (0.12, 0.2, 0.28, 0.4, 0.6, 0.8, 1.2)
AVERAGES = (0.05, 0.1, 0.2, 0.3, 0.5)
CONSTANTS = (0.03, 0.04, TIME_CONSTANT, 0.09, 0.13, 0.2)


@dataclass(frozen=True)
class Sequence:
    """One person for a while: the face of each frame, or none, with raw probabilities and quality; and the truth."""

    frames: list[Faces]
    truth: NDArray[np.intp]


class Drift:
    """Values that wander around zero with standard deviation one: an Ornstein-Uhlenbeck process."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], seconds: float) -> None:
        self._rng, self._keep = rng, np.exp(-1 / FPS / seconds)
        self._value = rng.normal(size=shape)

    def step(self) -> NDArray[np.float64]:
        """The values at the next frame."""
        noise = self._rng.normal(size=self._value.shape)
        self._value = self._keep * self._value + np.sqrt(1 - self._keep**2) * noise
        return self._value


def bursts(rng: np.random.Generator, rate: float, shortest: float, longest: float) -> NDArray[np.bool_]:
    """Which frames lie inside events that begin at this rate per second and last so many seconds."""
    inside = np.zeros(FRAMES, bool)
    for begin in np.flatnonzero(rng.random(FRAMES) < rate / FPS):
        inside[begin : begin + int(rng.uniform(shortest, longest) * FPS)] = True
    return inside


def schedule(rng: np.random.Generator) -> NDArray[np.intp]:
    """The expression of each frame."""
    shown: list[int] = []
    while len(shown) < FRAMES:
        label = rng.choice([k for k in range(len(LABELS)) if not shown or k != shown[-1]])
        shown += [int(label)] * int(np.exp(rng.uniform(*np.log(STRETCH))) * FPS)
    return np.array(shown[:FRAMES])


def render(
    images: list[NDArray[np.uint8]], template: NDArray[np.float64], rng: np.random.Generator
) -> list[tuple[NDArray[np.uint8], Faces]]:
    """RGB frames, and what a detector finds in them: the face around the `template`'s landmarks (5, 2), which are
    shares of the image's side, or none."""
    side = float(np.exp(rng.uniform(*np.log(SIZES))))
    canvas, noise = round(1.6 * side), rng.uniform(3, 12)
    blurred, gone = bursts(rng, 0.25, 0.2, 0.8), bursts(rng, 0.15, 0.1, 0.6)
    motion, light, slip = Drift(rng, (4,), 0.3), Drift(rng, (2,), 0.5), Drift(rng, (5, 2), 0.2)
    sigma_x = sigma_y = 0.0
    frames = []
    for i, image in enumerate(images):
        turn, x, y, nearer = motion.step() * [5, 0.03, 0.03, 0.04]
        gain, offset = light.step() * [0.12, 8]
        scale = side * (1 + nearer) / len(image)
        place = np.asarray(cv2.getRotationMatrix2D((len(image) / 2, len(image) / 2), turn, scale), np.float64)
        place[:, 2] += np.array([x, y]) * side + (canvas - len(image)) / 2
        grey = cv2.warpAffine(image, place, (canvas, canvas), borderMode=cv2.BORDER_REPLICATE)
        if blurred[i] and (i == 0 or not blurred[i - 1]):
            sigma_x = rng.uniform(0.02, 0.08) * side
            sigma_y = sigma_x if rng.random() < 0.5 else 0.3  # out of focus, or moving
        if blurred[i]:
            grey = cv2.GaussianBlur(grey, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
        lit = np.asarray(grey, np.float64) * (1 + gain) + offset + rng.normal(0, noise, grey.shape)
        frame = np.repeat(np.clip(lit, 0, 255).astype(np.uint8)[..., None], 3, 2)
        slipped = (slip.step() + rng.normal(size=(5, 2))) * 0.02 * side
        landmarks = ((template * len(image)) @ place[:, :2].T + place[:, 2] + slipped).astype(np.float32)
        center, half = landmarks.mean(0), np.array([0.38, 0.44], np.float32) * side
        score = 0.9 - 0.15 * blurred[i] + rng.normal(0, 0.02)
        found = Faces(
            np.concatenate([center - half, center + half])[None], np.array([score], np.float32), landmarks[None],
            ids=np.array([1]), frame=i, time=i / FPS,
        )  # fmt: skip
        frames.append((frame, found.select([]) if gone[i] else found))
    return frames


def make_sequence(classifier: Classifier, faces: prepared.PreparedSet, rng: np.random.Generator) -> Sequence:
    """Render and read one sequence."""
    truth = schedule(rng)
    images: list[NDArray[np.uint8]] = []
    next_image = 0.0
    for i in range(FRAMES):
        if i == 0 or truth[i] != truth[i - 1] or i / FPS >= next_image:
            image = faces.images[rng.choice(np.flatnonzero(faces.labels == truth[i]))]
            next_image = i / FPS + max(SHORTEST_IMAGE, rng.exponential(IMAGE_SECONDS))
        images.append(image)
    card = classifier.card
    frames = render(images, np.array(card.crop.landmarks), rng)
    crops = np.concatenate([crop_faces(frame, found, card.input_size, card.crop) for frame, found in frames])
    probs = classifier.probabilities(crops)
    read, first = [], 0
    for frame, found in frames:
        read.append(found.replace(probs=probs[first : first + len(found)], quality=quality(frame, found)))
        first += len(found)
    return Sequence(read, truth)


class Filter(Protocol):
    """What is compared."""

    def update(self, faces: Faces) -> Faces: ...


class Raw:
    """Each frame alone."""

    def update(self, faces: Faces) -> Faces:
        return faces


class MovingAverage:
    """Mean of the probabilities of the last seconds, every frame counting alike."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._past: deque[tuple[float, NDArray[np.float32]]] = deque()

    def update(self, faces: Faces) -> Faces:
        if not len(faces):
            return faces
        assert faces.probs is not None
        self._past.append((faces.time, faces.probs))
        while faces.time - self._past[0][0] > self._seconds - 0.5 / FPS:
            self._past.popleft()
        return faces.replace(probs=np.mean([probs for _, probs in self._past], axis=0))


class ExponentialAverage:
    """Log probabilities, averaged with weight 1 - exp(-dt / seconds) times the face's quality."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: tuple[float, NDArray[np.float64]] | None = None

    def update(self, faces: Faces) -> Faces:
        if not len(faces):
            return faces
        assert faces.probs is not None and faces.quality is not None
        now = np.log(np.maximum(faces.probs[0].astype(np.float64), 1e-6))
        if self._last is not None:
            time, before = self._last
            weight = (1 - np.exp((time - faces.time) / self._seconds)) * faces.quality[0]
            now = before + weight * (now - before)
        self._last = faces.time, now
        return faces.replace(probs=np.exp(now)[None] / np.exp(now).sum())


@dataclass(frozen=True)
class Method:
    """A kind of filter at one operating point."""

    kind: str
    seconds: float
    make: Callable[[], Filter]


METHODS = [
    Method("raw", 0.0, Raw),
    *(Method("moving average", seconds, partial(MovingAverage, seconds)) for seconds in WINDOWS),
    *(Method("exponential average", seconds, partial(ExponentialAverage, seconds)) for seconds in AVERAGES),
    *(Method("mien", seconds, partial(Smoother, seconds)) for seconds in CONSTANTS),
]


@dataclass(frozen=True)
class Scores:
    """What is reported of a method, over some sequences."""

    accuracy: float
    flicker: float
    delay_ms: float
    lost_ms: float


def count(sequence: Sequence, smoother: Filter) -> NDArray[np.float64]:
    """What adds up over sequences: frames that are right, frames, changes of label, true changes, then frames that
    are right and frames at each lag after a change."""
    smoothed = [smoother.update(faces) for faces in sequence.frames]
    read = np.array([-1 if faces.probs is None or not len(faces) else faces.probs[0].argmax() for faces in smoothed])
    seen, right = read >= 0, read == sequence.truth
    changes = np.flatnonzero(np.diff(sequence.truth)) + 1
    after, right_after = np.zeros(LAGS), np.zeros(LAGS)
    for begin, end in zip(changes, [*changes[1:], FRAMES], strict=True):
        stretch = slice(begin, min(end, begin + LAGS))
        after[: stretch.stop - begin] += seen[stretch]
        right_after[: stretch.stop - begin] += right[stretch]
    switches = np.count_nonzero(np.diff(read[seen]))
    return np.concatenate([[right.sum(), seen.sum(), switches, len(changes)], right_after, after])


def scores(counts: NDArray[np.float64]) -> Scores:
    """Of the `count`s of some sequences, `(sequences, ...)`."""
    total = counts.sum(0)
    right, frames, switches, changes = total[:4]
    curve = total[4 : 4 + LAGS] / total[4 + LAGS :]
    settled = total[4 : 4 + LAGS][SETTLED].sum() / total[4 + LAGS :][SETTLED].sum()
    return Scores(
        accuracy=float(right / frames),
        flicker=float(switches - changes) / (len(counts) * SECONDS / 60),
        delay_ms=1000 / FPS * first_crossing(curve, settled / 2),
        lost_ms=1000 / FPS * float((1 - np.minimum(curve[: SETTLED.stop] / settled, 1)).sum()),
    )


def first_crossing(curve: NDArray[np.float64], level: float) -> float:
    """Where a curve first reaches the level, in steps between its points; 0 when it begins there."""
    i = int(np.argmax(curve >= level))
    return 0.0 if i == 0 else i - 1 + float((level - curve[i - 1]) / (curve[i] - curve[i - 1]))


def advantage(counts: dict[Method, NDArray[np.float64]], ours: Method, rival: str, by: str) -> float:
    """Accuracy of ours less that of the rival kind, interpolated to our delay (`by` is a field of `Scores`)."""
    mine = scores(counts[ours])
    theirs = [scores(counts[method]) for method in counts if method.kind in (rival, "raw")]
    theirs.sort(key=lambda score: float(getattr(score, by)))
    at = [getattr(score, by) for score in theirs]
    return mine.accuracy - float(np.interp(getattr(mine, by), at, [score.accuracy for score in theirs]))


def interval(counts: dict[Method, NDArray[np.float64]], ours: Method, rival: str, by: str) -> tuple[float, float]:
    """95 % of the advantage's bootstrap over sequences (Efron & Tibshirani 1993)."""
    rng, sequences = np.random.default_rng(0), len(counts[ours])
    draws = []
    for _ in range(400):
        chosen = rng.integers(sequences, size=sequences)
        draws.append(advantage({method: rows[chosen] for method, rows in counts.items()}, ours, rival, by))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set of FER2013 with FER+ votes")
    parser.add_argument("--model", default=None)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--sequences", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    classifier = Classifier(models.load(args.model))
    faces = prepared.load(args.data).split(args.split)
    agreed = np.array([VOTE_LABELS.index(label) for label in LABELS])[faces.labels]
    faces = faces.take(ferplus_targets(faces.votes, "plain") == agreed)
    rngs = [np.random.default_rng([args.seed, i]) for i in range(args.sequences)]
    sequences = [make_sequence(classifier, faces, rng) for rng in track(rngs, "rendering and reading")]
    counts = {method: np.stack([count(s, method.make()) for s in sequences]) for method in track(METHODS, "smoothing")}

    table = Table(title=f"{args.sequences} sequences of {SECONDS:.0f} s, {args.split}, model {classifier.card.name}")
    table.add_column("method")
    for column in ("s", "accuracy", "flicker / min", "delay ms", "lost ms"):
        table.add_column(column, justify="right")
    rows = []
    for method, each in counts.items():
        score = scores(each)
        rows.append({"method": method.kind, "seconds": method.seconds, **asdict(score)})
        default = method.kind == "mien" and method.seconds == TIME_CONSTANT
        table.add_row(
            method.kind, f"{method.seconds:g}", f"{score.accuracy:.2%}", f"{score.flicker:.1f}",
            f"{score.delay_ms:.0f}", f"{score.lost_ms:.0f}", style="bold" if default else None,
        )  # fmt: skip
    Console().print(table)
    ours = next(m for m in METHODS if m.kind == "mien" and m.seconds == TIME_CONSTANT)
    gains = []
    for rival in ("moving average", "exponential average"):
        for by in ("delay_ms", "lost_ms"):
            gain, (low, high) = advantage(counts, ours, rival, by), interval(counts, ours, rival, by)
            gains.append({"rival": rival, "at_equal": by, "points": 100 * gain, "interval": [100 * low, 100 * high]})
            Console().print(
                f"mien over {rival} at equal {by.removesuffix('_ms')}: "
                f"{100 * gain:+.2f} points of accuracy (95 %: {100 * low:+.2f} to {100 * high:+.2f})"
            )
    if args.json:
        about = {**provenance(), "model": classifier.card.name, "split": args.split, "sequences": args.sequences}
        args.json.write_text(json.dumps({**about, "rows": rows, "gains": gains}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
