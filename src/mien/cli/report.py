"""`mien report`: runs and scores as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import note, out, progress
from mien.errors import DataError

if TYPE_CHECKING:
    from mien.data.prepared import PreparedSet
    from mien.evaluation.expression.report import Measured
    from mien.evaluation.expression.scores import Scores
    from mien.evaluation.expression.training_log import TrainingLog
    from mien.models import Model
    from mien.vision.classify import Classifier


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|SCORES...", help="Run folders of mien train, scores.json of mien evaluate or its folder."
        ),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The page.")] = Path("report.html"),
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The prepared set the scores were measured on; adds pictures of faces."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that was measured; adds maps of what faces were read from. "
            "Shipped ones and those beside the scores are found."
        ),
    ] = None,
    faces: Annotated[
        list[int] | None,
        typer.Option("--face", metavar="ROW", help="Show this row of the set's manifest, too; may be repeated."),
    ] = None,
) -> None:
    """Write one HTML page that holds all it shows: curves, confusion matrices, calibration, robustness, mistakes."""
    from mien.evaluation.expression.report import Measured, render
    from mien.files import replacing

    if data is None and (faces or model):
        raise typer.BadParameter("--face and --model need the pictures: name the prepared set with --data")
    runs, found = _read(sources)
    if data is not None and not found:
        raise DataError("--data is for the pictures of scores, and none are named; measure with: mien evaluate --out")
    measured = [Measured(scores) for scores in found]
    if data is not None:
        measured = _with_pictures(found, data, model, faces or [], {_folder(source) for source in sources})
    page = render(runs, measured)
    with replacing(target, str(target)) as part:
        part.write_text(page, encoding="utf-8")
    out.print(f"{target} ({len(page.encode()) / 1e6:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
    if data is None and measured:
        note("there are no pictures of faces in it; name the prepared set with --data to add them")


def _read(sources: list[Path]) -> tuple[list[TrainingLog], list[Scores]]:
    from mien.evaluation.expression.scores import read_scores
    from mien.evaluation.expression.training_log import read_training_log

    runs, found = [], []
    for source in sources:
        if not source.is_dir():
            found.append(read_scores(source))
            continue
        is_run, has_scores = (source / "metrics.csv").exists(), (source / "scores.json").exists()
        if is_run:
            runs.append(read_training_log(source))
        if has_scores:
            found.append(read_scores(source / "scores.json"))
        if not is_run and not has_scores:
            raise DataError(
                f"{source} holds no metrics.csv of mien train and no scores.json of mien evaluate; name a run folder, "
                "or the folder given to mien evaluate --out"
            )
    return runs, found


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _with_pictures(
    found: list[Scores], folder: Path, named: str | None, rows: list[int], places: set[Path]
) -> list[Measured]:
    """The scores with faces of the set that they were measured on, and their maps where the network is at hand."""
    from mien import models
    from mien.data import prepared
    from mien.vision.classify import Classifier

    with progress("passes") as bar:
        task = bar.add_task("reading the set", total=None)
        data, manifest = prepared.load(folder), prepared.manifest_hash(folder)
        given = models.load(named) if named else None
        networks = _networks(found, given, places)
        for scores, network in zip(found, networks, strict=True):
            if scores.provenance.get("manifest_sha256") != manifest:
                raise DataError(f"{scores.model} was not measured on {folder}, or that has changed; measure it again")
            if network is None and rows:
                raise DataError(f"--face needs the network of {scores.model}, which is not here; name it with --model")
        covered = [scores for scores, network in zip(found, networks, strict=True) if network]
        bar.update(task, description="covering faces", total=sum(_passes(scores, rows) for scores in covered))
        return [
            _illustrated(scores, data, Classifier(network) if network else None, rows, lambda n: bar.advance(task, n))
            for scores, network in zip(found, networks, strict=True)
        ]


def _networks(found: list[Scores], given: Model | None, places: set[Path]) -> list[Model | None]:
    """The network that each of the scores was measured of, None where it is neither given, shipped nor in `places`."""
    from mien.evaluation.expression.portraits import find_model

    wanted = [str(scores.provenance.get("weights_sha256")) for scores in found]
    if given is not None and given.card.sha256 not in wanted:
        raise DataError(f"--model {given.card.name} is not what the scores were measured of; its weights are others")
    networks = []
    for scores, sha256 in zip(found, wanted, strict=True):
        fitting = given if given and given.card.sha256 == sha256 else find_model(sha256, sorted(places))
        if fitting is None:
            note(f"no maps for {scores.model}: its network is not here; name it with --model")
        networks.append(fitting)
    return networks


def _passes(scores: Scores, rows: list[int]) -> int:
    from mien.evaluation.expression.occlusion import WINDOWS

    return WINDOWS * (len(scores.mistakes) + len(scores.examples) + len(rows))


def _illustrated(
    scores: Scores, data: PreparedSet, classifier: Classifier | None, rows: list[int], step: Callable[[int], object]
) -> Measured:
    from mien.evaluation.expression.portraits import chosen, gallery
    from mien.evaluation.expression.report import Measured

    wished = chosen(rows, data, classifier) if classifier else []
    return Measured(
        scores,
        mistakes=gallery(scores.mistakes, data, classifier, step),
        examples=gallery(scores.examples, data, classifier, step),
        chosen=gallery(wished, data, classifier, step),
    )
