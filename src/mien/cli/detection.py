"""`mien evaluate --task detect`: detectors against each other on photographs that they were not trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.console import note, out, progress
from mien.errors import DataError, FetchError

if TYPE_CHECKING:
    from rich.table import Table

    from mien.data.photographs import Photograph
    from mien.evaluate.detection import Contender
    from mien.evaluate.detection_scores import DetectionReport, DetectionScores, Found

MOST = 6
"""Detectors that a page has colours for."""


@dataclass(frozen=True)
class Origin:
    """Photographs of one data set that no detector was trained on."""

    name: str
    photographs: list[Photograph]
    sha256: str


def evaluate_detectors(names: list[str], data: list[Path], every: int, as_json: bool, target: Path | None) -> None:
    """Measure detectors on every so manieth photograph of each data set and print what was found; into `target`
    scores.json and detection.html are written."""
    contenders = _contenders(names)
    origins = [_origin(path, data, every) for path in data]
    if target is not None and target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder with --out")
    report = _measured(contenders, origins)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        for scores in report.origins:
            for table in (summary_table(scores), recall_table(scores), landmark_table(scores)):
                out.print(table)
    if target is not None:
        _write(report, origins, target)


def _contenders(names: list[str]) -> list[Contender]:
    from mien.detect import DETECTORS
    from mien.evaluate.detection import contender

    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise typer.BadParameter(f"{twice[0]} is named twice", param_hint="MODEL...")
    if len(names) > MOST:
        raise typer.BadParameter(
            f"{len(names)} detectors are too many side by side; name {MOST}", param_hint="MODEL..."
        )
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


def _origin(path: Path, others: list[Path], every: int) -> Origin:
    from mien.data import photographs

    if others.count(path) > 1:
        raise typer.BadParameter(f"{path} is named twice", param_hint="--data")
    name = path.name if [other.name for other in others].count(path.name) == 1 else str(path)
    if path.is_dir():
        if not (path / photographs.BOXES).exists():
            raise DataError(
                f"{path} is a folder without {photographs.BOXES}, the list of the faces in its pictures, with the "
                "columns image, x1, y1, x2, y2 and, if you like, ignore"
            )
        everything = photographs.read_folder(path)
        if not everything:
            raise DataError(f"{path} holds no pictures")
        digest = hashlib.sha256((path / photographs.BOXES).read_bytes())
        for photograph in everything:
            digest.update(photograph.encoded)
        return Origin(name, everything[::every], digest.hexdigest())
    everything = photographs.read(path)
    held_out = photographs.held_out(everything)
    if not held_out:
        raise DataError(
            f"none of the {len(everything):,} photographs of {path} is held out; "
            f"{photographs.HELD_OUT:.0%} are, chosen by their hash, so add more"
        )
    return Origin(name, held_out[::every], photographs.file_hash(path))


def _measured(contenders: list[Contender], origins: list[Origin]) -> DetectionReport:
    from mien.evaluate.detection import SPEED_RUNS, SPEED_SIZES, measure, speeds
    from mien.evaluate.detection_scores import DetectionReport
    from mien.provenance import provenance

    found = []
    with progress("photographs") as bar:
        for origin in origins:
            task = bar.add_task(f"detecting in {origin.name}", total=len(origin.photographs))
            scores = measure(
                contenders, origin.photographs, origin=origin.name, data_sha256=origin.sha256,
                workers=os.cpu_count() or 1, step=partial(bar.advance, task),
            )  # fmt: skip
            found.append(scores)
    with progress("runs") as bar:
        task = bar.add_task("taking times", total=len(contenders) * len(SPEED_SIZES) * (SPEED_RUNS + 1))
        times = speeds(contenders, origins[0].photographs, partial(bar.advance, task))
    timed = [one.model_copy(update={"speed": speed}) for one, speed in zip(found[0].detectors, times, strict=True)]
    found[0] = found[0].model_copy(update={"detectors": tuple(timed)})
    return DetectionReport(origins=tuple(found), provenance=provenance())


def _write(report: DetectionReport, origins: list[Origin], target: Path) -> None:
    from mien.evaluate.detection_report import galleries, pictures, render
    from mien.files import replacing

    with progress("pictures") as bar:
        task = bar.add_task("drawing", total=sum(pictures(scores) for scores in report.origins))
        shown = [
            galleries(scores, origin.photographs, step=partial(bar.advance, task))
            for scores, origin in zip(report.origins, origins, strict=True)
        ]
        page = render(report, shown)
    for name, content in (("scores.json", report.model_dump_json(indent=2) + "\n"), ("detection.html", page)):
        with replacing(target / name, str(target / name)) as part:
            part.write_text(content, encoding="utf-8")
    note(f"wrote scores.json and detection.html to {target}; the page holds pictures of the data")


def summary_table(scores: DetectionScores) -> Table:
    """What is one number for each detector, on the plain photographs."""
    rate = round(1 / scores.false_alarms_per_image)
    table = _table(scores, f"{scores.origin}: {scores.images:,} photographs, {scores.scenes:,} without a face")
    plain = [one.variants["plain"] for one in scores.detectors]
    _row(table, f"recall, 1 false alarm in {rate} images", [_percent(found.recall) for found in plain])
    intervals = [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in (found.interval for found in plain)]
    _row(table, "  95 % interval", intervals, "dim")
    _row(table, "  threshold", [f"{one.threshold:.4f}" for one in scores.detectors], "dim")
    _row(table, "recall as it comes", [_percent(found.default_recall) for found in plain])
    _row(table, "  false alarms per image", [f"{found.default_false_alarms:.3f}" for found in plain], "dim")
    _row(table, "landmark error, median", [_error(found) for found in plain])
    means = [_percent(found.landmark_error.mean) if found.landmark_error else "-" for found in plain]
    _row(table, "  mean", means, "dim")
    for i, speed in enumerate(scores.detectors[0].speed):
        times = [f"{one.speed[i].milliseconds:.1f} ms" for one in scores.detectors]
        _row(table, f"{speed.width}x{speed.height}, one thread", times)
    _row(table, "weights", [f"{one.bytes / 1000:,.0f} kB" for one in scores.detectors])
    return table


def recall_table(scores: DetectionScores) -> Table:
    """Recall in every variant, the best of each row in bold."""
    table = _by_variant(
        scores, f"{scores.origin}: recall at the same thresholds", lambda found: _percent(found.recall), max
    )
    table.caption = f"faces of {scores.smallest:g} pixels and more, but where a size is named"
    return table


def landmark_table(scores: DetectionScores) -> Table:
    """Median landmark errors in every variant, the best of each row in bold."""
    return _by_variant(scores, f"{scores.origin}: landmark error, median of the faces found", _error, min)


def _by_variant(
    scores: DetectionScores, title: str, text: Callable[[Found], str], choose: Callable[..., float]
) -> Table:
    from rich.text import Text

    from mien.evaluate.detection_report import GROUPS

    table = _table(scores, title)
    table.add_column("faces", justify="right", style="dim")
    for group, words in GROUPS.items():
        members = [v for v in scores.variants if v.group == group and v.faces]
        if members and group != "plain":
            table.add_section()
            table.add_row(Text(words, "bold dim"))
        for v in members:
            texts = [text(one.variants[v.name]) for one in scores.detectors]
            known = [float(t.removesuffix(" %")) for t in texts if t != "-"]
            best = f"{choose(known):.1f} %" if known and len(texts) > 1 else ""
            cells = [Text(t, "bold" if t == best else "") for t in texts]
            table.add_row(v.name, *cells, f"{v.faces:,}")
    return table


def _table(scores: DetectionScores, title: str) -> Table:
    from rich.table import Table

    table = Table(title=title)
    table.add_column()
    for one in scores.detectors:
        table.add_column(one.name, justify="right", overflow="fold")
    return table


def _row(table: Table, name: str, texts: list[str], style: str = "") -> None:
    table.add_row(name, *texts, style=style)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _error(found: Found) -> str:
    return _percent(found.landmark_error.median) if found.landmark_error else "-"
