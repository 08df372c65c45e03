"""`mien evaluate`: scores of models on a split of a prepared set; `cli.detection` measures detectors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mien.cli.console import note, out, progress
from mien.errors import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluate.compare import Difference
    from mien.evaluate.scores import Scores, Tta
    from mien.models import Model

_TTA: tuple[Tta, ...] = ("none", "mirror", "crops")
Word = TypeVar("Word", bound=str)


def evaluate(
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="SET",
            help="A prepared set, made by mien data prepare. To detect, a Parquet file of marked photographs, whose "
            "held-out part is used, or a folder of pictures with their boxes.csv; several are measured apart.",
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="A shipped model's name or the path of an .onnx file; several are compared. To detect, detectors: "
            "mien, yunet, haar or an .onnx file; all that can be had if none is named.",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(help="What is measured: expression (models) or detect (detectors of faces).")
    ] = "expression",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    tta: Annotated[
        str,
        typer.Option(
            help="Test-time augmentation, averaged: none, mirror (image and mirror image), "
            "or crops (these and five crops of each)."
        ),
    ] = "none",
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also measure under eight corruptions at five strengths each.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="To detect: measure on every Nth photograph, for slow detectors.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON instead of tables.")] = False,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Also write scores.json, confusion.png and reliability.png there, in a folder for each of several; "
            "to detect, scores.json and detection.html.",
        ),
    ] = None,
) -> None:
    """Measure models: accuracy, F1, confusion matrix, and how far their probabilities can be trusted.

    Choose between models on validation; keep test for the final number. With --task detect, measure detectors: recall
    and false alarms by the size, tilt and light of faces, landmarks, time.
    """
    from mien import models
    from mien.cli.detection import evaluate_detectors

    if _known("--task", task, ("expression", "detect")) == "detect":
        if split != "validation" or tta != "none" or robustness:
            raise typer.BadParameter(
                "--split, --tta and --robustness are for expressions; leave them out", param_hint="--task"
            )
        evaluate_detectors(names or [], data, every, as_json, target)
        return
    if len(data) > 1 or every > 1:
        raise typer.BadParameter("several sets and --every are for --task detect", param_hint="--data")
    if not names:
        raise typer.BadParameter("name a shipped model or an .onnx file", param_hint="MODEL...")
    loaded = {_unique(name, names, i): models.load(name) for i, name in enumerate(names)}
    found, compared = _measure(loaded, data[0], split, _known("--tta", tta, _TTA), robustness)
    if as_json:
        _print_json(found, compared)
    else:
        _print_tables(found, compared)
    if target is not None:
        for name, scores in found.items():
            _write(scores, target if len(found) == 1 else target / re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-."))


def _measure(
    loaded: dict[str, Model], data: Path, split: str, tta: Tta, robustness: bool
) -> tuple[dict[str, Scores], list[Difference]]:
    from mien.classify import Classifier
    from mien.data import prepared
    from mien.evaluate.compare import differences
    from mien.evaluate.run import check_labels, measure_robustness, passes, read, score, unseen

    found, readings = {}, {}
    with progress("images") as bar:
        task = bar.add_task("reading the set", total=None)
        everything, manifest = prepared.load(data), prepared.manifest_hash(data)
        part = everything.split(split)
        classifiers = {name: Classifier(model) for name, model in loaded.items()}
        for classifier in classifiers.values():
            check_labels(classifier, everything)
        bar.update(task, description="comparing with training")
        fresh = unseen(everything, split, lambda done, of: bar.update(task, completed=done, total=of))
    with progress("passes") as bar:
        task = bar.add_task("classifying", total=len(loaded) * passes(part, tta, robustness=robustness))

        def step(images: int) -> None:
            bar.advance(task, images)

        for name, classifier in classifiers.items():
            if len(loaded) > 1:
                bar.update(task, description=f"classifying by {name}")
            readings[name] = read(classifier, part.images, tta, step)
            under = measure_robustness(classifier, part, step) if robustness else None
            scores = score(readings[name], everything, split, fresh, manifest_sha256=manifest, robustness=under)
            found[name] = scores if len(loaded) == 1 else scores.model_copy(update={"model": name})
    return found, differences(part.labels, readings)


def _known(option: str, name: str, valid: tuple[Word, ...]) -> Word:
    for known in valid:
        if name == known:
            return known
    raise typer.BadParameter(f"{name!r} is none of {', '.join(valid)}{did_you_mean(name, valid)}", param_hint=option)


def _unique(name: str, names: list[str], index: int) -> str:
    """What tells a model from the others of one call: its file's stem, its path where several share that."""
    alike = {other for other in names if Path(other).stem == Path(name).stem}
    short = Path(name).stem if len(alike) == 1 else name
    return short if names.count(name) == 1 else f"{short}-{names[: index + 1].count(name)}"


def _print_json(found: dict[str, Scores], compared: list[Difference]) -> None:
    import json

    scores = [one.model_dump(mode="json") for one in found.values()]
    content = {"models": scores, "differences": [one.model_dump(mode="json") for one in compared]}
    print(json.dumps(scores[0] if len(scores) == 1 else content, indent=2))


def _print_tables(found: dict[str, Scores], compared: list[Difference]) -> None:
    from mien.cli.scores import class_table, comparison_table, confusion_table, robustness_table, summary_table

    tables: list[Table] = []
    if len(found) == 1:
        (scores,) = found.values()
        tables = [summary_table(scores), class_table(scores), confusion_table(scores)]
    else:
        tables = [comparison_table(list(found.values()))]
    under = {name: scores.robustness for name, scores in found.items() if scores.robustness}
    for name, robustness in under.items():
        tables.append(robustness_table(name, robustness))
    for table in tables:
        out.print(table)
    for difference in compared:
        out.print(difference.sentence(), highlight=False, markup=False)


def _write(scores: Scores, target: Path) -> None:
    from mien.errors import DataError, reason
    from mien.evaluate import plots

    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "scores.json").write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
        plots.save_confusion(scores, target / "confusion.png")
        plots.save_reliability(scores, target / "reliability.png")
    except OSError as error:
        raise DataError(f"cannot write to {target}: {reason(error)}") from None
    note(f"wrote scores.json, confusion.png and reliability.png to {target}")
