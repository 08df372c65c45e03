"""What the heads learn: labels, votes, and what teachers add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_sets import striped

from mien.labels import FERPLUS_COLUMNS, VOTE_LABELS
from mien.training.expression.targets import (
    class_weights,
    label_given_votes,
    make_targets,
    named_shares,
    vote_distribution,
)
from mien.training.expression.teachers import VoteFusion
from mien.training.recipe import OptimTable


def test_targets_blend_label_and_votes() -> None:
    labels = np.array([0, 0, 3, 3, 3, 6], np.int64)
    votes = np.zeros((6, len(FERPLUS_COLUMNS)), np.uint8)
    votes[:3, FERPLUS_COLUMNS.index("angry")] = 10
    votes[3:5, FERPLUS_COLUMNS.index("happy")] = 10
    base = striped(3)
    rows = replace(base, images=base.images[:6], labels=labels, votes=votes)
    targets = make_targets(rows, OptimTable(vote_prior=0.5, label_smoothing=0.07))
    np.testing.assert_allclose(targets.labels.sum(1), 1, atol=1e-5)
    # Three were seen as angry, two of them labelled so: P(angry | votes) is two thirds.
    assert targets.labels[0, 0] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=0.05)
    assert targets.labels[2, 0] == pytest.approx(0.5 * 2 / 3, abs=0.05)
    assert targets.labels[3, 3] > 0.95
    # Nobody voted on the last: its label, smoothed.
    np.testing.assert_allclose(targets.labels[5], [0.01] * 6 + [0.94], atol=1e-6)
    assert targets.votes.sum(1).tolist() == [1, 1, 1, 1, 1, 0]
    np.testing.assert_allclose(label_given_votes(votes[:5], labels[:5]).sum(1), 1, atol=1e-5)


def test_teachers_and_votes_together_know_more_than_either() -> None:
    """The votes tell 0 and 1 from 2 and 3, the teacher 0 and 2 from 1 and 3: only both tell all four apart."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    votes = np.zeros((400, len(FERPLUS_COLUMNS)), np.uint8)
    votes[np.arange(400), np.where(labels < 2, 2, 5)] = 10
    taught = np.full((400, 4), 0.05, np.float32)
    for side in (0, 2):
        taught[np.arange(400), labels % 2 + side] = 0.45
    known, rest = slice(0, 200), slice(200, 400)
    votes[399] = 0
    shares, said = torch.from_numpy(named_shares(votes)), torch.from_numpy(taught)
    joined = VoteFusion(shares[known], said[known], labels[known])(shares[rest], said[rest]).numpy()
    np.testing.assert_allclose(joined.sum(1), 1, atol=1e-5)
    assert (joined[:-1].argmax(1) == labels[rest][:-1]).all()
    assert float(joined[:-1].max(1).min()) > 0.8
    np.testing.assert_array_equal(joined[-1], taught[-1], "nobody voted there: the teacher alone")


def test_votes_and_teachers_of_two_labels_among_more() -> None:
    """What was never shown gets nothing, and two labels are told apart like more."""
    votes = np.zeros((60, len(FERPLUS_COLUMNS)), np.uint8)
    votes[:30, 2] = votes[30:, 5] = 10
    shares, said = torch.from_numpy(named_shares(votes)), torch.full((60, 4), 0.25)
    joined = VoteFusion(shares, said, np.repeat([1, 3], 30))(shares, said)
    assert joined[:, [0, 2]].max() == 0
    assert joined[:30, 1].min() > 0.8
    assert joined[30:, 3].min() > 0.8
    torch.testing.assert_close(joined.sum(1), torch.ones(60))


def test_votes_that_name_nothing_weigh_less() -> None:
    votes = np.zeros((3, len(FERPLUS_COLUMNS)), np.uint8)
    votes[0, [FERPLUS_COLUMNS.index("sad"), FERPLUS_COLUMNS.index("unknown")]] = [6, 4]
    votes[1, FERPLUS_COLUMNS.index("no face")] = 10
    distribution, weights = vote_distribution(votes)
    np.testing.assert_allclose(weights, [0.6, 0, 0])
    assert distribution[0, VOTE_LABELS.index("sad")] == 1
    np.testing.assert_allclose(distribution.sum(1), 1, atol=1e-6)


def test_class_weights_lift_the_rare_and_keep_the_mean() -> None:
    labels = np.array([3] * 90 + [1] * 10, np.int64)
    weights = class_weights(labels, 1.0)
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] / weights[0] == pytest.approx(9)
    np.testing.assert_array_equal(class_weights(labels, 0.0), 1)
    rows = replace(striped(50), images=striped(50).images, labels=labels, votes=np.zeros((100, 10), np.uint8))
    assert make_targets(rows, OptimTable(class_balance=1.0)).labels.sum(1)[-1] == pytest.approx(weights[-1])
