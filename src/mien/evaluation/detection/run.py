"""Detectors measured on the same held-out photographs: recall, false alarms, landmarks, time.

    held_out = photographs.held_out(photographs.read(path))  # or photographs.read_folder(path)
    scores = measure([contender("yunet"), contender("mien")], held_out)
    scores.detectors[1].variants["plain"].recall             # at one false alarm in 50 images
    scores.detectors[1].variants["30°"].landmark_error       # of the faces found

A detector of your own: `Contender("mine", detector, default_threshold=0.5)`, where `detector.detect` reports from a
low score up, 0.1 say, so that its whole curve is seen. `variants=(PLAIN,)` is quick; a network takes a few minutes
for everything, the cascade half an hour.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mien import metrics, models
from mien.data.photographs import Photograph
from mien.errors import DataError, ModelError, did_you_mean
from mien.evaluation.detection.match import MATCH, Judged, Tally, judge
from mien.evaluation.detection.parts import Part, parts
from mien.evaluation.detection.scores import (
    CurvePoint,
    DetectionScores,
    DetectorScores,
    Found,
    LandmarkError,
    MeasuredVariant,
    Sight,
    Speed,
)
from mien.evaluation.detection.views import (
    PLAIN,
    SMALLEST,
    VARIANTS,
    Variant,
    View,
    bare,
    face_sizes,
    filled,
    views,
)
from mien.threads import in_order
from mien.vision import fetch
from mien.vision.detect import CASCADE, DETECTORS, Detector, Haar, MienDetector, YuNet

FALSE_ALARMS = 1 / 50
"""Per image; the thresholds are chosen for it."""
SEARCHED = 0.1
"""Networks report detections from this score up while they are measured."""
SPEED_SIZES = ((320, 240), (640, 480), (1280, 960))
SPEED_RUNS = 9
_MISSES, _ALARMS = 12, 12
Pair = tuple[Judged, Judged]


@dataclass(frozen=True)
class Contender:
    """A detector to be measured: `detector` reports from a low score up, by itself it reports from `default_threshold`.

    `usual` is the detector as it is by itself, where that is another thing than a threshold. `searching` gives it on
    one thread for pictures of that long side, unreduced; without it no time is taken. `weights` are the file's bytes.
    """

    name: str
    detector: Detector
    default_threshold: float
    usual: Detector | None = None
    weights: bytes = b""
    searching: Callable[[int], Detector] | None = None

    def judge(self, view: View) -> Pair:
        """What it finds in a view when it reports everything, and as it is by itself."""
        everything = judge(self.detector.detect(view.pixels), view)
        return everything, everything if self.usual is None else judge(self.usual.detect(view.pixels), view)


def contender(name: str) -> Contender:
    """A detector by name, or a network by its file: one of `mien export` with its card beside it, or YuNet's.

    Raises ModelError where there is none such, FetchError where YuNet is not available.
    """
    if name == "haar":
        # Fewer neighbours than its own five, for it has no other threshold: of 1, 2, 3 and 5, three found most at
        # `FALSE_ALARMS`.
        return Contender(
            name, Haar(min_neighbors=3), 0.0, Haar(), CASCADE.read_bytes(), lambda side: Haar(long_side=side)
        )
    if name not in DETECTORS and not name.endswith(".onnx"):
        hint = did_you_mean(name, DETECTORS)
        raise ModelError(f"no detector {name!r}{hint}; name {', '.join(DETECTORS)} or an .onnx file")
    if name == "mien" or (name != "yunet" and Path(name).with_suffix(".json").exists()):
        model = models.load_detector(None if name == "mien" else Path(name))
        return Contender(
            Path(name).stem, MienDetector(model, threads=1, min_score=SEARCHED), model.card.min_score, None,
            model.weights, lambda side: MienDetector(model, threads=1, long_side=side),
        )  # fmt: skip
    path = fetch.yunet() if name == "yunet" else Path(name)
    usual = YuNet(path, threads=1)
    return Contender(
        Path(name).stem, YuNet(path, threads=1, min_score=SEARCHED), usual.min_score, None,
        path.read_bytes(), lambda side: YuNet(path, threads=1, long_side=side),
    )  # fmt: skip


@dataclass(frozen=True)
class _Measured:
    """One contender: by the name of each variant what it finds when it reports everything, and as it is by itself."""

    contender: Contender
    tallies: dict[str, Tally]
    usual: dict[str, Tally]
    threshold: float


def measure(
    contenders: Sequence[Contender], photographs: Sequence[Photograph], variants: Sequence[Variant] = VARIANTS, *,
    origin: str = "", data_sha256: str = "", workers: int = 1, step: Callable[[int], object] = lambda n: None,
) -> DetectionScores:  # fmt: skip
    """Scores of all contenders on all variants of the same photographs, which are of one origin; times are taken by
    `speeds`.

    `variants` hold `PLAIN`, on which the thresholds are found. `step` hears of every photograph that is done by all;
    `workers` photographs are searched at a time. Raises DataError where there is no face to find.
    """
    if PLAIN not in variants:
        raise ValueError("the thresholds are found on the plain photographs, so PLAIN should be among the variants")
    scenes = bare(photographs)

    def judged(photograph: Photograph) -> list[list[Pair] | None]:
        shown = views(photograph, scenes, variants)
        return [None if view is None else [one.judge(view) for one in contenders] for view in shown]

    rows: list[list[list[Pair] | None]] = []
    for verdicts in in_order(judged, photographs, workers):
        rows.append(verdicts)
        step(1)
    shown = list(parts(variants, photographs))
    measured = []
    for c, one in enumerate(contenders):
        tallies, usual = ({part.name: _tally(part, rows, c, side) for part in shown} for side in (0, 1))
        measured.append(_Measured(one, tallies, usual, tallies[PLAIN.name].threshold(FALSE_ALARMS)))
    tallies = measured[0].tallies
    if not len(tallies[PLAIN.name].found):
        raise DataError(
            f"none of the {len(photographs)} photographs holds a face of {SMALLEST:g} pixels or more, so there is "
            "nothing to find"
        )
    return DetectionScores(
        origin=origin,
        data_sha256=data_sha256,
        images=len(photographs),
        scenes=sum(not len(photograph.boxes) for photograph in photographs),
        false_alarms_per_image=FALSE_ALARMS,
        overlap=MATCH,
        smallest=SMALLEST,
        variants=tuple(
            MeasuredVariant(
                group=part.group,
                name=part.name,
                about=part.about,
                images=tallies[part.name].images,
                faces=len(tallies[part.name].found),
            )
            for part in shown
        ),
        detectors=tuple(_scores(one, measured, variants, photographs) for one in measured),
    )


def _tally(part: Part, rows: Sequence[Sequence[list[Pair] | None]], contender: int, side: int) -> Tally:
    """Of a part's photographs what one contender finds: when it reports everything (`side` 0), or by itself (1)."""
    seen = ((i, rows[i][part.variant]) for i in part.rows)
    tally = Tally.of([(i, pairs[contender][side]) for i, pairs in seen if pairs is not None])
    return tally if part.yaw is None else tally.turned(*part.yaw)


def _scores(
    one: _Measured, measured: Sequence[_Measured], variants: Sequence[Variant], photographs: Sequence[Photograph]
) -> DetectorScores:
    plain, default = one.tallies[PLAIN.name], one.contender.default_threshold
    return DetectorScores(
        name=one.contender.name,
        sha256=hashlib.sha256(one.contender.weights).hexdigest(),
        bytes=len(one.contender.weights),
        default_threshold=default,
        threshold=one.threshold,
        variants={
            name: _found(tally, one.threshold, one.usual[name], default)
            for name, tally in one.tallies.items()
            if len(tally.found)
        },
        curve=tuple(
            CurvePoint(threshold=t, false_alarms=plain.false_alarms(t), recall=plain.recall(t))
            for t in map(plain.threshold, plain.rates())
        ),
        speed=(),
        misses=_misses(one, [other for other in measured if other is not one], variants, photographs),
        false_alarms=_false_alarms(plain, one.threshold, photographs),
    )


def speeds(
    contenders: Sequence[Contender], photographs: Sequence[Photograph], step: Callable[[int], object] = lambda n: None
) -> list[tuple[Speed, ...]]:
    """Median times of every contender at `SPEED_SIZES`, on one thread, on photographs with a face scaled to that size.

    The runs of all contenders take turns, so that a busy moment of the machine meets them alike. `step` hears of every
    run, of which there are `SPEED_RUNS` and one to warm up, for each size and contender.
    """
    pictures = [photograph.pixels() for photograph in photographs if len(photograph.boxes)][:SPEED_RUNS]
    found: list[list[Speed]] = [[] for _ in contenders]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for width, height in SPEED_SIZES:
            detectors = [one.searching(max(width, height)) if one.searching else None for one in contenders]
            milliseconds: list[list[float]] = [[] for _ in contenders]
            for run in range(SPEED_RUNS + 1):
                picture = filled(pictures[run % len(pictures)], width, height)
                for detector, times in zip(detectors, milliseconds, strict=True):
                    if detector is not None:
                        began = time.perf_counter()
                        detector.detect(picture)
                        times.append(1000 * (time.perf_counter() - began))
                    step(1)
            for speed, times in zip(found, milliseconds, strict=True):
                if times:
                    median = float(np.median(times[1:]))
                    speed.append(Speed(width=width, height=height, milliseconds=median, runs=len(times) - 1))
    finally:
        cv2.setNumThreads(before)
    return [tuple(speed) for speed in found]


def _found(tally: Tally, threshold: float, usual: Tally, default: float) -> Found:
    found = tally.found >= threshold
    errors = tally.errors[found & np.isfinite(tally.errors)]
    landmarks = None
    if len(errors):
        landmarks = LandmarkError(faces=len(errors), median=float(np.median(errors)), mean=float(errors.mean()))
    return Found(
        recall=tally.recall(threshold),
        interval=metrics.wilson_interval(int(found.sum()), len(found)),
        false_alarms=tally.false_alarms(threshold),
        default_recall=usual.recall(default),
        default_false_alarms=usual.false_alarms(default),
        landmark_error=landmarks,
    )


def _misses(
    one: _Measured, others: Sequence[_Measured], variants: Sequence[Variant], photographs: Sequence[Photograph]
) -> tuple[Sight, ...]:
    """Of the plain photographs the largest, of each other variant one; first those that most others find."""
    shown = []
    for name in (variant.name for variant in variants):
        tally = one.tallies[name]
        finders = [(other.contender.name, other.tallies[name].found >= other.threshold) for other in others]
        missed = np.flatnonzero(tally.found < one.threshold)
        helped = np.array([sum(int(found[i]) for _, found in finders) for i in missed], int)
        order = np.lexsort((-face_sizes(tally.boxes[missed]), -helped))
        for i in missed[order][: _MISSES if name == PLAIN.name else 1].tolist():
            score = float(tally.found[i]) if tally.found[i] >= 0 else None
            found_by = tuple(other for other, found in finders if found[i])
            shown.append(_sight(int(tally.rows[i]), photographs, name, tally.boxes[i].tolist(), score, found_by))
    return tuple(shown)


def _false_alarms(tally: Tally, threshold: float, photographs: Sequence[Photograph]) -> tuple[Sight, ...]:
    surest = [i for i in np.argsort(-tally.false, kind="stable")[:_ALARMS].tolist() if tally.false[i] >= threshold]
    return tuple(
        _sight(
            int(tally.false_rows[i]), photographs, PLAIN.name, tally.false_boxes[i].tolist(), float(tally.false[i]), ()
        )
        for i in surest
    )


def _sight(
    row: int, photographs: Sequence[Photograph], variant: str, box: Sequence[float], score: float | None,
    found_by: tuple[str, ...],
) -> Sight:  # fmt: skip
    x1, y1, x2, y2 = (round(value, 2) for value in box)
    return Sight(
        row=row, source=photographs[row].source, variant=variant, box=(x1, y1, x2, y2), score=score, found_by=found_by
    )
