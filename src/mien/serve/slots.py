"""`Slots`: a few threads that everybody's pictures and frames share, first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Slots:
    """`workers` threads behind a fair semaphore; each viewer waits for at most one slot.

        async with slots.free:
            result = await slots.run(read, newest)

    Whoever wants another slot goes to the end of the queue, so nobody starves. Work is chosen once the slot is free,
    not before, so a viewer can bring its newest frame.
    """

    def __init__(self, workers: int) -> None:
        self.free = asyncio.Semaphore(workers)
        self._large = asyncio.Semaphore(max(1, workers - 1))
        self._pool = ThreadPoolExecutor(workers, "reader")

    @asynccontextmanager
    async def turn(self, *, large: bool) -> AsyncIterator[None]:
        """A slot for a picture; those that take long have one fewer, so that they never keep all others waiting."""
        async with self._large if large else nullcontext(), self.free:
            yield

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
