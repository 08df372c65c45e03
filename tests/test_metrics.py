"""Metrics against values worked out by hand, scikit-learn's, and what must hold for any input."""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from mien import metrics
from mien.labels import FERPLUS_COLUMNS, VOTE_LABELS

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 0, 2])


def random_case(seed: int, count: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(0, 2, (count, classes))
    logits[np.arange(count), labels] += random.uniform(0, 3)
    return labels, logits


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return result


cases = st.builds(random_case, st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 8))


def test_by_hand() -> None:
    counts = metrics.confusion(LABELS, PREDICTIONS, 3)
    assert counts.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert metrics.accuracy(LABELS, PREDICTIONS) == pytest.approx(4 / 6)
    found = metrics.per_class(counts)
    assert found.precision == pytest.approx([2 / 3, 1 / 2, 1])
    assert found.recall == pytest.approx([2 / 3, 1 / 2, 1])
    assert found.f1 == pytest.approx([2 / 3, 1 / 2, 1])
    assert found.support.tolist() == [3, 2, 1]
    assert metrics.macro_f1(counts) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_a_class_that_never_occurs_scores_zero_and_does_not_count() -> None:
    counts = metrics.confusion(LABELS, PREDICTIONS, 5)
    assert metrics.per_class(counts).f1[3:].tolist() == [0, 0]
    assert metrics.macro_f1(counts) == metrics.macro_f1(counts[:3, :3])


@settings(max_examples=50, deadline=None)
@given(cases)
def test_agrees_with_scikit_learn(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    labels, logits = case
    classes = list(range(logits.shape[1]))
    predictions = logits.argmax(1)
    counts = metrics.confusion(labels, predictions, len(classes))
    assert (counts == confusion_matrix(labels, predictions, labels=classes)).all()
    found = metrics.per_class(counts)
    theirs = precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0)
    for mine, other in zip((found.precision, found.recall, found.f1, found.support), theirs, strict=True):
        assert mine == pytest.approx(other)
    assert metrics.macro_f1(counts) == pytest.approx(f1_score(labels, predictions, average="macro", zero_division=0))
    assert metrics.nll(logits, labels) == pytest.approx(log_loss(labels, softmax(logits), labels=classes), rel=1e-6)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(400):
        low, high = metrics.bootstrap_interval(random.random(300) < 0.7, draws=1000, seed=seed)
        hits += low <= 0.7 <= high
    assert 0.91 < hits / 400 < 0.98


def test_the_interval_is_what_resampling_row_by_row_gives() -> None:
    correct = np.random.default_rng(1).random(200) < 0.6
    rows = np.random.default_rng(2).integers(0, 200, (20_000, 200))
    expected = np.quantile(correct[rows].mean(1), [0.025, 0.975])
    assert metrics.bootstrap_interval(correct) == pytest.approx(expected, abs=0.006)
    assert metrics.bootstrap_interval(correct) == metrics.bootstrap_interval(correct)


def test_wilsons_interval_by_hand() -> None:
    for right, wrong, expected in ((81, 19, (0.7222, 0.8749)), (10, 0, (0.7225, 1)), (0, 10, (0, 0.2775))):
        found = metrics.wilson_interval(np.array([True] * right + [False] * wrong))
        assert found == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_the_interval_encloses_the_accuracy(correct: list[bool]) -> None:
    low, high = metrics.bootstrap_interval(np.array(correct))
    assert 0 <= low <= np.mean(correct) <= high <= 1


def test_brier_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6]])
    expected = ((0.2**2 + 0.2**2) + (0.6**2 + 0.6**2)) / 2
    assert metrics.brier(probabilities, np.array([0, 0])) == pytest.approx(expected)
    assert metrics.brier(np.eye(3), np.arange(3)) == 0
    assert metrics.brier(np.eye(3), np.array([1, 2, 0])) == 2


def test_ece_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
    labels = np.array([0, 1, 0, 1])  # in the upper bin half are right at 0.95, in the lower all at 0.55
    found = metrics.reliability(probabilities, labels, bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.confidence[[5, 9]] == pytest.approx([0.55, 0.95])
    assert found.accuracy[[5, 9]] == pytest.approx([1, 0.5])
    assert np.isnan(found.accuracy[0])
    assert metrics.ece(probabilities, labels, bins=10) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)


def test_a_bin_holds_its_upper_edge() -> None:
    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert metrics.reliability(probabilities, np.array([0, 0]), bins=2).counts.tolist() == [1, 1]


@settings(max_examples=50, deadline=None)
@given(cases)
def test_ece_is_bounded_and_every_prediction_is_in_a_bin(
    case: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> None:
    labels, logits = case
    found = metrics.reliability(softmax(logits), labels)
    assert found.counts.sum() == len(labels)
    gap = abs(float(softmax(logits).max(1).mean()) - metrics.accuracy(labels, logits.argmax(1)))
    assert gap - 1e-9 <= found.ece <= 1  # splitting into bins can only uncover gaps


def test_confident_and_always_right_is_calibrated() -> None:
    assert metrics.ece(np.eye(4), np.arange(4)) == 0
    assert metrics.nll(np.eye(4) * 1000, np.arange(4)) == 0


def test_nll_of_a_uniform_guess_is_the_logarithm_of_the_classes_and_does_not_overflow() -> None:
    assert metrics.nll(np.zeros((3, 7)), np.array([0, 3, 6])) == pytest.approx(math.log(7))
    assert metrics.nll(np.array([[1e5, 0.0]]), np.array([1])) == pytest.approx(1e5)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_no_temperature_is_better_than_the_fitted_one(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    labels, logits = case
    fitted = metrics.fit_temperature(logits, labels)
    low, high = metrics.TEMPERATURES
    assert low * 0.999 <= fitted <= high * 1.001
    best = min(metrics.nll(logits / t, labels) for t in np.geomspace(low, high, 60))
    assert metrics.nll(logits / fitted, labels) <= best + 1e-9


def test_the_fitted_temperature_undoes_a_scale() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 7))
    labels = (softmax(logits).cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert metrics.fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert metrics.fit_temperature(logits * 3, labels) == pytest.approx(3, abs=0.09)
    assert metrics.ece(softmax(logits), labels) < 0.02 < metrics.ece(softmax(logits * 3), labels)


def test_a_perfect_and_a_hopeless_network_get_the_bounds() -> None:
    assert metrics.fit_temperature(np.eye(3) * 5, np.arange(3)) == pytest.approx(metrics.TEMPERATURES[0])
    assert metrics.fit_temperature(-np.eye(3) * 5, np.arange(3)) == pytest.approx(metrics.TEMPERATURES[1])


def test_balanced_accuracy_and_top_k_by_hand() -> None:
    assert metrics.balanced_accuracy(metrics.confusion(LABELS, PREDICTIONS, 4)) == pytest.approx(
        (2 / 3 + 1 / 2 + 1) / 3
    )
    scores = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.4, 0.4]])
    assert [metrics.top_k(scores, np.array([0, 1, 2]), k) for k in (1, 2, 3)] == pytest.approx([2 / 3, 1, 1])
    assert metrics.top_k(scores, np.array([2, 2, 0]), 2) == 0


@settings(max_examples=50, deadline=None)
@given(cases)
def test_balanced_accuracy_and_top_two_agree_with_scikit_learn(
    case: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> None:
    labels, logits = case
    classes = list(range(logits.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of predictions of labels that do not occur
        expected = balanced_accuracy_score(labels, logits.argmax(1))
    assert metrics.balanced_accuracy(metrics.confusion(labels, logits.argmax(1), len(classes))) == pytest.approx(
        expected
    )
    if len(classes) > 2:
        assert metrics.top_k(logits, labels, 2) == pytest.approx(
            top_k_accuracy_score(labels, logits, k=2, labels=classes)
        )


def test_coverage_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.7, 0.6])
    correct = np.array([True, True, False, True, True])
    assert metrics.coverage(confidence, correct, 1.0) == (0.4, 0.8)
    assert metrics.coverage(confidence, correct, 0.8) == (1.0, 0.6)  # all of them, though the first three are worse
    assert metrics.coverage(confidence, correct, 0.75) == (1.0, 0.6)
    assert metrics.coverage(confidence[:4], correct[:4], 0.7) == (1.0, 0.7)  # equals stay together
    assert metrics.coverage(confidence[2:4], correct[2:4], 0.6) == (0.0, math.inf)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.floats(0.05, 1))
def test_what_is_covered_is_as_right_as_asked(rows: list[tuple[int, bool]], target: float) -> None:
    confidence, correct = np.array([c / 5 for c, _ in rows]), np.array([r for _, r in rows])
    share, threshold = metrics.coverage(confidence, correct, target)
    kept = confidence >= threshold
    assert kept.mean() == pytest.approx(share)
    assert not kept.any() or correct[kept].mean() >= target
    for lower in set(confidence[confidence < threshold]):
        assert correct[confidence >= lower].mean() < target


def test_shares_of_votes_leave_out_what_is_no_expression() -> None:
    shares = metrics.ferplus_shares(np.concatenate([ballot(happy=6, contempt=2, unknown=2), ballot(no_face=10)]))
    assert shares[0, VOTE_LABELS.index("happy")] == 0.75
    assert shares[0, VOTE_LABELS.index("contempt")] == 0.25
    assert shares.sum(1).tolist() == [1, 0]


def test_divergence_by_hand() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert metrics.kl_divergence(shares, np.log([[0.5, 0.5, 1e-300], [1.0, 1e-9, 1e-9]])) == pytest.approx(0)
    other = np.log([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    assert metrics.kl_divergence(shares, other) == pytest.approx((0.5 * math.log(2) + math.log(2)) / 2)


def test_paired_by_hand() -> None:
    first = np.array([True] * 6 + [False] * 4)
    second = np.array([True] * 5 + [False] + [True] * 4)
    found = metrics.paired(first, second)
    assert (found.only_first, found.only_second) == (1, 4)
    assert found.difference == pytest.approx(0.3)
    assert found.p_value == pytest.approx(2 * (1 + 5) / 2**5)  # none or one of five coins
    assert found.interval[0] < 0.3 < found.interval[1]
    back = metrics.paired(second, first)
    assert (back.difference, back.p_value) == (-found.difference, found.p_value)


def test_a_model_does_not_differ_from_itself() -> None:
    found = metrics.paired(np.array([True, False]), np.array([True, False]))
    assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)


def test_the_paired_interval_is_what_resampling_row_by_row_gives() -> None:
    random = np.random.default_rng(1)
    first, second = random.random(300) < 0.6, random.random(300) < 0.7
    rows = np.random.default_rng(2).integers(0, 300, (10_000, 300))
    gaps = second[rows].mean(1) - first[rows].mean(1)
    assert metrics.paired(first, second).interval == pytest.approx(np.quantile(gaps, [0.025, 0.975]), abs=0.008)


def test_nothing_gives_no_number() -> None:
    none, empty = np.empty(0, np.int64), np.empty((0, 3))
    for function in (
        lambda: metrics.accuracy(none, none),
        lambda: metrics.confusion(none, none, 3),
        lambda: metrics.nll(empty, none),
        lambda: metrics.ece(empty, none),
        lambda: metrics.brier(empty, none),
        lambda: metrics.fit_temperature(empty, none),
        lambda: metrics.bootstrap_interval(none.astype(bool)),
        lambda: metrics.wilson_interval(none.astype(bool)),
        lambda: metrics.macro_f1(np.zeros((3, 3), np.int64)),
        lambda: metrics.balanced_accuracy(np.zeros((3, 3), np.int64)),
        lambda: metrics.top_k(empty, none, 2),
        lambda: metrics.coverage(none.astype(float), none.astype(bool), 0.9),
        lambda: metrics.kl_divergence(empty, empty),
        lambda: metrics.paired(none.astype(bool), none.astype(bool)),
    ):
        with pytest.raises(ValueError, match="at least one row"):
            function()


def ballot(**votes: int) -> NDArray[np.uint8]:
    return np.array([[votes.get(name.replace(" ", "_"), 0) for name in FERPLUS_COLUMNS]], np.uint8)


@pytest.mark.parametrize(
    ("votes", "plain", "microsoft"),
    [
        (ballot(happy=10), "happy", "happy"),
        (ballot(contempt=6, neutral=4), "contempt", "contempt"),
        (ballot(happy=5, neutral=5), "neutral", None),  # a tie: the first column; no majority
        (ballot(happy=5, neutral=4, sad=1), "happy", "happy"),  # 5 of the 9 that are left
        (ballot(happy=5, neutral=3, sad=2), "happy", None),  # 5 of 10 is not more than half
        (ballot(happy=4, fear=3, unknown=3), "happy", None),
        (ballot(unknown=8, sad=2), None, None),
        (ballot(no_face=10), None, None),
        (ballot(happy=5, unknown=5), "happy", None),
        (ballot(happy=1, sad=1, fear=1), "happy", None),
        (ballot(), None, None),
    ],
)
def test_what_annotators_chose(votes: NDArray[np.uint8], plain: str | None, microsoft: str | None) -> None:
    for protocol, expected in zip(metrics.PROTOCOLS, (plain, microsoft), strict=True):
        found = int(metrics.ferplus_targets(votes, protocol)[0])
        assert (VOTE_LABELS[found] if found >= 0 else None) == expected


def test_ferplus_counts_are_the_published_ones(shared: Path) -> None:
    path = shared / "data" / "fer2013" / "fer2013new.csv"
    if not path.exists():
        pytest.skip("needs the FER+ file")
    with path.open(newline="") as file:
        votes = np.array([row[2:] for row in csv.reader(file) if row[0] == "PrivateTest"], np.uint8)
    assert (metrics.ferplus_targets(votes, "plain") >= 0).sum() == 3546
    assert (metrics.ferplus_targets(votes, "microsoft") >= 0).sum() == 3153
