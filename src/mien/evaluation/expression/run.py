"""A model's scores on one split of a prepared set, measured through the production classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien import metrics
from mien.data.auditing.duplicates import found_among
from mien.data.prepared import PreparedSet
from mien.errors import DataError, ModelError
from mien.evaluation.expression.corruptions import CORRUPTIONS, STRENGTHS, corrupt, randomness
from mien.evaluation.expression.scores import (
    Bin,
    Calibration,
    ClassScores,
    Corrupted,
    Coverage,
    Divergence,
    Example,
    FerPlus,
    Robustness,
    Scores,
    Subset,
    Tta,
)
from mien.labels import LABELS, VOTE_LABELS
from mien.labels import split as split_name
from mien.models import Card, Model
from mien.provenance import provenance
from mien.vision.classify import Classifier
from mien.vision.crop import resize_crop

CHUNK = 512
COVERAGE_TARGETS = (0.9, 0.95)
MISTAKES = 24
_CROP_SIDE = 11 / 12
"""Of the five crops, as a share of the image's; 44 of 48 pixels."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """A model's output for n images, with the averaging that `tta` names.

    `logs` (n, k) are logarithms of the probabilities in the order of `labels`, with the card's temperature;
    `uncalibrated_logs` (n, k) with temperature 1; `vote_logs` (n, 8) in the order of `VOTE_LABELS`, -inf for what the
    network does not know, of the image alone, None without a vote head; `flip_predictions` (n,) are those of image
    and mirror image.
    """

    card: Card
    labels: tuple[str, ...]
    tta: Tta
    logs: Floats
    uncalibrated_logs: Floats
    vote_logs: Floats | None
    flip_predictions: NDArray[np.integer]

    @property
    def predictions(self) -> NDArray[np.integer]:
        """(n,) index into `labels`."""
        best: NDArray[np.integer] = self.logs.argmax(1)
        return best


def passes(part: PreparedSet, tta: Tta, *, robustness: bool = False) -> int:
    """How many forward passes measuring takes."""
    views = (12 if tta == "crops" else 2) + (len(CORRUPTIONS) * STRENGTHS if robustness else 0)
    return views * len(part)


def evaluate(
    model: Model, data: PreparedSet, split: str, *, manifest_sha256: str = "", tta: Tta = "none",
    robustness: bool = False, progress: Callable[[int, int], object] = lambda done, of: None,
) -> Scores:  # fmt: skip
    """Measure `model` on a split of `data`, the whole prepared set.

    `progress` is called with the forward passes done and their number. Raises DataError when the split is empty or
    sorted by other labels than the model's, ModelError when card and weights disagree.
    """
    part = data.split(split)
    classifier = Classifier(model)
    check_labels(classifier, data)
    done, of = 0, passes(part, tta, robustness=robustness)

    def step(images: int) -> None:
        nonlocal done
        done += images
        progress(done, of)

    reading = read(classifier, part.images, tta, step)
    under = measure_robustness(classifier, part, step) if robustness else None
    return score(reading, data, split, unseen(data, split), manifest_sha256=manifest_sha256, robustness=under)


def check_labels(classifier: Classifier, data: PreparedSet) -> None:
    """Raises DataError where the model has other labels than the set."""
    if classifier.label_names != data.label_names:
        raise DataError(
            f"the model {classifier.card.name} has the labels {', '.join(classifier.label_names)}, and the set has "
            f"{', '.join(data.label_names)}; measure it on a set with its own labels"
        )


def unseen(
    data: PreparedSet, split: str, comparing: Callable[[int, int], object] = lambda done, of: None
) -> NDArray[np.bool_]:
    """Which images of a split (n,) show a picture that is not in training, also not nearly or mirrored (see
    `mien.data.auditing.duplicates`); none of the training split itself. `comparing` is called with the images compared
    and their number."""
    rows, training = (np.flatnonzero(data.splits == name) for name in (split_name(split), "train"))
    if split_name(split) == "train":
        return np.zeros(len(rows), bool)
    return ~found_among(data.images, data.hashes, rows, training, comparing)


def read(
    classifier: Classifier, crops: NDArray[np.uint8], tta: Tta = "none", step: Callable[[int], object] = lambda n: None
) -> Reading:
    """Read grey crops `(n, S, S)` uint8; `step` is called with the forward passes of each chunk. Raises ModelError when
    card and weights disagree."""
    card = classifier.card
    votes: Floats | None = None
    cold: list[Floats] = []
    warm: list[Floats] = []
    for view in _views(crops, tta):
        outputs = _outputs(classifier, view, step)
        cold.append(_log_softmax(outputs[0]))
        warm.append(_log_softmax(outputs[0] / card.temperature))
        if len(cold) == 1:
            votes = _vote_logs(card, outputs)
    kept = {"none": 1, "mirror": 2, "crops": len(warm)}[tta]
    logs, uncalibrated = _mean(warm[:kept]), _mean(cold[:kept])
    return Reading(card, classifier.label_names, tta, logs, uncalibrated, votes, _mean(warm[:2]).argmax(1))


def score(
    reading: Reading, data: PreparedSet, split: str, fresh: NDArray[np.bool_], *, manifest_sha256: str = "",
    robustness: Robustness | None = None,
) -> Scores:  # fmt: skip
    """The scores of what was read of a split of `data`, the whole prepared set; `fresh` (n,) are the split's `unseen`
    images."""
    part = data.split(split)
    labels, card, predictions = part.labels, reading.card, reading.predictions
    probabilities, correct = np.exp(reading.logs), labels == predictions
    counts = metrics.confusion(labels, predictions, len(reading.labels))
    ratios = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = np.flatnonzero(data.splits == split_name(split))
    faceless = part.faceless()
    mistakes, examples = _examples(probabilities, labels, rows, reading.labels, ~faceless)
    return Scores(
        model=card.name,
        split=split_name(split),
        images=len(part),
        tta=reading.tta,
        labels=reading.labels,
        accuracy=metrics.accuracy(labels, predictions),
        accuracy_interval=metrics.wilson_interval(int(correct.sum()), len(correct)),
        accuracy_with_flip=metrics.accuracy(labels, reading.flip_predictions),
        accuracy_unseen=_on(fresh, labels, predictions),
        balanced_accuracy=metrics.balanced_accuracy(counts),
        top2_accuracy=metrics.top_k(reading.logs, labels, 2),
        macro_f1=metrics.macro_f1(counts),
        per_class=_per_class(counts, reading.labels),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        confusion_ratios=tuple(tuple(row) for row in ratios.tolist()),
        calibrated=_calibration(reading.logs, labels, card.temperature),
        uncalibrated=_calibration(reading.uncalibrated_logs, labels, 1.0),
        coverage=tuple(_coverage(probabilities.max(1), correct, target) for target in COVERAGE_TARGETS),
        ferplus=_ferplus(part, reading),
        vote_divergence=_divergence(part, reading),
        mistakes=mistakes,
        examples=examples,
        faceless=int(faceless.sum()),
        robustness=robustness,
        provenance=provenance() | {"weights_sha256": card.sha256, "manifest_sha256": manifest_sha256},
    )


def measure_robustness(
    classifier: Classifier, part: PreparedSet, step: Callable[[int], object] = lambda n: None, seed: int = 0
) -> Robustness:
    """Accuracy of one forward pass on `part` under every corruption at every strength."""
    clean = classifier.logits(part.images)[0].argmax(1)
    corruptions: dict[str, Corrupted] = {}
    for name, kind in CORRUPTIONS.items():
        shares = []
        for level in range(1, STRENGTHS + 1):
            rng, predictions = randomness(name, level, seed), []
            for first in range(0, len(part), CHUNK):
                spoilt = corrupt(part.images[first : first + CHUNK], name, level, rng)
                predictions.append(classifier.logits(spoilt)[0].argmax(1))
                step(len(spoilt))
            shares.append(metrics.accuracy(part.labels, np.concatenate(predictions)))
        corruptions[name] = Corrupted(unit=kind.unit, strengths=kind.strengths, accuracy=tuple(shares))
    mean = float(np.mean([row.accuracy for row in corruptions.values()]))
    return Robustness(seed=seed, clean=metrics.accuracy(part.labels, clean), mean=mean, corruptions=corruptions)


def _views(crops: NDArray[np.uint8], tta: Tta) -> Iterator[NDArray[np.uint8]]:
    """The images, their mirror images, and, of both, five crops: corners and middle (Krizhevsky et al. 2012)."""
    yield crops
    yield np.ascontiguousarray(crops[:, :, ::-1])
    if tta != "crops":
        return
    side = crops.shape[1]
    inner = round(side * _CROP_SIDE)
    end, middle = side - inner, (side - inner) // 2
    for y, x in ((0, 0), (0, end), (end, 0), (end, end), (middle, middle)):
        parts = np.stack([resize_crop(crop[y : y + inner, x : x + inner], side) for crop in crops])
        yield parts
        yield np.ascontiguousarray(parts[:, :, ::-1])


def _outputs(
    classifier: Classifier, crops: NDArray[np.uint8], step: Callable[[int], object]
) -> list[NDArray[np.float32]]:
    chunks = []
    for first in range(0, len(crops), CHUNK):
        chunk = crops[first : first + CHUNK]
        chunks.append(classifier.logits(chunk))
        step(len(chunk))
    return [np.concatenate(column) for column in zip(*chunks, strict=True)]


def _log_softmax(logits: NDArray[np.floating]) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs


def _mean(logs: list[Floats]) -> Floats:
    """The logarithm of the mean probability."""
    mean: Floats = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
    return mean


def _vote_logs(card: Card, outputs: list[NDArray[np.float32]]) -> Floats | None:
    names = card.vote_labels
    if not names:
        return None
    if len(outputs) < 2 or outputs[1].shape[1] != len(names) or not set(names) <= set(VOTE_LABELS):
        raise ModelError(f"card and weights disagree: no output for the vote labels {', '.join(names)}")
    logs = np.full((len(outputs[1]), len(VOTE_LABELS)), -np.inf)
    logs[:, [VOTE_LABELS.index(name) for name in names]] = _log_softmax(outputs[1])
    return logs


def _on(some: NDArray[np.bool_], labels: NDArray[np.int64], predictions: NDArray[np.integer]) -> Subset | None:
    if not some.any():
        return None
    return Subset(images=int(some.sum()), accuracy=metrics.accuracy(labels[some], predictions[some]))


def _per_class(counts: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, ClassScores]:
    columns = metrics.per_class(counts)
    rows = zip(columns.support, columns.precision, columns.recall, columns.f1, strict=True)
    return {
        label: ClassScores(support=int(support), precision=float(precision), recall=float(recall), f1=float(f1))
        for label, (support, precision, recall, f1) in zip(names, rows, strict=True)
    }


def _calibration(logs: Floats, labels: NDArray[np.int64], temperature: float) -> Calibration:
    probabilities = np.exp(logs)
    found = metrics.reliability(probabilities, labels)
    columns = zip(found.edges[:-1], found.edges[1:], found.counts, found.confidence, found.accuracy, strict=True)
    bins = []
    for low, high, count, confidence, right in columns:
        means = (float(confidence), float(right)) if count else (None, None)
        bins.append(Bin(low=low, high=high, images=count, confidence=means[0], accuracy=means[1]))
    return Calibration(
        temperature=temperature,
        nll=metrics.nll(logs, labels),
        brier=metrics.brier(probabilities, labels),
        ece=found.ece,
        bins=tuple(bins),
    )


def _coverage(confidence: Floats, correct: NDArray[np.bool_], target: float) -> Coverage:
    share, threshold = metrics.coverage(confidence, correct, target)
    return Coverage(accuracy=target, share=share, threshold=threshold if share else None)


def _ferplus(part: PreparedSet, reading: Reading) -> dict[str, FerPlus]:
    by_votes = None if reading.vote_logs is None else reading.vote_logs.argmax(1)
    by_labels = reading.predictions
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


def _divergence(part: PreparedSet, reading: Reading) -> Divergence | None:
    targets = metrics.ferplus_targets(part.votes, "plain")
    counted = (targets >= 0) & (targets < len(LABELS))
    if not counted.any():
        return None
    shares = metrics.ferplus_shares(part.votes[counted])
    ours = shares[:, : len(LABELS)]
    votes = None if reading.vote_logs is None else reading.vote_logs[counted]
    known = votes is not None and bool(np.isfinite(votes).all())
    return Divergence(
        images=int(counted.sum()),
        vote_head=metrics.kl_divergence(shares, votes) if votes is not None and known else None,
        label_head=metrics.kl_divergence(ours / ours.sum(1, keepdims=True), reading.logs[counted]),
    )


def _examples(
    probabilities: Floats, labels: NDArray[np.int64], rows: NDArray[np.integer], names: tuple[str, ...],
    eligible: NDArray[np.bool_],
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:  # fmt: skip
    """The most confident mistakes, and of each label the most confident right prediction, among the `eligible` (n,)."""
    predictions, confidence = probabilities.argmax(1), probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    order = order[eligible[order]]
    right = (predictions == labels)[order]

    def example(i: int) -> Example:
        return Example(
            row=int(rows[i]), label=names[labels[i]], predicted=names[predictions[i]], confidence=confidence[i]
        )

    hits = [order[right & (labels[order] == k)] for k in range(len(names))]
    return (
        tuple(example(i) for i in order[~right][:MISTAKES]),
        tuple(example(found[0]) for found in hits if len(found)),
    )
