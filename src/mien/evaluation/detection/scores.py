"""The content of scores.json for detectors: what was measured of several on the same photographs, in one run, for
each origin of photographs by itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mien.evaluation.detection.views import Group

VERSION = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeasuredVariant(_Part):
    """A variant of the photographs, how many it could be made of, and how many faces count in them."""

    group: Group
    name: str
    about: str
    images: int
    faces: int


class LandmarkError(_Part):
    """Mean distance of five landmarks over the distance of the eyes, over the found `faces`."""

    faces: int
    median: float
    mean: float


class Found(_Part):
    """What one detector finds in one variant. Recalls in 0..1, false alarms per image."""

    recall: float
    """At the detector's `threshold`."""
    interval: tuple[float, float]
    """95 % interval of it (Wilson 1927)."""
    false_alarms: float
    default_recall: float
    """At the threshold that the detector has by itself."""
    default_false_alarms: float
    landmark_error: LandmarkError | None
    """None where no face is found with landmarks."""


class CurvePoint(_Part):
    """Recall of the plain photographs' faces at so many false alarms per image, detections from `threshold` up."""

    threshold: float
    false_alarms: float
    recall: float


class Speed(_Part):
    """Median time for one picture of that size on one thread, the detector searching it unreduced."""

    width: int
    height: int
    milliseconds: float
    runs: int


class Sight(_Part):
    """A face that was missed or a false alarm: in which photograph, as which variant shows it, its box x1 y1 x2 y2 and
    score; of a missed face the score below the threshold, None where nothing was seen.

    `found_by` are the other detectors that find the missed face, each at its own threshold.
    """

    row: int
    source: str
    variant: str
    box: tuple[float, float, float, float]
    score: float | None
    found_by: tuple[str, ...] = ()


class DetectorScores(_Part):
    """One detector. `threshold` is the lowest with no more false alarms per image on the plain photographs than asked
    for, `default_threshold` its own."""

    name: str
    sha256: str
    """Of its weights."""
    bytes: int
    default_threshold: float
    threshold: float
    variants: dict[str, Found]
    """By the variant's name; those without a face to find are not there."""
    curve: tuple[CurvePoint, ...]
    speed: tuple[Speed, ...]
    """Empty where it was not measured."""
    misses: tuple[Sight, ...]
    """The largest faces missed on plain photographs, then one of each other variant."""
    false_alarms: tuple[Sight, ...]
    """The surest on plain photographs."""


class DetectionScores(_Part):
    """All detectors on the photographs of one origin."""

    origin: str
    """The data set's name."""
    data_sha256: str
    images: int
    """Photographs that nothing was trained on, `scenes` of them without a face."""
    scenes: int
    false_alarms_per_image: float
    """What `threshold` is chosen for, on these photographs."""
    overlap: float
    """Least intersection over union for a detection to find a face."""
    smallest: float
    """Faces of fewer pixels count neither way, except where a smaller size is asked for."""
    variants: tuple[MeasuredVariant, ...]
    detectors: tuple[DetectorScores, ...]


class DetectionReport(_Part):
    """The content of scores.json."""

    version: int = VERSION
    task: Literal["detect"] = "detect"
    origins: tuple[DetectionScores, ...]
    """The first is the one to quote; times are taken on it alone."""
    provenance: dict[str, Any]
    """See `mien.provenance`."""
