"""Measures face detectors, given by name, on photographs of one or several origins, and writes what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mien.errors import DataError, FetchError
from mien.evaluation.detection.origins import Origin, read_origins
from mien.evaluation.detection.report import galleries, pictures, render
from mien.evaluation.detection.run import SPEED_RUNS, SPEED_SIZES, Contender, contender, measure, speeds
from mien.evaluation.detection.scores import DetectionReport
from mien.files import replacing
from mien.provenance import provenance
from mien.vision.detect import DETECTORS

MOST = 6
"""Detectors that a page has colours for."""
Progress = Callable[[str, int, int | None], object]


def measure_detectors(
    names: Sequence[str], data: Sequence[Path], every: int, out: Path | None, progress: Progress,
    note: Callable[[str], object],
) -> DetectionReport:  # fmt: skip
    """Scores of the detectors named, or of all available ones, on every Nth photograph of each data set by itself; see
    `read_origins`.

    scores.json and detection.html are written into the folder `out`. `progress` is called with a stage in words, what
    is done of it, and how much it is; `note` with the detectors that are left out. Raises MienError where a detector or
    the photographs are not available.
    """
    contenders = _contenders(names, note)
    origins = read_origins(data, every)
    if out is not None and out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; choose a folder for the scores")
    found = [
        measure(
            contenders, origin.photographs, origin=origin.name, data_sha256=origin.sha256,
            workers=os.cpu_count() or 1,
            step=_counter(progress, f"detecting in {origin.name}", len(origin.photographs)),
        )
        for origin in origins
    ]  # fmt: skip
    runs = len(contenders) * len(SPEED_SIZES) * (SPEED_RUNS + 1)
    times = speeds(contenders, origins[0].photographs, _counter(progress, "taking times", runs))
    timed = [one.model_copy(update={"speed": speed}) for one, speed in zip(found[0].detectors, times, strict=True)]
    found[0] = found[0].model_copy(update={"detectors": tuple(timed)})
    report = DetectionReport(origins=tuple(found), provenance=provenance())
    if out is not None:
        _write(report, origins, out, progress)
    return report


def _write(report: DetectionReport, origins: Sequence[Origin], out: Path, progress: Progress) -> None:
    step = _counter(progress, "drawing", sum(map(pictures, report.origins)))
    shown = [
        galleries(scores, origin.photographs, step=step) for scores, origin in zip(report.origins, origins, strict=True)
    ]
    page = render(report, shown)
    for name, content in (("scores.json", report.model_dump_json(indent=2) + "\n"), ("detection.html", page)):
        with replacing(out / name, str(out / name)) as part:
            part.write_text(content, encoding="utf-8")


def _counter(progress: Progress, stage: str, of: int) -> Callable[[int], None]:
    """Adds up steps for a stage's progress."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, of)

    return step


def _contenders(names: Sequence[str], note: Callable[[str], object]) -> list[Contender]:
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DataError(f"the detector {twice[0]} is named twice")
    if len(names) > MOST:
        raise DataError(f"{len(names)} detectors are too many side by side; name {MOST}")
    if names:
        stems = [Path(name).stem for name in names]
        return [
            one if stems.count(stem) == 1 else replace(one, name=name)
            for name, stem, one in zip(names, stems, map(contender, names), strict=True)
        ]
    found = []
    for name in DETECTORS:
        try:
            found.append(contender(name))
        except FetchError as error:
            note(f"{name} is left out: {error}")
    return found
