"""Scores of detectors as one HTML file: curves, bars by size, tilt and condition, and pictures of what went wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log10

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mien.data.photographs import Photograph
from mien.evaluation import charts, page
from mien.evaluation.charts import SERIES, Axis, Line
from mien.evaluation.detection.scores import (
    DetectionReport,
    DetectionScores,
    DetectorScores,
    Found,
    MeasuredVariant,
    Sight,
)
from mien.evaluation.detection.views import CANVAS, LARGE_CANVAS, VARIANTS, Group, Variant, bare, views

GROUPS: dict[Group, str] = {
    "plain": "as they are",
    "kind": "by kind",
    "yaw": "by the head's turn aside",
    "size": "by the face's size",
    "soft": "of soft faces by size",
    "tilt": "by the head's tilt",
    "condition": "by light, blur and noise",
}
"""The groups of variants in words, in their order."""
_MARKED: tuple[Group, ...] = ("size", "tilt")
"""Over which of them landmark errors are drawn."""
_SIDE, _ROOM, _LEAST = 216, 2.4, 40
"""Of the pictures: pixels a side; how much of the photograph they show, in sides of the face's box and in pixels at
least."""


@dataclass(frozen=True)
class Picture:
    """A place in a variant of a photograph, as a data URI, and where in it the box lies: left, top, width and height as
    shares of the picture's side."""

    sight: Sight
    uri: str
    frame: tuple[float, float, float, float]

    @property
    def pixels(self) -> float:
        """The size of the box in the variant."""
        x1, y1, x2, y2 = self.sight.box
        return float(np.sqrt((x2 - x1) * (y2 - y1)))


@dataclass(frozen=True)
class Gallery:
    """What went wrong with one detector."""

    misses: list[Picture]
    false_alarms: list[Picture]


def galleries(
    scores: DetectionScores, photographs: Sequence[Photograph], variants: Sequence[Variant] = VARIANTS,
    step: Callable[[int], object] = lambda n: None,
) -> list[Gallery]:  # fmt: skip
    """Pictures of every detector's misses and false alarms, from the `photographs` and `variants` that were measured;
    `step` hears of each."""
    scenes, by_name = bare(photographs), {variant.name: variant for variant in variants}

    def picture(sight: Sight) -> Picture:
        step(1)
        (view,) = views(photographs[sight.row], scenes, [by_name[sight.variant]])
        if view is None:
            raise ValueError(f"{sight.source} cannot be shown as {sight.variant}; it is not what was measured")
        return _picture(sight, view.pixels)

    return [
        Gallery([picture(sight) for sight in one.misses], [picture(sight) for sight in one.false_alarms])
        for one in scores.detectors
    ]


def pictures(scores: DetectionScores) -> int:
    """How many pictures `galleries` makes."""
    return sum(len(one.misses) + len(one.false_alarms) for one in scores.detectors)


def render(report: DetectionReport, shown: Sequence[Sequence[Gallery]]) -> str:
    """The page, for all detectors together; `shown` are the pictures of each, for each origin."""
    sections = [_section(scores, galleries) for scores, galleries in zip(report.origins, shown, strict=True)]
    return page.template("detection/report.html.jinja").render(
        report=report, sections=sections, names=", ".join(one.name for one in report.origins[0].detectors)
    )


def _section(scores: DetectionScores, shown: Sequence[Gallery]) -> Markup:
    """All that was measured on the photographs of one origin."""
    groups = {group: [v for v in scores.variants if v.group == group and v.faces] for group in GROUPS}
    marked = [name for name in _MARKED if _has_errors(scores, groups[name])]
    content = page.template("detection/origin.html.jinja").render(
        scores=scores,
        canvas=CANVAS,
        large=LARGE_CANVAS,
        groups={group: (GROUPS[group], members) for group, members in groups.items() if members},
        curve=_curves(scores),
        bars={group: _bars(scores, members) for group, members in groups.items() if group != "plain" and members},
        errors={name: _errors(scores, groups[name]) for name in marked},
        detectors=list(zip(scores.detectors, shown, strict=True)),
        best_recall=partial(_best, scores.detectors, lambda found: found.recall, max),
        best_error=partial(_best, scores.detectors, _median_error, min),
    )
    return Markup(content)


def _has_errors(scores: DetectionScores, members: Sequence[MeasuredVariant]) -> bool:
    return any(one.variants[v.name].landmark_error for one in scores.detectors for v in members)


def _curves(scores: DetectionScores) -> Markup:
    """Recall over false alarms per image, which are on a logarithmic scale from one in all images to one in each."""
    lines = [
        Line(one.name, [(log10(p.false_alarms), p.recall) for p in one.curve if 0 < p.false_alarms <= 1], _colour(i))
        for i, one in enumerate(scores.detectors)
    ]
    y = Axis.around([b for line in lines for _, b in line.points], "recall", lambda share: f"{100 * share:g} %")
    asked = log10(scores.false_alarms_per_image)
    lowest = min(log10(1 / scores.images), asked)
    ticks = [t for t in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if log10(t) >= lowest - 1e-9]
    x = Axis(lowest, 0, [log10(t) for t in ticks], "false alarms per image", lambda power: f"{10**power:.3g}")
    operating = Line("what the thresholds are chosen for", [(asked, y.low), (asked, y.high)], 0, dashed=True)
    return charts.line_chart([*lines, operating], x, y, "recall over false alarms per image", size=(1080, 340))


def _bars(scores: DetectionScores, members: Sequence[MeasuredVariant]) -> Markup:
    groups = [(v.name, [one.variants[v.name].recall for one in scores.detectors]) for v in members]
    names = [one.name for one in scores.detectors]
    return charts.bar_chart(groups, names, f"recall {GROUPS[members[0].group]}")


def _errors(scores: DetectionScores, members: Sequence[MeasuredVariant]) -> Markup:
    """Median landmark errors of every detector over the variants of one group."""
    lines = []
    for i, one in enumerate(scores.detectors):
        found = [one.variants[v.name].landmark_error for v in members]
        points = [(float(k), error.median) for k, error in enumerate(found) if error is not None]
        lines.append(Line(one.name, points, _colour(i), dots=True))
    names = [v.name.removesuffix(" px") for v in members]
    x = Axis(0, max(len(members) - 1, 1), range(len(members)), "", lambda place: names[round(place)])
    y = Axis.around([0, *(b for line in lines for _, b in line.points)], "", lambda share: f"{100 * share:g} %")
    return charts.line_chart(lines, x, y, f"landmark error {GROUPS[members[0].group]}")


def _best(
    detectors: Sequence[DetectorScores], value: Callable[[Found], float | None], choose: Callable[..., float], name: str
) -> float | None:
    """The best of several detectors in the variant of that name."""
    known = [v for one in detectors if (v := value(one.variants[name])) is not None]
    return choose(known) if len(detectors) > 1 and known else None


def _median_error(found: Found) -> float | None:
    return found.landmark_error.median if found.landmark_error else None


def _colour(index: int) -> int:
    return 1 + index % SERIES


def _picture(sight: Sight, pixels: NDArray[np.uint8]) -> Picture:
    """A square of the picture around the box, moved to lie inside as far as it can; grey past the border."""
    x1, y1, x2, y2 = sight.box
    height, width = pixels.shape[:2]
    side = min(max(_ROOM * max(x2 - x1, y2 - y1), _LEAST), max(height, width))
    left, top = (
        float(np.clip(middle - side / 2, min(0, (reach - side) / 2), max((reach - side) / 2, reach - side)))
        for middle, reach in (((x1 + x2) / 2, width), ((y1 + y2) / 2, height))
    )
    scale = _SIDE / side
    finer = max(1, round(1 / scale))  # large faces are sampled finer and averaged, so that nothing aliases
    factor = scale * finer
    warp = np.array([[factor, 0, -left * factor], [0, factor, -top * factor]])
    warp[:, 2] += factor / 2 - 0.5  # OpenCV counts from pixel centres
    sampled = cv2.warpAffine(
        pixels, warp, (_SIDE * finer, _SIDE * finer), flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(127, 127, 127),
    )  # fmt: skip
    square = cv2.resize(sampled, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    packed = cv2.imencode(".jpg", cv2.cvtColor(square, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 82))[1]
    uri = f"data:image/jpeg;base64,{base64.b64encode(packed.tobytes()).decode()}"
    return Picture(sight, uri, ((x1 - left) / side, (y1 - top) / side, (x2 - x1) / side, (y2 - y1) / side))
