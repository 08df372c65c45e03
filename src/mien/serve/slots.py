"""`Slots`: a few threads that everybody's pictures and frames share, by turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Slots:
    """`workers` threads, and turns at them that go round among the clients who wait.

        async with slots.turn(client):
            result = await slots.run(read, newest)

    Who asks for much waits for its own work, not others for it; a client's own turns come in the order in which they
    were asked for. Work is chosen once the turn has come, not before, so a viewer can bring its newest frame.
    """

    def __init__(self, workers: int) -> None:
        self._free = workers
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._large = asyncio.Semaphore(max(1, workers - 1))
        self._pool = ThreadPoolExecutor(workers, "reader")

    @asynccontextmanager
    async def turn(self, client: str, *, large: bool = False) -> AsyncIterator[None]:
        """A slot; pictures that take long have one fewer, so that they never keep all others waiting."""
        async with self._large if large else nullcontext():
            await self._take(client)
            try:
                yield
            finally:
                self._pass_on()

    async def _take(self, client: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just come
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """The slot that is free to whoever is next; a client who has had a turn goes to the end."""
        while self._waiting:
            client = next(iter(self._waiting))
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
