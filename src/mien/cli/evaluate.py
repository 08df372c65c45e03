"""`mien evaluate`: scores of models on a split of a prepared set; `cli.detection` prints those of detectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import note, out, stages

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation.expression.compare import Comparison
    from mien.evaluation.expression.origins import Origins


def evaluate(
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="SET",
            help="A prepared set, made by mien data prepare; several of different origin are measured apart, and "
            "their mean is shown. To detect, a Parquet file of marked photographs, whose held-out part is used, or a "
            "folder of pictures with their boxes.csv.",
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="A shipped model's name or the path of an .onnx file; several are compared. To detect, detectors: "
            "mien, yunet, haar or an .onnx file; all available ones if none is named.",
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
            help="Also write scores.json, confusion.png and reliability.png there, in a folder for each of several "
            "sets and models, of several sets origins.json and origins.png; to detect, scores.json and detection.html.",
        ),
    ] = None,
) -> None:
    """Measure models: accuracy, F1, confusion matrix, and how far their probabilities can be trusted.

    Choose between models on validation; keep test for the final number. With --task detect, measure detectors: recall
    and false alarms by the size, tilt and light of faces, landmarks, time.
    """
    from mien import workshop

    if task == "detect":
        from mien.cli.detection import print_report

        with stages() as progress:
            report = workshop.evaluate(
                names or [], data, task="detect", split=split, tta=tta, robustness=robustness, every=every, out=target,
                progress=progress, note=note,
            )  # fmt: skip
        print_report(report, as_json)
        if target is not None:
            note(f"wrote scores.json and detection.html to {target}; the page holds pictures of the data")
        return
    with stages() as progress:
        found = workshop.evaluate(
            names or [], data, task=task, split=split, tta=tta, robustness=robustness, every=every, out=target,  # type: ignore[call-overload]
            progress=progress, note=note,
        )  # fmt: skip
    if len(data) > 1:
        _print_origins(found, as_json)
        if target is not None:
            note(f"wrote origins.json and origins.png to {target}, and the files of each set into folders there")
        return
    if as_json:
        _print_json(found)
    else:
        _print_tables(found)
    if target is not None:
        where = f"{target}, in a folder for each model" if len(found.scores) > 1 else target
        note(f"wrote scores.json, confusion.png and reliability.png to {where}")


def _print_origins(found: Origins, as_json: bool) -> None:
    from mien.cli.scores import origin_scores_table, origins_table, recalls_table

    if as_json:
        print(found.as_json())
        return
    tables = [origins_table(found)] if len(found.models) > 1 else []
    for model in found.models:
        tables += [origin_scores_table(found, model), recalls_table(found, model)]
    for table in tables:
        out.print(table)


def _print_json(found: Comparison) -> None:
    import json

    scores = [one.model_dump(mode="json") for one in found.scores]
    content = {"models": scores, "differences": [one.model_dump(mode="json") for one in found.differences]}
    print(json.dumps(scores[0] if len(scores) == 1 else content, indent=2))


def _print_tables(found: Comparison) -> None:
    from mien.cli.scores import class_table, comparison_table, confusion_table, robustness_table, summary_table

    tables: list[Table] = [comparison_table(found.scores)]
    if len(found.scores) == 1:
        (scores,) = found.scores
        tables = [summary_table(scores), class_table(scores), confusion_table(scores)]
    tables += [robustness_table(scores.model, scores.robustness) for scores in found.scores if scores.robustness]
    for table in tables:
        out.print(table)
    for difference in found.differences:
        out.print(difference.sentence(), highlight=False, markup=False)
