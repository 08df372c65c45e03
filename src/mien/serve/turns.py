"""Whose turn it is: pictures and frames of everybody share a few threads, first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Turns:
    """`workers` threads, and a queue before them in which everybody stands once at most.

        async with turns.free:
            result = await turns.call(read, newest)

    Whoever wants a second turn goes to the end of the queue, so that turns go round and nobody starves; and since
    work is chosen when the turn has come, not before, a viewer can bring the newest frame.
    """

    def __init__(self, workers: int) -> None:
        self.free = asyncio.Semaphore(workers)
        self._pool = ThreadPoolExecutor(workers, "reader")

    async def call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
