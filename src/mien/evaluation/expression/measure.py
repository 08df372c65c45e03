"""Measures one model, or several on the same images, and writes what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mien.data import prepared
from mien.evaluation.expression import plots
from mien.evaluation.expression.compare import Comparison, differences
from mien.evaluation.expression.run import check_labels, measure_robustness, passes, read, score, unseen
from mien.evaluation.expression.scores import Scores, Tta
from mien.files import replacing
from mien.models import Model
from mien.vision.classify import Classifier


def measure(
    loaded: Mapping[str, Model], folder: Path, split: str, tta: Tta, robustness: bool,
    progress: Callable[[str, int, int | None], object],
) -> Comparison:  # fmt: skip
    """Scores of every model on a split of the prepared set in `folder`, and how the others compare to the first.

    `progress` is called with a stage in words, what is done of it, and how much it is or None. Raises DataError when
    the split is empty or has other labels than a model, ModelError when a card and its weights disagree.
    """
    progress("reading the set", 0, None)
    data, manifest = prepared.load(folder), prepared.manifest_hash(folder)
    part = data.split(split)
    classifiers = {name: Classifier(model) for name, model in loaded.items()}
    for classifier in classifiers.values():
        check_labels(classifier, data)
    fresh = unseen(data, split, lambda done, of: progress("comparing with training", done, of))
    found, readings = [], {}
    done, of = 0, len(loaded) * passes(part, tta, robustness=robustness)

    def step(images: int) -> None:
        nonlocal done
        done += images
        progress("classifying", done, of)

    for name, classifier in classifiers.items():
        readings[name] = read(classifier, part.images, tta, step)
        under = measure_robustness(classifier, part, step) if robustness else None
        scores = score(readings[name], data, split, fresh, manifest_sha256=manifest, robustness=under)
        found.append(scores if len(loaded) == 1 else scores.model_copy(update={"model": name}))
    return Comparison(tuple(found), tuple(differences(part.labels, readings)))


def save_scores(found: Comparison, target: Path) -> list[Path]:
    """Write scores.json, confusion.png and reliability.png into `target`, of several models into a folder there for
    each; returns the folders. Raises MienError where they cannot be written."""
    folders = []
    for scores in found.scores:
        folder = target
        if len(found.scores) > 1:
            folder = target / folder_name(scores.model)
        _save(scores, folder)
        folders.append(folder)
    return folders


def folder_name(name: str) -> str:
    """A model's or set's name, which may be a path, as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")


def _save(scores: Scores, folder: Path) -> None:
    with replacing(folder / "scores.json", str(folder / "scores.json")) as part:
        part.write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
    plots.save_confusion(scores, folder / "confusion.png")
    plots.save_reliability(scores, folder / "reliability.png")
