"""Who belongs to whom at the least total cost: the linear assignment problem, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def assign(costs: ArrayLike, limit: float = np.inf) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column indices of the cheapest one-to-one pairs of a cost matrix `(n, m)`, rows ascending.

    With a `limit` a pair is made only where its cost is below it: of all partial assignments the one with the
    least sum of (cost - limit) is returned. Costs may be infinite then. Raises ValueError when `costs` is no
    matrix, holds NaN, or holds an infinite value that no limit caps.
    """
    matrix = np.asarray(costs, np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"costs should have shape (n, m), not {matrix.shape}")
    # A pair at the limit is as good as none, so the best partial assignment lies inside a whole one of these.
    capped = np.minimum(matrix, limit)
    if not np.isfinite(capped).all():
        raise ValueError("costs should be finite, or a limit should cap them")
    if len(capped) <= capped.shape[1]:
        columns = _cheapest_columns(capped)
        rows = np.arange(len(columns))
    else:
        rows = _cheapest_columns(capped.T)
        columns = np.argsort(rows)
        rows = rows[columns]
    near = matrix[rows, columns] < limit
    return rows[near], columns[near]


def _cheapest_columns(costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Each row's column, for finite costs of no more rows than columns.

    The Hungarian method by shortest augmenting paths (Jonker & Volgenant 1987; laid out in Crouse 2016, "On
    implementing 2D rectangular assignment algorithms"): rows join one by one, each by the cheapest chain of
    exchanges, found as Dijkstra would in reduced costs. O(rows^2 columns).
    """
    n, m = costs.shape
    row_price, column_price = np.zeros(n), np.zeros(m)
    column_of, row_of = np.full(n, -1, np.intp), np.full(m, -1, np.intp)
    for new in range(n):
        distance, before, done = np.full(m, np.inf), np.full(m, -1, np.intp), np.zeros(m, bool)
        row, reached = new, 0.0
        while True:
            through_row = reached + costs[row] - row_price[row] - column_price
            closer = ~done & (through_row < distance)
            distance[closer], before[closer] = through_row[closer], row
            column = int(np.where(done, np.inf, distance).argmin())
            reached = float(distance[column])
            done[column] = True
            if row_of[column] < 0:
                break
            row = int(row_of[column])
        chain = done & (row_of >= 0)
        row_price[new] += reached
        row_price[row_of[chain]] += reached - distance[chain]
        column_price[done] -= reached - distance[done]
        row = -1
        while row != new:
            row = int(before[column])
            row_of[column] = row
            column_of[row], column = column, int(column_of[row])
    return column_of
