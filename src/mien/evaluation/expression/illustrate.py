"""What a report shows, gathered from run folders, scores, the pictures of their set, and the models measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien import models
from mien.data import prepared
from mien.data.prepared import PreparedSet
from mien.errors import DataError
from mien.evaluation.expression.occlusion import WINDOWS
from mien.evaluation.expression.portraits import Portrait, chosen, find_model, gallery, with_faces
from mien.evaluation.expression.report import Measured
from mien.evaluation.expression.scores import Scores, read_scores
from mien.evaluation.expression.training_log import TrainingLog, read_training_log
from mien.models import Model
from mien.vision.classify import Classifier


@dataclass(frozen=True)
class Sources:
    """The runs and scores of a report in the order given, and the folders that they lie in."""

    runs: list[TrainingLog]
    scores: list[Scores]
    folders: list[Path]


def read_sources(paths: Sequence[Path]) -> Sources:
    """Run folders, scores.json files and their folders; raises DataError on anything else."""
    runs, found = [], []
    for path in paths:
        if not path.is_dir():
            found.append(read_scores(path))
            continue
        is_run, has_scores = (path / "metrics.csv").exists(), (path / "scores.json").exists()
        if is_run:
            runs.append(read_training_log(path))
        if has_scores:
            found.append(read_scores(path / "scores.json"))
        if not is_run and not has_scores:
            raise _neither(path)
    return Sources(runs, found, sorted({path if path.is_dir() else path.parent for path in paths}))


def _neither(folder: Path) -> DataError:
    """What to name instead of a folder that holds neither a run nor scores."""
    below = sorted({file.parent for name in ("scores.json", "metrics.csv") for file in folder.glob(f"*/{name}")})
    if below:
        names = ", ".join(map(str, below[:6])) + (f" and {len(below) - 6} more" if len(below) > 6 else "")
        return DataError(f"{folder} holds no scores.json itself; name one of the folders in it: {names}")
    return DataError(
        f"{folder} holds no metrics.csv of mien train and no scores.json of mien evaluate; name a run folder, or the "
        "folder that mien evaluate wrote its scores to"
    )


def illustrate(
    sources: Sources, folder: Path, model: str | Path | None, rows: Sequence[int],
    progress: Callable[[str, int, int | None], object], note: Callable[[str], object],
) -> list[Measured]:  # fmt: skip
    """The scores with faces of the set in `folder`, which they were measured on, the `rows` of its manifest among them,
    and occlusion maps where the model is at hand: `model`, a shipped one, or one beside the scores.

    `note` is called for scores that get no maps. Raises DataError where scores, set, model and rows do not belong
    together.
    """
    progress("reading the set", 0, None)
    data, manifest = prepared.load(folder), prepared.manifest_hash(folder)
    networks = _networks(sources, models.load(model) if model else None, note)
    for scores, network in zip(sources.scores, networks, strict=True):
        if scores.provenance.get("manifest_sha256") != manifest:
            raise DataError(f"{scores.model} was not measured on {folder}, or that has changed; measure it again")
        if network is None and rows:
            raise DataError(f"faces need the network of {scores.model}, which is not here; name it as the model")
    shown = [(with_faces(one.mistakes, data), with_faces(one.examples, data)) for one in sources.scores]
    passes = [
        WINDOWS * (len(mistakes) + len(examples) + len(rows)) if network else 0
        for (mistakes, examples), network in zip(shown, networks, strict=True)
    ]
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("covering faces", done, sum(passes))

    measured = []
    for scores, (mistakes, examples), network in zip(sources.scores, shown, networks, strict=True):
        classifier = Classifier(network) if network else None
        measured.append(
            Measured(
                scores,
                mistakes=gallery(mistakes, data, classifier, step),
                examples=gallery(examples, data, classifier, step),
                chosen=_chosen(rows, data, classifier, step),
                left_out=len(scores.mistakes) - len(mistakes) + len(scores.examples) - len(examples),
            )
        )
    return measured


def _chosen(
    rows: Sequence[int], data: PreparedSet, classifier: Classifier | None, step: Callable[[int], object]
) -> Sequence[Portrait]:
    return gallery(chosen(rows, data, classifier), data, classifier, step) if classifier else []


def _networks(sources: Sources, given: Model | None, note: Callable[[str], object]) -> list[Model | None]:
    """The network that each of the scores was measured of, None where it is neither given, shipped nor beside them."""
    wanted = [str(scores.provenance.get("weights_sha256")) for scores in sources.scores]
    if given is not None and given.card.sha256 not in wanted:
        raise DataError(f"the scores are not those of the model {given.card.name}; its weights are others")
    networks = []
    for scores, sha256 in zip(sources.scores, wanted, strict=True):
        network = given if given and given.card.sha256 == sha256 else find_model(sha256, sources.folders)
        if network is None:
            note(f"no maps for {scores.model}: its network is not here; name it as the model")
        networks.append(network)
    return networks
