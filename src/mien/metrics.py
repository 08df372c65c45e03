"""How good predictions are: accuracy, F1, confusion, and how far their probabilities can be trusted.

Conventions: `labels` and `predictions` are (n,) integers in 0..k-1; `logits` (n, k) floats; `probabilities`
(n, k) with rows that sum to one. Every function raises ValueError where n is zero: no number comes from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.labels import FERPLUS_COLUMNS, VOTE_LABELS

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]

TEMPERATURES = (0.05, 20.0)


def accuracy(labels: Ints, predictions: Ints) -> float:
    """Share of predictions that are right, in 0..1."""
    _some(labels)
    return float((labels == predictions).mean())


def bootstrap_interval(
    correct: NDArray[np.bool_], *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13) of the mean of `correct` (n,).

    The mean of n draws with replacement from zeros and ones is Binomial(n, share of ones) / n, so the resamples
    are drawn as that one number each.
    """
    _some(correct)
    shares = np.random.default_rng(seed).binomial(len(correct), correct.mean(), draws) / len(correct)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson_interval(correct: NDArray[np.bool_], z: float = 1.96) -> tuple[float, float]:
    """The interval (Wilson 1927) of the mean of `correct` (n,), at 95 % unless told; unlike a bootstrapped one it has a
    width where all are right. Raises ValueError where there are none."""
    _some(correct)
    n, share = len(correct), float(correct.mean())
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def confusion(labels: Ints, predictions: Ints, classes: int) -> NDArray[np.int64]:
    """Counts `(classes, classes)`: row = true label, column = predicted."""
    _some(labels)
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


@dataclass(frozen=True)
class PerClass:
    """One entry per class, (k,) each. A ratio without anything in its denominator is 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def per_class(counts: NDArray[np.int64]) -> PerClass:
    """Precision, recall and F1 of each class, from a confusion matrix."""
    hits, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    return PerClass(
        _ratio(hits, predicted), _ratio(hits, true), _ratio(2 * hits, true + predicted), true.astype(np.int64)
    )


def macro_f1(counts: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur among labels or predictions, each counting alike."""
    occurs = (counts.sum(0) + counts.sum(1)) > 0
    _some(occurs[occurs])
    return float(per_class(counts).f1[occurs].mean())


def balanced_accuracy(counts: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur among the labels (Brodersen et al. 2010)."""
    occurs = counts.sum(1) > 0
    _some(occurs[occurs])
    return float(per_class(counts).recall[occurs].mean())


def top_k(scores: Floats, labels: Ints, k: int) -> float:
    """Share of rows whose true label is among the k highest of `scores` (n, classes), in 0..1; equals count for it."""
    _some(labels)
    true = scores[np.arange(len(labels)), labels]
    return float(((scores > true[:, None]).sum(1) < k).mean())


def nll(logits: Floats, labels: Ints) -> float:
    """Mean negative log-likelihood of the true label, in nats."""
    _some(labels)
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean())


def brier(probabilities: Floats, labels: Ints) -> float:
    """Mean squared distance between probabilities and truth, 0 (best) to 2 (Brier 1950)."""
    _some(labels)
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width by their confidence, the largest probability; (bins,) each.

    `edges` (bins + 1,) in 0..1, a bin holds its upper edge; `counts` how many fall there; `confidence` their mean
    confidence and `accuracy` the share that is right, both NaN in empty bins.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy (Guo et al. 2017)."""
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((gaps * self.counts).sum() / self.counts.sum())


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> Reliability:
    """Confidence against accuracy, binned as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""
    _some(labels)
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    mean_confidence = np.bincount(index, confidence, bins) / filled
    return Reliability(edges, counts, mean_confidence, np.bincount(index, correct, bins) / filled)


def ece(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Expected calibration error in 0..1, over bins of equal width."""
    return reliability(probabilities, labels, bins).ece


def coverage(confidence: Floats, correct: NDArray[np.bool_], target: float) -> tuple[float, float]:
    """How many predictions may be kept, the most confident first, with `target` of them right at least.

    Returns their share and the least confidence `(n,)` among them: answer there and above, abstain below (selective
    classification, El-Yaniv & Wiener 2010). Equal confidences are kept or left together. (0, inf) where no such
    choice exists.
    """
    _some(confidence)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    right = correct[order].cumsum() / np.arange(1, len(order) + 1)
    last_of_equals = np.append(ranked[1:] < ranked[:-1], True)
    fits = np.flatnonzero((right >= target) & last_of_equals)
    return ((fits[-1] + 1) / len(order), float(ranked[fits[-1]])) if len(fits) else (0.0, float("inf"))


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The T that makes softmax(logits / T) most likely (Guo et al. 2017), within `TEMPERATURES`.

    NLL is convex in 1/T, so its slope there, the mean of E[logit] - logit of the true label, has one root at most:
    it is found by bisection. Without one (all right, or worse than chance) the nearer bound is the answer.
    """
    _some(labels)
    z = logits.astype(np.float64) - logits.max(1, keepdims=True)
    true = z[np.arange(len(z)), labels]

    def slope(inverse: float) -> float:
        weights = np.exp(z * inverse)
        return float(((weights * z).sum(1) / weights.sum(1) - true).mean())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float((low * high) ** -0.5)


Protocol = Literal["plain", "microsoft"]
PROTOCOLS: tuple[Protocol, ...] = ("plain", "microsoft")


def ferplus_targets(votes: NDArray[np.uint8], protocol: Protocol) -> NDArray[np.int64]:
    """The expression that the annotators chose, (n,) index into `VOTE_LABELS`; -1 where a row does not count.

    `votes` are (n, 10) counts in the order of `FERPLUS_COLUMNS`.
    `plain`: the column with the most votes, the first of equals; rows where that is `unknown` or `no face`, or
    without any vote, do not count. 3,546 of FER2013's PrivateTest count.
    `microsoft`: the majority protocol of Barsoum et al. 2016. Single votes are dropped as outliers; the column
    with the most votes has to hold more than half of those that are left, `unknown` and `no face` included, and
    has to be an expression. 3,153 of PrivateTest count.
    """
    counts = votes.astype(np.int64)
    if protocol == "microsoft":
        counts[counts == 1] = 0
    best = counts.argmax(1)
    most, total = counts.max(1, initial=0), counts.sum(1)
    valid = (most * 2 > total) if protocol == "microsoft" else (total > 0)
    column_to_vote = np.array([VOTE_LABELS.index(c) if c in VOTE_LABELS else -1 for c in FERPLUS_COLUMNS])
    return np.where(valid, column_to_vote[best], -1)


def ferplus_shares(votes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How the annotators' votes (n, 10) for expressions are shared out, (n, 8) in the order of `VOTE_LABELS`.

    Rows sum to one, or to zero where nobody voted for an expression.
    """
    counts = votes[:, [FERPLUS_COLUMNS.index(name) for name in VOTE_LABELS]].astype(np.float64)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return shares


def kl_divergence(shares: Floats, log_probabilities: Floats) -> float:
    """Mean Kullback-Leibler divergence of predictions from the shares, both (n, k), in nats: 0 where they agree."""
    _some(shares)
    logs = np.log(shares, out=np.zeros(shares.shape), where=shares > 0)
    gaps = np.where(shares > 0, shares * (logs - log_probabilities), 0.0)
    return float(gaps.sum(1).mean())


@dataclass(frozen=True)
class Paired:
    """Two models on the same images: how many only one of them reads right, the second's accuracy less the first's
    with its 95 % interval, and the probability of so uneven a split between two equally good ones."""

    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float


def paired(first: NDArray[np.bool_], second: NDArray[np.bool_], *, draws: int = 10_000, seed: int = 0) -> Paired:
    """Compare which of the same n images two models read right, each (n,).

    The interval is a percentile bootstrap over images, drawn as the multinomial counts that resampling gives; the
    p-value is McNemar's test (1947) in its exact, two-sided binomial form.
    """
    _some(first)
    n = len(first)
    lost, won = int((first & ~second).sum()), int((second & ~first).sum())
    counts = np.random.default_rng(seed).multinomial(n, (lost / n, won / n, 1 - (lost + won) / n), draws)
    low, high = np.quantile((counts[:, 1] - counts[:, 0]) / n, (0.025, 0.975))
    tail = sum(comb(lost + won, k) for k in range(min(lost, won) + 1))
    p_value = min(1.0, 2 * tail / 2 ** (lost + won))
    return Paired(lost, won, (won - lost) / n, (float(low), float(high)), p_value)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _some(rows: NDArray[np.generic]) -> None:
    if not len(rows):
        raise ValueError("a score needs at least one row")
