"""A model's scores on one split of a prepared set, measured through the production classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mien import metrics
from mien.classify import Classifier, softmax
from mien.data.prepared import PreparedSet
from mien.errors import ModelError
from mien.labels import LABELS, VOTE_LABELS
from mien.labels import split as split_name
from mien.models import Model
from mien.provenance import provenance

CHUNK = 512
VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassScores(_Part):
    """One label against all others; `support` is how many images carry it."""

    support: int
    precision: float
    recall: float
    f1: float


class Bin(_Part):
    """Predictions whose confidence lies above `low` and up to `high`; None where there are no images."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


class Calibration(_Part):
    """How far probabilities softmax(logits / temperature) can be trusted; `nll` in nats, `ece` over `bins`."""

    temperature: float
    nll: float
    brier: float
    ece: float
    bins: tuple[Bin, ...]


class Subset(_Part):
    """Accuracy on some of the images."""

    images: int
    accuracy: float


class FerPlus(_Part):
    """Accuracy against the annotators' choice among eight expressions, on the `images` where they made one.

    `vote_head` is what the network's second output says, None where it has none; `label_head` the seven labels,
    which never say contempt.
    """

    images: int
    vote_head: float | None
    label_head: float


class Scores(_Part):
    """The content of scores.json. All ratios in 0..1."""

    version: int = VERSION
    model: str
    split: str
    images: int
    labels: tuple[str, ...] = LABELS
    """The order of `confusion`."""
    accuracy: float
    """Of one forward pass."""
    accuracy_interval: tuple[float, float]
    """95 % bootstrap interval."""
    accuracy_with_flip: float
    """With the probabilities of image and mirror image averaged."""
    accuracy_unseen: Subset | None
    """On images without an exact copy in the training split; None on that split itself."""
    macro_f1: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    """Counts; row = true label, column = predicted."""
    calibrated: Calibration
    """With the card's temperature, as in production."""
    uncalibrated: Calibration
    """With temperature 1."""
    ferplus: dict[str, FerPlus]
    """By protocol, `plain` and `microsoft` (see `mien.metrics.ferplus_targets`); empty without votes."""
    provenance: dict[str, Any]
    """See `mien.provenance`; also `weights_sha256` and `manifest_sha256`, the SHA-256 of the model's weights
    and of the data's manifest.csv."""


def evaluate(
    model: Model, data: PreparedSet, split: str, *, manifest_sha256: str = "",
    progress: Callable[[int, int], object] = lambda done, of: None,
) -> Scores:  # fmt: skip
    """Measure `model` on a split of `data`, the whole prepared set.

    `progress` is called with the forward passes done and their number, two for each image. Raises DataError when
    the split is empty, ModelError when card and weights disagree.
    """
    part = data.split(split)
    classifier = Classifier(model)
    labels, card, passes = part.labels, model.card, 2 * len(part)
    outputs = _outputs(classifier, part.images, lambda done: progress(done, passes))
    mirror_images = np.ascontiguousarray(part.images[:, :, ::-1])
    mirrored = _outputs(classifier, mirror_images, lambda done: progress(len(part) + done, passes))[0]
    logits = outputs[0]
    probabilities = softmax(logits / card.temperature)
    averaged = probabilities + softmax(mirrored / card.temperature)
    predictions = logits.argmax(1)
    counts = metrics.confusion(labels, predictions, len(LABELS))
    return Scores(
        model=card.name,
        split=split_name(split),
        images=len(part),
        accuracy=metrics.accuracy(labels, predictions),
        accuracy_interval=metrics.bootstrap_interval(labels == predictions),
        accuracy_with_flip=metrics.accuracy(labels, averaged.argmax(1)),
        accuracy_unseen=_unseen(data, part, predictions),
        macro_f1=metrics.macro_f1(counts),
        per_class=_per_class(counts),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        calibrated=_calibration(logits, labels, card.temperature),
        uncalibrated=_calibration(logits, labels, 1.0),
        ferplus=_ferplus(part, outputs, card.vote_labels),
        provenance=provenance() | {"weights_sha256": card.sha256, "manifest_sha256": manifest_sha256},
    )


def _outputs(
    classifier: Classifier, crops: NDArray[np.uint8], progress: Callable[[int], object]
) -> list[NDArray[np.float32]]:
    chunks = []
    for first in range(0, len(crops), CHUNK):
        chunks.append(classifier.logits(crops[first : first + CHUNK]))
        progress(min(first + CHUNK, len(crops)))
    return [np.concatenate(column) for column in zip(*chunks, strict=True)]


def _unseen(data: PreparedSet, part: PreparedSet, predictions: NDArray[np.integer]) -> Subset | None:
    fresh = ~np.isin(part.hashes, data.hashes[data.splits == "train"])
    if not fresh.any():
        return None
    return Subset(images=int(fresh.sum()), accuracy=metrics.accuracy(part.labels[fresh], predictions[fresh]))


def _per_class(counts: NDArray[np.int64]) -> dict[str, ClassScores]:
    columns = metrics.per_class(counts)
    rows = zip(columns.support, columns.precision, columns.recall, columns.f1, strict=True)
    return {
        label: ClassScores(support=int(support), precision=float(precision), recall=float(recall), f1=float(f1))
        for label, (support, precision, recall, f1) in zip(LABELS, rows, strict=True)
    }


def _calibration(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> Calibration:
    scaled = logits / temperature
    probabilities = softmax(scaled)
    found = metrics.reliability(probabilities, labels)
    columns = zip(found.edges[:-1], found.edges[1:], found.counts, found.confidence, found.accuracy, strict=True)
    bins = []
    for low, high, count, confidence, right in columns:
        means = (float(confidence), float(right)) if count else (None, None)
        bins.append(Bin(low=low, high=high, images=count, confidence=means[0], accuracy=means[1]))
    return Calibration(
        temperature=temperature,
        nll=metrics.nll(scaled, labels),
        brier=metrics.brier(probabilities, labels),
        ece=found.ece,
        bins=tuple(bins),
    )


def _ferplus(part: PreparedSet, outputs: list[NDArray[np.float32]], vote_labels: tuple[str, ...]) -> dict[str, FerPlus]:
    by_votes = None
    if vote_labels:
        if len(outputs) < 2 or outputs[1].shape[1] != len(vote_labels) or not set(vote_labels) <= set(VOTE_LABELS):
            raise ModelError(f"card and weights disagree: no output for the vote labels {', '.join(vote_labels)}")
        by_votes = np.array([VOTE_LABELS.index(name) for name in vote_labels])[outputs[1].argmax(1)]
    by_labels = outputs[0].argmax(1)
    scores: dict[str, FerPlus] = {}
    for protocol in metrics.PROTOCOLS:
        targets = metrics.ferplus_targets(part.votes, protocol)
        counted = targets >= 0
        if counted.any():
            scores[protocol] = FerPlus(
                images=int(counted.sum()),
                vote_head=None if by_votes is None else metrics.accuracy(targets[counted], by_votes[counted]),
                label_head=metrics.accuracy(targets[counted], by_labels[counted]),
            )
    return scores
