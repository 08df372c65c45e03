"""`mien evaluate --task detect`: detectors against each other on photographs that they were not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mien.cli.console import out

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation.detection.scores import DetectionReport, DetectionScores, Found


def print_report(report: DetectionReport, as_json: bool) -> None:
    """Print scores as tables, origin by origin, or as JSON."""
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        for scores in report.origins:
            for table in (summary_table(scores), recall_table(scores), landmark_table(scores)):
                out.print(table)


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
