"""Measures face detectors, given by name, on the held-out photographs of a file, and writes what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mien.data import photographs
from mien.data.photographs import Photograph
from mien.errors import DataError, FetchError
from mien.evaluation.detection.report import galleries, pictures, render
from mien.evaluation.detection.run import SPEED_RUNS, SPEED_SIZES, Contender, contender, measure, speeds
from mien.evaluation.detection.scores import DetectionScores
from mien.files import replacing
from mien.vision.detect import DETECTORS

MOST = 6
"""Detectors that a page has colours for."""
Progress = Callable[[str, int, int | None], object]


def measure_detectors(
    names: Sequence[str], data: Path, out: Path | None, progress: Progress, note: Callable[[str], object]
) -> DetectionScores:
    """Scores of the detectors named, or of all that can be had, on the held-out part of the Parquet file `data`.

    scores.json and detection.html are written into the folder `out`. `progress` is called with a stage in words, what
    is done of it, and how much it is; `note` with the detectors that are left out. Raises MienError where a detector or
    the photographs cannot be had.
    """
    contenders = _contenders(names, note)
    held_out = _held_out(data)
    if out is not None and out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; choose a folder for the scores")
    found = measure(
        contenders, held_out, workers=os.cpu_count() or 1, step=_counter(progress, "detecting", len(held_out))
    )
    runs = len(contenders) * len(SPEED_SIZES) * (SPEED_RUNS + 1)
    times = speeds(contenders, held_out, _counter(progress, "taking times", runs))
    detectors = zip(found.detectors, times, strict=True)
    scores = found.model_copy(
        update={
            "detectors": tuple(one.model_copy(update={"speed": speed}) for one, speed in detectors),
            "provenance": {**found.provenance, "data": data.name, "data_sha256": photographs.file_hash(data)},
        }
    )
    if out is not None:
        shown = galleries(scores, held_out, step=_counter(progress, "drawing", pictures(scores)))
        page = render(scores, shown)
        for name, content in (("scores.json", scores.model_dump_json(indent=2) + "\n"), ("detection.html", page)):
            with replacing(out / name, str(out / name)) as part:
                part.write_text(content, encoding="utf-8")
    return scores


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


def _held_out(data: Path) -> list[Photograph]:
    if data.is_dir():
        raise DataError(
            f"{data} is a folder; detectors are measured on a Parquet file of photographs with marked faces"
        )
    everything = photographs.read(data)
    held_out = photographs.held_out(everything)
    if not held_out:
        raise DataError(
            f"none of the {len(everything):,} photographs of {data} is held out; "
            f"{photographs.HELD_OUT:.0%} are, chosen by their hash, so add more"
        )
    return held_out
