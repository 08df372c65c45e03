from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from mien.tracking.assignment import assign

SMALL = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.one_of(st.floats(-1e3, 1e3), st.integers(-3, 3).map(float)),
)


def brute_force(costs: NDArray[np.float64]) -> float:
    """Least sum over all whole assignments."""
    if len(costs) > costs.shape[1]:
        costs = costs.T
    rows = range(len(costs))
    return float(min(sum(costs[i, c[i]] for i in rows) for c in permutations(range(costs.shape[1]), len(costs))))


@settings(deadline=None)
@given(SMALL)
def test_no_assignment_is_cheaper(costs: NDArray[np.float64]) -> None:
    rows, columns = assign(costs)
    assert len(rows) == len(set(rows)) == len(set(columns)) == min(costs.shape)
    assert (np.diff(rows) > 0).all()
    assert costs[rows, columns].sum() == pytest.approx(brute_force(costs), abs=1e-9)


@settings(deadline=None)
@given(SMALL, st.floats(-10, 10))
def test_limit_keeps_the_best_partial_assignment(costs: NDArray[np.float64], limit: float) -> None:
    """A dummy column per row, at the cost of the limit, spells out that every row may stay alone."""
    rows, columns = assign(costs, limit)
    assert (costs[rows, columns] < limit).all()
    alone = np.full((len(costs), len(costs)), limit)
    assert (costs[rows, columns] - limit).sum() == pytest.approx(
        brute_force(np.concatenate([costs, alone], 1)) - limit * len(costs), abs=1e-9
    )


@settings(deadline=None)
@given(SMALL)
def test_transposing_swaps_rows_and_columns(costs: NDArray[np.float64]) -> None:
    there, back = assign(costs), assign(costs.T)
    assert costs[there].sum() == pytest.approx(costs.T[back].sum(), abs=1e-9)


def test_agrees_with_scipy_on_larger_ones() -> None:
    scipy = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for shape in ((1, 40), (40, 1), (30, 30), (25, 60), (60, 25)):
        costs = rng.exponential(1, shape)
        ours, theirs = assign(costs), scipy.linear_sum_assignment(costs)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)])
def test_nobody_to_pair(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.empty(shape))
    assert len(rows) == len(columns) == 0


def test_forbidden_pairs_stay_apart() -> None:
    rows, columns = assign([[np.inf, 1.0], [np.inf, 0.5]], limit=2.0)
    assert list(zip(rows, columns, strict=True)) == [(1, 1)]


@pytest.mark.parametrize("costs", [[1.0, 2.0], [[np.nan]], [[np.inf]], [[-np.inf]]])
def test_what_is_no_cost_is_refused(costs: list[float]) -> None:
    with pytest.raises(ValueError, match="costs should"):
        assign(costs)
