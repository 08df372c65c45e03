"""Hostile clients of the server: slow, idle, many, huge, malformed, from other sites, without the token."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

from abuse.children import ROOT
from abuse.loads import LOADS, Load
from abuse.refusals import REFUSALS, Refusal
from abuse.server import Server
from abuse.trial import Bench, Fault, Trial

MANY = 200
"""Hostile connections of each kind."""
SECONDS = 10.0
"""For which an attack lasts, once all connections stand; and for which honest clients are watched before."""
P95 = 100.0
"""Milliseconds that honest clients may wait, or three times what they wait when nobody disturbs."""


def trials(_: object = None) -> Iterator[Trial]:
    """Load, for which honest clients are watched; and nonsense, which must be refused in words."""
    for name, load in LOADS.items():
        yield Trial(f"load-{name}", lambda b, w=load: asyncio.run(_under_load(b, w)), alone=True)
    for name, check in REFUSALS.items():

        def attempt(bench: Bench, check: Refusal = check) -> list[Fault]:
            server = Server(bench.folder)
            try:
                found = asyncio.run(check(bench, server))
            except TimeoutError as error:
                found = [Fault("hang", str(error) or "the server says nothing")]
            finally:
                end = server.stopped()
            return found + end

        yield Trial(f"check-{name}", attempt)


async def _under_load(bench: Bench, load: Load) -> list[Fault]:
    """Honest clients alone, then with 200 hostile connections besides them."""
    server = Server(bench.folder)
    honest = subprocess.Popen(
        [sys.executable, "-m", "abuse.honest", "127.0.0.1", str(server.port), server.token],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))},
    )
    assert honest.stdout is not None
    await asyncio.to_thread(honest.stdout.readline)  # the first answer is there
    warm = time.time() + 1
    await asyncio.sleep(1 + SECONDS)
    began = time.time()
    hostile = [asyncio.create_task(_suppressed(load(server, k, bench.random))) for k in range(MANY)]
    await asyncio.sleep(SECONDS)
    ended = time.time()
    still = asyncio.create_task(asyncio.to_thread(honest.communicate))
    text, _ = await still
    for task in hostile:
        task.cancel()
    await asyncio.gather(*hostile, return_exceptions=True)
    answers = [json.loads(line) for line in text.splitlines()]
    before = [answer for answer in answers if warm <= answer["at"] < began]
    during = [answer for answer in answers if began <= answer["at"] < ended]
    found = []
    bad = [answer for answer in during if answer["problem"]]
    if bad:
        found.append(
            Fault(
                "wrong exit",
                f"{len(bad)} of {len(during)} honest requests fail, as {bad[0]['what']}: {bad[0]['problem']}",
            )
        )
    calm, busy = (
        _p95([answer["milliseconds"] for answer in some if not answer["problem"]]) for some in (before, during)
    )
    if busy > max(P95, 3 * calm):
        found.append(Fault("hang", f"honest clients wait {busy:.0f} ms (95 %), and {calm:.0f} ms undisturbed"))
    return found + server.stopped()


def _p95(milliseconds: list[float]) -> float:
    if len(milliseconds) < 2:
        return float("inf")
    return statistics.quantiles(milliseconds, n=20, method="inclusive")[18]


async def _suppressed(work: Coroutine[Any, Any, None]) -> None:
    with suppress(OSError, EOFError, asyncio.TimeoutError):
        await work
