"""Turns at the threads that everybody shares."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mien.serve.slots import Slots


def test_turns_go_round_among_clients() -> None:
    """Whoever asks for a little does not wait for all of those who ask for much."""

    async def play() -> list[str]:
        slots, order, gate = Slots(1), list[str](), asyncio.Event()

        async def ask(client: str, name: str) -> None:
            async with slots.turn(client):
                await gate.wait()
                order.append(name)

        asked = [asyncio.create_task(ask("much", f"much {k}")) for k in range(5)]
        await asyncio.sleep(0)
        asked += [asyncio.create_task(ask("little", f"little {k}")) for k in range(2)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*asked)
        slots.close()
        return order

    assert asyncio.run(play()) == ["much 0", "much 1", "little 0", "much 2", "little 1", "much 3", "much 4"]


def test_who_gives_up_leaves_no_slot_behind() -> None:
    async def play() -> None:
        slots, gate = Slots(2), asyncio.Event()

        async def ask(client: str) -> None:
            async with slots.turn(client):
                await gate.wait()

        asked = [asyncio.create_task(ask(f"client {k % 3}")) for k in range(12)]
        await asyncio.sleep(0)
        for task in asked[1::2]:
            task.cancel()
        gate.set()
        for task in asked:
            with suppress(asyncio.CancelledError):
                await task
        for _ in range(2):  # both slots are free again
            await asyncio.wait_for(slots._take("last"), 5)
        slots.close()

    asyncio.run(play())
