"""Models side by side: their scores in rows, how much better one is on the same images, whether by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mien import metrics
from mien.evaluation.expression.run import Reading
from mien.evaluation.expression.scores import Scores


class Difference(BaseModel):
    """`model` against `to` on the same `images`; accuracies in 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    to: str
    images: int
    only_model: int
    """Images that only `model` reads right."""
    only_to: int
    accuracy_difference: float
    """Of `model` less that of `to`."""
    interval: tuple[float, float]
    """95 %, by paired bootstrap."""
    p_value: float
    """McNemar's exact test: how probable so uneven a split is between two equally good models."""

    def sentence(self) -> str:
        """In words."""
        low, high = self.interval
        verdict = "unlikely to be chance" if self.p_value < 0.05 else "may be chance"
        return (
            f"{self.model} reads {self.only_model} images right that {self.to} does not, and {self.only_to} the other "
            f"way round: {100 * self.accuracy_difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), "
            f"McNemar p = {self.p_value:.2g}; {verdict}"
        )


@dataclass(frozen=True)
class Comparison:
    """Scores of one model or several on the same images, in the order given, and every other against the first.

    Where there are several, `scores[i].model` is a name that no other has.
    """

    scores: tuple[Scores, ...]
    differences: tuple[Difference, ...]


def differences(labels: NDArray[np.integer], readings: dict[str, Reading]) -> list[Difference]:
    """Every model but the first against the first, on images with these true labels (n,)."""
    (first, base), *others = readings.items()
    right = base.predictions == labels
    found = []
    for name, reading in others:
        result = metrics.paired(right, reading.predictions == labels)
        found.append(
            Difference(
                model=name,
                to=first,
                images=len(labels),
                only_model=result.only_second,
                only_to=result.only_first,
                accuracy_difference=result.difference,
                interval=result.interval,
                p_value=result.p_value,
            )
        )
    return found


@dataclass(frozen=True)
class Row:
    """One score of several models, as text, and the indices of the best of them."""

    name: str
    texts: tuple[str, ...]
    best: frozenset[int]


def side_by_side(found: Sequence[Scores]) -> list[Row]:
    """A row for each score, `-` where a model has none. No model is the best where they were measured on different
    images."""
    rows = [
        as_row("accuracy", [s.accuracy for s in found]),
        as_row("accuracy unseen", [s.accuracy_unseen.accuracy if s.accuracy_unseen else None for s in found]),
        as_row("balanced accuracy", [s.balanced_accuracy for s in found]),
        as_row("macro-F1", [s.macro_f1 for s in found]),
        as_row("top 2", [s.top2_accuracy for s in found]),
        as_row("NLL", [s.calibrated.nll for s in found], higher_is_better=False),
        as_row("ECE", [s.calibrated.ece for s in found], higher_is_better=False),
        as_row("Brier", [s.calibrated.brier for s in found], higher_is_better=False),
    ]
    for i, target in enumerate(row.accuracy for row in found[0].coverage):
        rows.append(as_row(f"coverage at {target:.0%}", [s.coverage[i].share for s in found]))
    labels = dict.fromkeys(label for s in found for label in s.labels)
    rows += [as_row(f"F1 {x}", [s.per_class[x].f1 if x in s.per_class else None for s in found]) for x in labels]
    for protocol in found[0].ferplus:
        heads = [s.ferplus[protocol].vote_head if protocol in s.ferplus else None for s in found]
        rows.append(as_row(f"FER+ {protocol}, vote head", heads))
    gaps = [s.vote_divergence for s in found]
    rows += [
        as_row("KL to FER+ votes, vote head", [g.vote_head if g else None for g in gaps], higher_is_better=False),
        as_row("KL to FER+ votes, label head", [g.label_head if g else None for g in gaps], higher_is_better=False),
    ]
    rows.append(as_row("on spoilt images", [s.robustness.mean if s.robustness else None for s in found]))
    alike = len({(s.split, s.provenance.get("manifest_sha256")) for s in found}) == 1
    known = [row for row in rows if any(text != "-" for text in row.texts)]
    return known if alike else [replace(row, best=frozenset()) for row in known]


def as_row(name: str, values: Sequence[float | None], *, higher_is_better: bool = True) -> Row:
    """A score of several models, None where one has none, in percent where more is better."""
    known = [value for value in values if value is not None]
    texts = [
        "-" if value is None else f"{100 * value:.1f} %" if higher_is_better else f"{value:.3f}" for value in values
    ]
    best = (max if higher_is_better else min)(known, default=None)
    winner = "" if best is None else texts[list(values).index(best)]
    return Row(name, tuple(texts), frozenset(i for i, text in enumerate(texts) if text == winner))
