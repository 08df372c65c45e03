"""What the two heads learn: label targets softened by the annotators' votes, and the votes themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mien.data.prepared import PreparedSet
from mien.labels import FERPLUS_COLUMNS, LABELS, VOTE_LABELS
from mien.training.recipe import OptimTable

_VOTE_INDEX = [FERPLUS_COLUMNS.index(name) for name in VOTE_LABELS]


@dataclass(frozen=True)
class Targets:
    """What the heads learn, as float32 rows whose loss is the cross-entropy, sum(-target * log p).

    `labels (n, k)` sum to the row's weight, which is one on the average; `votes (n, 8)` to the share of its
    annotators who named an expression, zero where nobody voted.
    """

    labels: NDArray[np.float32]
    votes: NDArray[np.float32]

    def columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """In the order of the network's outputs."""
        return self.labels, self.votes

    def mixed(self, taught: NDArray[np.float32], share: float) -> Targets:
        """With a share of the label targets taken from other networks' probabilities `(n, k)`; weights stay."""
        weights = self.labels.sum(1, keepdims=True)
        return replace(self, labels=((1 - share) * self.labels + share * weights * taught).astype(np.float32))

    def followed_by(self, others: Targets) -> Targets:
        """The rows of both."""
        return Targets(np.concatenate([self.labels, others.labels]), np.concatenate([self.votes, others.votes]))


def vote_distribution(votes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Counts `(n, 10)` to distributions `(n, 8)` over `VOTE_LABELS`, and weights `(n,)`.

    Votes for `unknown` and `no face` take their share of the weight away, so that an image nobody could read
    teaches little.
    """
    counts = votes[:, _VOTE_INDEX].astype(np.float32)
    named, total = counts.sum(1), votes.sum(1)
    distribution = np.divide(
        counts, named[:, None], out=np.full_like(counts, 1 / counts.shape[1]), where=named[:, None] > 0
    )
    weights = np.divide(named, total, out=np.zeros_like(named), where=total > 0)
    return distribution, weights.astype(np.float32)


def label_given_votes(votes: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """P(label | votes) as `(n, 7)`: how this data set's labels are distributed where people voted so.

    FER2013's labels and FER+'s votes come from different annotators with different instructions, so votes cannot
    replace labels; a logistic regression on the shares of the ten columns estimates one from the other.
    """
    shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    model = LogisticRegression(C=100.0, max_iter=1000).fit(shares, labels)
    out = np.zeros((len(votes), len(LABELS)), np.float32)
    out[:, model.classes_] = model.predict_proba(shares)
    return out


def named_shares(votes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Counts `(n, 10)` as `(n, 8)` shares of all the row's votes that name an expression; zero where nobody voted."""
    distribution, weights = vote_distribution(votes)
    return distribution * weights[:, None]


def class_weights(labels: NDArray[np.int64], power: float) -> NDArray[np.float32]:
    """(1 / frequency of its label) to `power` for each row (n,), with a mean of one."""
    weights = np.bincount(labels)[labels].astype(np.float32) ** -power
    return np.asarray(weights / weights.mean(), np.float32)


def make_targets(train: PreparedSet, table: OptimTable) -> Targets:
    """The targets of every training row: label smoothing where there are no votes, P(label | votes) where
    there are, both under the label's class weight; and the votes."""
    classes = len(train.label_names)
    one_hot = np.eye(classes, dtype=np.float32)[train.labels]
    smoothed = one_hot * (1 - table.label_smoothing) + table.label_smoothing / classes
    votes = named_shares(train.votes)
    voted = votes.any(1)
    if table.vote_prior > 0 and len(np.unique(train.labels[voted])) > 1:
        prior = label_given_votes(train.votes[voted], train.labels[voted])
        smoothed[voted] = (1 - table.vote_prior) * one_hot[voted] + table.vote_prior * prior
    if table.class_balance > 0:
        smoothed = smoothed * class_weights(train.labels, table.class_balance)[:, None]
    return Targets(smoothed, votes)


def taught_targets(taught: NDArray[np.float32], table: OptimTable) -> Targets:
    """The targets of rows that only the teachers labelled, with probabilities `(n, k)`, under the class weight of the
    likeliest; nobody voted."""
    weights = class_weights(taught.argmax(1), table.class_balance)[:, None]
    return Targets(taught * weights, np.zeros((len(taught), len(VOTE_LABELS)), np.float32))
