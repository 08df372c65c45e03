"""Scores made visible: the confusion matrix, the reliability diagram, and recall over data sets, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError
from mien.evaluation.expression.scores import Scores
from mien.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Recalls = Sequence[tuple[str, Sequence[tuple[str, float | None]]]]
"""Rows of a name with a recall in 0..1 for each label, None where there is none."""

BLUE, ORANGE, INK, FAINT = "#2563a8", "#e07b39", "#22262b", "#9aa3ad"
DPI = 160


def save_confusion(scores: Scores, path: Path) -> None:
    """Write the confusion matrix, counts on the left and each row's ratios on the right.

    Raises MissingExtraError without matplotlib.
    """
    from matplotlib.colors import LinearSegmentedColormap

    figure = _figure(12.4, 6.0)
    counts = np.array(scores.confusion, np.int64)
    ratios = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("shades", ["#f6f8fb", "#b9d0ea", "#5b92cf", "#174a85"])
    left, right = figure.subplots(1, 2)
    _matrix(left, scores.labels, counts, [[f"{v:,}" for v in row] for row in counts], shades)
    _matrix(right, scores.labels, ratios, [[_percent(v) for v in row] for row in ratios], shades)
    left.set_title("images", color=INK, fontsize=12, pad=10)
    right.set_title("share of the true label's images", color=INK, fontsize=12, pad=10)
    left.set_ylabel("true label", color=INK, fontsize=11)
    for axes in (left, right):
        axes.set_xlabel("predicted label", color=INK, fontsize=11)
    title = f"{scores.model} on {scores.split}: {100 * scores.accuracy:.1f} % of {scores.images:,} images right"
    figure.suptitle(title, color=INK, fontsize=14, fontweight="bold")
    _save(figure, path)


def save_reliability(scores: Scores, path: Path) -> None:
    """Write the reliability diagram (Guo et al. 2017): accuracy over confidence, with and without the card's
    temperature, and how many predictions have which confidence. Raises MissingExtraError without matplotlib."""
    figure = _figure(6.4, 7.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)), label="perfectly calibrated")
    for calibration, color, marker, name in (
        (scores.uncalibrated, ORANGE, "s", "without temperature"),
        (scores.calibrated, BLUE, "o", f"temperature {scores.calibrated.temperature:.2f}"),
    ):
        filled = [b for b in calibration.bins if b.images]
        above.plot(
            [b.confidence for b in filled], [b.accuracy for b in filled], color=color, marker=marker,
            markersize=6, linewidth=1.8, label=f"{name}: ECE {calibration.ece:.3f}",
        )  # fmt: skip
    bins = scores.calibrated.bins
    shares = [b.images / scores.images for b in bins]
    below.bar([b.low for b in bins], shares, 1 / len(bins), align="edge", color=BLUE, alpha=0.75, edgecolor="white")
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))  # so that marks at 0 and 1 are whole
    above.set_ylabel("accuracy", color=INK, fontsize=11)
    below.set_ylabel("share of images", color=INK, fontsize=11)
    below.set_xlabel("confidence", color=INK, fontsize=11)
    above.legend(frameon=False, loc="upper left", labelcolor=INK, fontsize=10)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
        axes.grid(color="#e6e9ed", linewidth=0.8)
    figure.suptitle(f"{scores.model} on {scores.split}: confidence", color=INK, fontsize=14, fontweight="bold")
    _save(figure, path)


def save_origins(tables: Mapping[str, Recalls], path: Path) -> None:
    """Write one heat map for each model: a row for each data set, a column for each label's recall, None left blank.

    Raises MissingExtraError without matplotlib.
    """
    from matplotlib.colors import LinearSegmentedColormap

    sets = len(next(iter(tables.values())))
    figure = _figure(10.5, 1.2 + (0.9 + 0.52 * sets) * len(tables))
    shades = LinearSegmentedColormap.from_list("recalls", ["#c8553d", "#f3d9a4", "#f6f8fb", "#8fb7df", "#174a85"])
    panels = np.ravel(figure.subplots(len(tables), 1, squeeze=False))
    for axes, (model, rows) in zip(panels, tables.items(), strict=True):
        values = np.array([[np.nan if value is None else value for _, value in row] for _, row in rows])
        axes.imshow(values, cmap=shades, vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "white" if value > 0.82 or value < 0.12 else INK
                weight = "bold" if i == len(rows) - 1 or j == values.shape[1] - 1 else "normal"
                axes.text(j, i, _percent(value), ha="center", va="center", color=color, fontsize=10, fontweight=weight)
        axes.set_title(model, color=INK, fontsize=12, pad=8)
        axes.set_xticks(range(values.shape[1]), [label for label, _ in rows[0][1]])
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.axhline(len(rows) - 1.5, color="white", linewidth=4)
        axes.axvline(values.shape[1] - 1.5, color="white", linewidth=4)
        axes.tick_params(length=0, colors=INK, labelsize=10.5)
        axes.spines[:].set_visible(False)
    figure.suptitle("Recall by label and origin of the pictures", color=INK, fontsize=14, fontweight="bold")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path, str(path)) as part:
        figure.savefig(part, dpi=DPI, format="png")


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise MissingExtraError("drawing plots", "train") from None
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14), facecolor="white")


def _matrix(axes: Axes, labels: tuple[str, ...], values: Any, texts: list[list[str]], shades: Any) -> None:
    """One square matrix with a text in each cell, light where the cell is dark."""
    top, size = max(float(values.max()), 1e-9), min(10.5, 90 / len(labels))
    axes.imshow(values, cmap=shades, vmin=0, vmax=top)
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            color = "white" if values[i, j] > 0.55 * top else INK
            weight = "bold" if i == j else "normal"
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size, fontweight=weight)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, labels)
    axes.set_xticks([p + 0.5 for p in places[:-1]], minor=True)
    axes.set_yticks([p + 0.5 for p in places[:-1]], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.6)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=10.5)
    axes.spines[:].set_visible(False)


def _percent(ratio: float) -> str:
    return "0" if ratio == 0 else f"{100 * ratio:.1f} %" if ratio < 0.0995 else f"{100 * ratio:.0f} %"
