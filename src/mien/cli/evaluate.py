"""`mien evaluate`: scores of a model on a split of a prepared set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import note, out, progress

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluate.run import Scores


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model's name or the path of an .onnx file.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="A prepared set, made by mien data prepare.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON instead of tables.")] = False,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write scores.json, confusion.png and reliability.png there."),
    ] = None,
) -> None:
    """Measure a model: accuracy, F1, confusion matrix, and how far its probabilities can be trusted.

    Choose between models on validation; keep test for the final number.
    """
    from mien import models
    from mien.data import prepared
    from mien.evaluate.run import evaluate

    loaded = models.load(model)
    with progress("passes") as bar:
        task = bar.add_task("reading the set", total=None)
        everything = prepared.load(data)
        bar.update(task, description="classifying")
        scores = evaluate(
            loaded, everything, split, manifest_sha256=prepared.manifest_hash(data),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip
    if as_json:
        print(scores.model_dump_json(indent=2))
    else:
        for table in (summary_table(scores), class_table(scores), confusion_table(scores)):
            out.print(table)
    if target is not None:
        _write(scores, target)


def summary_table(scores: Scores) -> Table:
    """The scores that are one number each."""
    from rich.table import Table

    table = Table(title=f"{scores.model} on {scores.split}, {scores.images:,} images", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    low, high = scores.accuracy_interval
    table.add_row("accuracy", _percent(scores.accuracy), f"95 % interval {_percent(low)} to {_percent(high)}")
    table.add_row("accuracy with flip", _percent(scores.accuracy_with_flip), "image and mirror image averaged")
    if scores.accuracy_unseen:
        unseen = scores.accuracy_unseen
        table.add_row("accuracy unseen", _percent(unseen.accuracy), f"{unseen.images:,} images not in training")
    table.add_row("macro-F1", _percent(scores.macro_f1), "mean over the labels")
    cold, warm = scores.uncalibrated, scores.calibrated
    table.add_row("NLL", f"{warm.nll:.3f}", f"{cold.nll:.3f} without temperature {warm.temperature:.2f}")
    table.add_row("ECE", f"{warm.ece:.3f}", f"{cold.ece:.3f} without temperature, {len(warm.bins)} bins")
    table.add_row("Brier", f"{warm.brier:.3f}", f"{cold.brier:.3f} without temperature")
    for protocol, ferplus in scores.ferplus.items():
        on = f"{ferplus.images:,} images, {protocol} majority"
        if ferplus.vote_head is not None:
            table.add_row("FER+ vote head", _percent(ferplus.vote_head), on)
        table.add_row("FER+ label head", _percent(ferplus.label_head), f"{on}, no contempt")
    return table


def class_table(scores: Scores) -> Table:
    """Precision, recall and F1 of each label."""
    from rich.table import Table

    table = Table("label", "images", "precision", "recall", "F1")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in scores.per_class.items():
        table.add_row(label, f"{row.support:,}", _percent(row.precision), _percent(row.recall), _percent(row.f1))
    return table


def confusion_table(scores: Scores) -> Table:
    """Counts, and below them the share of their row; the darker, the more of it. Fits into 80 columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="confusion: rows are true labels, columns predicted", box=None, padding=0)
    table.add_column(style="bold", justify="right")
    for label in scores.labels:
        table.add_column(f"{label:^9}", no_wrap=True)
    for label, row in zip(scores.labels, scores.confusion, strict=True):
        shares = [count / max(sum(row), 1) for count in row]
        cells = [Text(f"{c:^9,}\n{f'{s:.0%}':^9}", style=_shade(s)) for c, s in zip(row, shares, strict=True)]
        table.add_row(f"{label} ", *cells)
    return table


def _shade(share: float) -> str:
    """White to blue below black ink, which can be read in any terminal, also where colours are few."""
    red, green, blue = (round(low + (high - low) * share**0.7) for low, high in ((246, 86), (248, 148), (251, 220)))
    return f"black on rgb({red},{green},{blue})"


def _write(scores: Scores, target: Path) -> None:
    from mien.errors import DataError
    from mien.evaluate import plots

    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "scores.json").write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
        plots.save_confusion(scores, target / "confusion.png")
        plots.save_reliability(scores, target / "reliability.png")
    except OSError as error:
        raise DataError(f"cannot write to {target}: {error.strerror or error}") from None
    note(f"wrote scores.json, confusion.png and reliability.png to {target}")


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"
