"""Models on data sets of several origins: how well they read what does not look like their training data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from mien.data.prepared import load_counts
from mien.evaluation.expression import plots
from mien.evaluation.expression.compare import Comparison
from mien.evaluation.expression.measure import folder_name, measure, save_scores
from mien.evaluation.expression.scores import Scores, Tta
from mien.files import replacing
from mien.labels import split as split_name
from mien.models import Model


class Mean(BaseModel):
    """A model's means over data sets, in which each counts alike, however many images it has; all in 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    accuracy: float
    balanced_accuracy: float
    """Mean over the sets of the mean recall over the labels that occur in each."""
    macro_f1: float
    ece: float


@dataclass(frozen=True)
class Origins:
    """What was measured of the same models on several data sets, by the sets' names, in the order given."""

    sets: Mapping[str, Comparison]

    @property
    def models(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(scores.model for scores in next(iter(self.sets.values())).scores)

    def of(self, model: str) -> dict[str, Scores]:
        """One model's scores on each set."""
        place = self.models.index(model)
        return {name: found.scores[place] for name, found in self.sets.items()}

    def mean(self, model: str) -> Mean:
        """Of one model over the sets: the number to choose a model for pictures of any origin by."""
        rows = [
            (scores.accuracy, scores.balanced_accuracy, scores.macro_f1, scores.calibrated.ece)
            for scores in self.of(model).values()
        ]
        accuracy, balanced, f1, ece = np.mean(rows, axis=0).tolist()
        return Mean(accuracy=accuracy, balanced_accuracy=balanced, macro_f1=f1, ece=ece)

    def as_json(self) -> str:
        """All of it: `sets` with `models` and `differences` of each, and the `means` of each model."""
        content = {
            "means": {model: self.mean(model).model_dump(mode="json") for model in self.models},
            "sets": {
                name: {
                    "models": [scores.model_dump(mode="json") for scores in found.scores],
                    "differences": [one.model_dump(mode="json") for one in found.differences],
                }
                for name, found in self.sets.items()
            },
        }
        return json.dumps(content, indent=2)


def measure_origins(
    loaded: Mapping[str, Model], folders: Mapping[str, Path], split: str, tta: Tta, robustness: bool,
    progress: Callable[[str, int, int | None], object], note: Callable[[str], object],
) -> Origins:  # fmt: skip
    """Measure every model on that split of each prepared set.

    A set whose images are all in one split, as those are that nobody trains on, is measured there whichever is asked
    for, and `note` says so. Raises DataError and ModelError as `measure` does.
    """
    found = {}
    for name, folder in folders.items():
        chosen = _filled(folder, split)
        if chosen != split_name(split):
            note(f"{name} has images in {chosen} only, so these are measured")
        found[name] = measure(
            loaded, folder, chosen, tta, robustness,
            lambda stage, done, of, name=name: progress(f"{name}: {stage}", done, of),  # type: ignore[misc]
        )  # fmt: skip
    return Origins(found)


def _filled(folder: Path, split: str) -> str:
    """The split asked for, or the only one that has images."""
    filled = [name for name, counts in load_counts(folder).items() if sum(counts.values())]
    return filled[0] if len(filled) == 1 else split_name(split)


def save_origins(found: Origins, target: Path) -> list[Path]:
    """Write origins.json and origins.png into `target`, and the files of each set and model into folders there, which
    are returned. Raises MienError where they cannot be written."""
    folders: list[Path] = []
    for name, comparison in found.sets.items():
        folders += save_scores(comparison, target / folder_name(name))
    with replacing(target / "origins.json", str(target / "origins.json")) as part:
        part.write_text(found.as_json() + "\n", encoding="utf-8")
    plots.save_origins({model: recalls(found, model) for model in found.models}, target / "origins.png")
    return folders


def recalls(found: Origins, model: str) -> plots.Recalls:
    """Of a model a row for each set, and last their mean: the recall of each label, None where the set has none of it,
    and their mean over the labels."""
    rows: list[tuple[str, list[tuple[str, float | None]]]] = []
    columns: dict[str, list[float]] = {}
    for name, scores in found.of(model).items():
        known = {label: row.recall if row.support else None for label, row in scores.per_class.items()}
        for label, recall in known.items():
            columns.setdefault(label, []).extend([] if recall is None else [recall])
        rows.append((name, [*known.items(), ("mean", scores.balanced_accuracy)]))
    means = [(label, float(np.mean(column)) if column else None) for label, column in columns.items()]
    rows.append(("mean over origins", [*means, ("mean", found.mean(model).balanced_accuracy)]))
    return rows
