"""Work spread over threads, its results in the order of the work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """CPU cores that this process may use, where the system tells; else all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Results in the order of the items, with no more than two items per thread on their way.

    More threads than there are cores, or than 64 where there are fewer, are never begun: they would only wait. What
    taking an item raises is raised after the results of those before it.
    """
    workers = min(workers, max(cores(), 64))
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    problem: Exception | None = None
    try:
        source = iter(items)
        while problem is None:
            try:
                waiting.append(pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below
                problem = error
                break
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if problem is not None:
            raise problem
    finally:
        pool.shutdown(cancel_futures=True)
