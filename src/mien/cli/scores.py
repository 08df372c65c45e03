"""How scores look on a terminal: tables that fit into 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.evaluation.expression.scores import TTA_WORDS

if TYPE_CHECKING:
    from mien.evaluation.expression.compare import Row
    from mien.evaluation.expression.origins import Origins
    from mien.evaluation.expression.scores import Robustness, Scores


def summary_table(scores: Scores) -> Table:
    """The scores that are one number each."""
    table = Table(title=f"{scores.model} on {scores.split}, {scores.images:,} images", show_header=False)
    table.caption = TTA_WORDS[scores.tta]
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    low, high = scores.accuracy_interval
    table.add_row("accuracy", percent(scores.accuracy), f"95 % interval {percent(low)} to {percent(high)}")
    if scores.tta == "none":
        table.add_row("accuracy with flip", percent(scores.accuracy_with_flip), "image and mirror image averaged")
    if scores.accuracy_unseen:
        unseen = scores.accuracy_unseen
        on = f"{unseen.images:,} images without a copy in training"
        table.add_row("accuracy unseen", percent(unseen.accuracy), on)
    table.add_row("balanced accuracy", percent(scores.balanced_accuracy), "mean recall over the labels")
    table.add_row("macro-F1", percent(scores.macro_f1), "mean over the labels")
    table.add_row("top 2", percent(scores.top2_accuracy), "the label is among the two likeliest")
    cold, warm = scores.uncalibrated, scores.calibrated
    table.add_row("NLL", f"{warm.nll:.3f}", f"{cold.nll:.3f} without temperature {warm.temperature:.2f}")
    table.add_row("ECE", f"{warm.ece:.3f}", f"{cold.ece:.3f} without temperature, {len(warm.bins)} bins")
    table.add_row("Brier", f"{warm.brier:.3f}", f"{cold.brier:.3f} without temperature")
    for row in scores.coverage:
        if row.threshold is not None:
            means = f"answered at {row.accuracy:.0%} accuracy, from {row.threshold:.2f} up"
            table.add_row("coverage", percent(row.share), means)
        else:
            table.add_row("coverage", "none", f"no threshold gives {row.accuracy:.0%} accuracy")
    for protocol, ferplus in scores.ferplus.items():
        on = f"{ferplus.images:,} images, {protocol} majority"
        if ferplus.vote_head is not None:
            table.add_row("FER+ vote head", percent(ferplus.vote_head), on)
        table.add_row("FER+ label head", percent(ferplus.label_head), f"{on}, no contempt")
    if scores.vote_divergence:
        gap = scores.vote_divergence
        if gap.vote_head is not None:
            table.add_row("KL to FER+ votes", f"{gap.vote_head:.3f}", f"vote head, {gap.images:,} images")
        table.add_row("KL to FER+ votes", f"{gap.label_head:.3f}", f"label head, {gap.images:,} images")
    return table


def class_table(scores: Scores) -> Table:
    """Precision, recall and F1 of each label."""
    table = Table("label", "images", "precision", "recall", "F1")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in scores.per_class.items():
        table.add_row(label, f"{row.support:,}", percent(row.precision), percent(row.recall), percent(row.f1))
    return table


def confusion_table(scores: Scores) -> Table:
    """Counts, and below them the share of their row; the darker, the more of it."""
    table = Table(title="confusion: rows are true labels, columns predicted", box=None, padding=0)
    table.add_column(style="bold", justify="right")
    longest = max(map(len, scores.labels))
    width = max(5, min(longest + 1, (79 - longest) // len(scores.labels)))  # so that it fits into 80 columns
    for label in scores.labels:
        table.add_column(f"{label[:width]:^{width}}", no_wrap=True)
    for label, row, shares in zip(scores.labels, scores.confusion, scores.confusion_ratios, strict=True):
        cells = [
            Text(f"{c:^{width},}\n{f'{s:.0%}':^{width}}", style=_shade(s)) for c, s in zip(row, shares, strict=True)
        ]
        table.add_row(f"{label} ", *cells)
    return table


def robustness_table(name: str, robustness: Robustness) -> Table:
    """Accuracy under each corruption from its mildest to its strongest."""
    table = Table(title=f"{name} on spoilt images, {percent(robustness.clean)} on clean ones")
    table.caption = f"mean over all {percent(robustness.mean)}; one forward pass, seed {robustness.seed}"
    table.add_column("corruption")
    table.add_column("strength")
    strengths = len(next(iter(robustness.corruptions.values())).accuracy)
    for level in range(1, strengths + 1):
        table.add_column(str(level), justify="right")
    for kind, row in robustness.corruptions.items():
        unit = f"{row.strengths[0]:g} to {row.strengths[-1]:g}"
        cells = [Text(f"{100 * share:.1f}", style=_shade(share)) for share in row.accuracy]
        table.add_row(kind, Text(unit, "dim"), *cells)
    return table


def comparison_table(found: Sequence[Scores]) -> Table:
    """Several models side by side, the best of each row in bold."""
    from mien.evaluation.expression.compare import side_by_side

    table = Table(title=f"{found[0].split}, {found[0].images:,} images", caption=TTA_WORDS[found[0].tta])
    table.add_column()
    for scores in found:
        table.add_column(scores.model, justify="right", overflow="fold")
    for row in side_by_side(found):
        table.add_row(row.name, *_cells(row))
    return table


def origins_table(found: Origins) -> Table:
    """A row for each data set and one for their mean: of several models the mean recall of each, the best in bold."""
    from mien.evaluation.expression.compare import as_row

    first = next(iter(found.sets.values())).scores[0]
    table = Table(title="mean recall over the labels", caption=TTA_WORDS[first.tta])
    table.add_column("set")
    table.add_column("split")
    table.add_column("images", justify="right")
    for model in found.models:
        table.add_column(model, justify="right", overflow="fold")
    for name, comparison in found.sets.items():
        row, scores = as_row(name, [one.balanced_accuracy for one in comparison.scores]), comparison.scores[0]
        table.add_row(row.name, scores.split, f"{scores.images:,}", *_cells(row))
    mean = as_row("mean over origins", [found.mean(model).balanced_accuracy for model in found.models])
    table.add_section()
    table.add_row(mean.name, "", "", *_cells(mean))
    return table


def origin_scores_table(found: Origins, model: str) -> Table:
    """The scores of one model that are one number each, by data set, and their means."""
    table = Table("set", "accuracy", "mean recall", "macro-F1", "ECE", title=model)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, scores in found.of(model).items():
        table.add_row(
            name, percent(scores.accuracy), percent(scores.balanced_accuracy), percent(scores.macro_f1),
            f"{scores.calibrated.ece:.3f}",
        )  # fmt: skip
    mean = found.mean(model)
    table.add_section()
    table.add_row(
        "mean over origins", percent(mean.accuracy), Text(percent(mean.balanced_accuracy), "bold"),
        percent(mean.macro_f1), f"{mean.ece:.3f}",
    )  # fmt: skip
    return table


def recalls_table(found: Origins, model: str) -> Table:
    """One model's recall of each label on each data set; the darker, the more of it."""
    from mien.evaluation.expression.origins import recalls

    rows = recalls(found, model)
    table = Table(title=f"{model}: recall of each label, %", box=None, padding=(0, 1, 0, 0))
    table.add_column("", style="bold")
    for label, _ in rows[0][1][:-1]:
        table.add_column(label[:8], justify="right", no_wrap=True)
    for name, row in rows:
        cells = [
            Text("") if recall is None else Text(f"{100 * recall:5.0f}", style=_shade(recall)) for _, recall in row[:-1]
        ]
        table.add_row(name, *cells)
    return table


def _cells(row: Row) -> list[Text]:
    """A score of several models, the best in bold."""
    return [Text(text, "bold" if i in row.best else "") for i, text in enumerate(row.texts)]


def _shade(share: float) -> str:
    """White to blue below black ink, which can be read in any terminal, also where colours are few."""
    red, green, blue = (round(low + (high - low) * share**0.7) for low, high in ((246, 86), (248, 148), (251, 220)))
    return f"black on rgb({red},{green},{blue})"


def percent(ratio: float) -> str:
    """A share in 0..1 as `69.4 %`."""
    return f"{100 * ratio:.1f} %"
