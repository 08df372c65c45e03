"""`mien evaluate --task detect`: detectors against each other on held-out photographs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.console import note, out, progress
from mien.errors import DataError, FetchError

if TYPE_CHECKING:
    from rich.table import Table

    from mien.data.photographs import Photograph
    from mien.evaluation.detection.run import Contender
    from mien.evaluation.detection.scores import DetectionScores, Found

MOST = 6
"""Detectors that a page has colours for."""


def evaluate_detectors(names: list[str], data: Path, as_json: bool, target: Path | None) -> None:
    """Measure detectors on the held-out part of a Parquet file and print what was found; into `target` scores.json and
    detection.html are written."""
    contenders = _contenders(names)
    held_out = _held_out(data)
    if target is not None and target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder with --out")
    scores = _measured(contenders, held_out, data)
    if as_json:
        print(scores.model_dump_json(indent=2))
    else:
        for table in (summary_table(scores), recall_table(scores), landmark_table(scores)):
            out.print(table)
    if target is not None:
        _write(scores, held_out, target)


def _contenders(names: list[str]) -> list[Contender]:
    from mien.evaluation.detection.run import contender
    from mien.vision.detect import DETECTORS

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


def _held_out(data: Path) -> list[Photograph]:
    from mien.data import photographs

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


def _measured(contenders: list[Contender], held_out: list[Photograph], data: Path) -> DetectionScores:
    from mien.data import photographs
    from mien.evaluation.detection.run import SPEED_RUNS, SPEED_SIZES, measure, speeds

    with progress("photographs") as bar:
        task = bar.add_task("detecting", total=len(held_out))
        scores = measure(contenders, held_out, workers=os.cpu_count() or 1, step=lambda n: bar.advance(task, n))
    with progress("runs") as bar:
        task = bar.add_task("taking times", total=len(contenders) * len(SPEED_SIZES) * (SPEED_RUNS + 1))
        times = speeds(contenders, held_out, lambda n: bar.advance(task, n))
    return scores.model_copy(
        update={
            "detectors": tuple(
                one.model_copy(update={"speed": speed}) for one, speed in zip(scores.detectors, times, strict=True)
            ),
            "provenance": {**scores.provenance, "data": data.name, "data_sha256": photographs.file_hash(data)},
        }
    )


def _write(scores: DetectionScores, held_out: list[Photograph], target: Path) -> None:
    from mien.evaluation.detection.report import galleries, pictures, render
    from mien.files import replacing

    with progress("pictures") as bar:
        task = bar.add_task("drawing", total=pictures(scores))
        page = render(scores, galleries(scores, held_out, step=lambda n: bar.advance(task, n)))
    for name, content in (("scores.json", scores.model_dump_json(indent=2) + "\n"), ("detection.html", page)):
        with replacing(target / name, str(target / name)) as part:
            part.write_text(content, encoding="utf-8")
    note(f"wrote scores.json and detection.html to {target}; the page holds pictures of the data")


def summary_table(scores: DetectionScores) -> Table:
    """What is one number for each detector, on the plain photographs."""
    rate = round(1 / scores.false_alarms_per_image)
    table = _table(scores, f"{scores.images:,} held-out photographs, {scores.scenes:,} without a face")
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
    table = _by_variant(scores, "recall at the same thresholds", lambda found: _percent(found.recall), max)
    table.caption = f"faces of {scores.smallest:g} pixels and more, but where a size is named"
    return table


def landmark_table(scores: DetectionScores) -> Table:
    """Median landmark errors in every variant, the best of each row in bold."""
    return _by_variant(scores, "landmark error, median of the faces found", _error, min)


def _by_variant(
    scores: DetectionScores, title: str, text: Callable[[Found], str], choose: Callable[..., float]
) -> Table:
    from rich.text import Text

    from mien.evaluation.detection.report import GROUPS

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
