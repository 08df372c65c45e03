"""What one `mien serve` stands: hostile clients beside honest ones, many requests, a kill.

    python benchmarks/serve_limits.py --json docs/numbers/serve_limits.json

For each kind of hostile client, 200 of their connections come from one address, and come back whenever they are ended,
while an honest client at another address sends ten pictures of 640x480 a second, by turns over a connection that it
keeps and over a new one. Times are from the first try to the answer: a request that is refused or cut off is tried
again at once, so that the longest time is also the longest lock-out. Hostile clients have the token. Server and clients
share this machine; how busy it was before is told as its load. What the server itself needs is told as seconds of
processor, which do not depend on that.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from serve import pictures, processor_seconds

from mien.provenance import provenance

NUMBER = 200
"""Connections of each kind."""
ELSEWHERE = "127.0.0.2"
"""Where hostile clients come from; honest ones come through a proxy at 127.0.0.1."""
RATE = 10
"""Pictures a second of the honest client."""


class Line:
    """An honest client's connection, which is made anew when it has been ended."""

    def __init__(self, host: str, token: str, client: str = "192.0.2.1") -> None:
        self.host, self.token, self.client = host, token, client
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", client: str = "") -> int:
        """The status of the answer, which is read to its end."""
        if self._streams is None:
            address, _, port = self.host.partition(":")
            self._streams = await asyncio.open_connection(address, int(port))
        reader, writer = self._streams
        writer.write(head(self.host, self.token, method, path, len(body), client or self.client) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length))
        if b"connection: close" in answer:
            self.close()
        return int(answer[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def head(host: str, token: str, method: str, path: str, length: int, client: str = "") -> bytes:
    came = f"X-Forwarded-For: {client}\r\n" if client else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{came}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def timed(line: Line, method: str, path: str, body: bytes = b"") -> float:
    """Milliseconds until it is answered, however often it has to be asked."""
    began = time.perf_counter()
    while True:
        try:
            async with asyncio.timeout(10):
                if await line.ask(method, path, body) == 200:
                    return 1000 * (time.perf_counter() - began)
        except (OSError, EOFError, TimeoutError, ValueError):
            line.close()
        await asyncio.sleep(0.01)


def summary(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "p50_ms": round(cuts[49], 1), "p95_ms": round(cuts[94], 1), "p99_ms": round(cuts[98], 1),
        "longest_ms": round(max(times), 1),
    }  # fmt: skip


async def kept(server: Server, method: str, path: str, body: bytes = b"") -> dict[str, float]:
    """One request after the other over one connection, a few seconds long."""
    line, times = Line(server.host, server.token), list[float]()
    used, end = server.used(), time.perf_counter() + 5
    while time.perf_counter() < end or len(times) < 10:
        times.append(await timed(line, method, path, body))
    line.close()
    each = 1000 * (server.used() - used) / len(times)
    return {**summary(times[len(times) // 10 :]), "server_cpu_ms_each": round(each, 2)}


async def honest(host: str, token: str, picture: bytes, seconds: float) -> dict[str, float]:
    """Pictures at a steady rate, by turns over a connection that is kept and a new one."""
    line, times, began = Line(host, token), [], time.perf_counter()
    for number in range(round(seconds * RATE)):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        anew = Line(host, token)
        times.append(await timed(line if number % 2 else anew, "POST", "/v1/analyze", picture))
        anew.close()
    line.close()
    return summary(times)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def trickle(streams: Streams, beginning: bytes) -> None:
    """A beginning, then a byte a second."""
    streams[1].write(beginning)
    while not streams[0].at_eof():
        await asyncio.sleep(1)
        streams[1].write(b"x")
        await streams[1].drain()


async def flood(streams: Streams, beginning: bytes, rest: bytes) -> None:
    """All at once, and then whatever the answer is."""
    streams[1].write(beginning + rest)
    await streams[1].drain()
    await streams[0].read(65536)


async def ignore(streams: Streams, beginning: bytes) -> None:
    """Ask again and again for what is large, and read nothing of it."""
    streams[0]._transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        streams[1].write(beginning)
        await streams[1].drain()
        await asyncio.sleep(0.2)


def kinds(host: str, token: str) -> dict[str, Callable[[Streams], Awaitable[object]]]:
    """What a hostile connection does, by name."""
    large = BytesIO()
    Image.fromarray(np.zeros((6000, 8000, 3), np.uint8)).save(large, "JPEG")
    picture = pictures()[0]
    key = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = f"GET /v1/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{key}"
    upgrade += f"Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n"

    def post(path: str, length: int) -> bytes:
        return head(host, token, "POST", path, length)

    return {
        "no request": lambda streams: streams[0].read(),
        "slow head": lambda streams: trickle(streams, b"GET /v1/health HTTP/1.1\r\nX: "),
        "slow picture": lambda streams: trickle(streams, post("/v1/analyze", 100_000)),
        "slow film": lambda streams: trickle(streams, post("/v1/videos", 100_000)),
        "slow reader": lambda streams: ignore(streams, post("/v1/analyze?as=image", len(picture)) + picture),
        "silent viewer": lambda streams: flood(streams, upgrade.encode(), b""),
        "many requests": lambda streams: flood(streams, head(host, token, "GET", "/v1/health", 0), b""),
        "huge head": lambda streams: flood(streams, b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 100_000),
        "huge upload": lambda streams: flood(streams, post("/v1/analyze", 10**12), bytes(4_000_000)),
        "48 megapixels": lambda streams: flood(streams, post("/v1/analyze", large.tell()), large.getvalue()),
    }


async def attack(kind: str, host: str, token: str) -> None:
    """For ever, `NUMBER` connections."""
    act = kinds(host, token)[kind]
    address, _, port = host.partition(":")

    async def one() -> None:
        while True:
            with suppress(OSError, EOFError):
                streams = await asyncio.open_connection(address, int(port), local_addr=(ELSEWHERE, 0))
                try:
                    await act(streams)
                finally:
                    streams[1].transport.abort()
            await asyncio.sleep(0.1)

    await asyncio.gather(*(one() for _ in range(NUMBER)))


@contextmanager
def attacked(kind: str, host: str, token: str) -> Iterator[None]:
    process = get_context("fork").Process(target=lambda: asyncio.run(attack(kind, host, token)), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


class Server:
    """`mien serve` behind a proxy's address, so that clients can be told apart."""

    def __init__(self, token: str) -> None:
        began = time.perf_counter()
        self.token = token
        options = ["--port", "0", "--no-browser", "--token", token, "--trusted-proxy", "127.0.0.1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mien.cli", "serve", *options], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        assert self.process.stdout is not None
        (self.host,) = re.findall(r"http://([\d.]+:\d+)/", self.process.stdout.readline())
        asyncio.run(timed(Line(self.host, token), "GET", "/v1/health"))
        self.started = round(time.perf_counter() - began, 2)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", status)
        return round(int(kilobytes) / 1000, 1)

    def used(self) -> float:
        """Seconds of processor so far, which do not depend on what else the machine does."""
        return processor_seconds(self.process.pid) or 0.0

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait()


@asynccontextmanager
async def peak(server: Server, into: dict[str, Any]) -> AsyncIterator[None]:
    """Looks at the server's descriptors and memory twice a second."""

    async def look() -> None:
        while True:
            into["descriptors"] = max(into.get("descriptors", 0), server.descriptors())
            into["megabytes"] = max(into.get("megabytes", 0.0), server.megabytes())
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


def beside(server: Server, kind: str, picture: bytes, seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind}

    async def measure() -> None:
        used = server.used()
        await asyncio.sleep(3)
        row["server_cores_before_honest_came"] = round((server.used() - used) / 3, 2)
        async with peak(server, row):
            used, began = server.used(), time.perf_counter()
            row.update(await honest(server.host, server.token, picture, seconds))
            row["server_cores"] = round((server.used() - used) / (time.perf_counter() - began), 2)

    with attacked(kind, server.host, server.token):
        asyncio.run(measure())
    return row


async def endure(server: Server, picture: bytes, number: int) -> list[dict[str, float]]:
    """Requests of many clients, one in twenty a picture; memory and descriptors ten times on the way."""
    rows, line, began = [], Line(server.host, server.token), time.perf_counter()
    for k in range(1, number + 1):
        who = f"10.{k // 65536 % 256}.{k // 256 % 256}.{k % 256}"
        path, body = ("/v1/analyze", picture) if k % 20 == 0 else ("/v1/model", b"")
        status = await line.ask("POST" if body else "GET", path, body, who)
        assert status == 200, status
        if k % (number // 10) == 0:
            rows.append({
                "requests": k, "seconds": round(time.perf_counter() - began, 1), "megabytes": server.megabytes(),
                "descriptors": server.descriptors(),
            })  # fmt: skip
    line.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="beside each kind of hostile client")
    parser.add_argument("--requests", type=int, default=100_000, help="over which memory is watched")
    parser.add_argument("--kind", action="append", help="only this kind of hostile client; repeatable")
    parser.add_argument("--note", default="", help="a remark for the numbers, such as what else the machine did")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    load, picture, token = os.getloadavg()[0], pictures()[0], secrets.token_hex(16)
    content: dict[str, Any] = {
        **provenance(), "note": args.note, "load_before": round(load, 2), "seconds": args.seconds, "hostile": NUMBER,
    }  # fmt: skip

    def keep(name: str, value: Any) -> None:
        """At once, so that a run that is ended loses nothing."""
        content[name] = value
        if args.json:
            args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    server = Server(token)
    try:
        keep("kept", {
            "GET /v1/health": asyncio.run(kept(server, "GET", "/v1/health")),
            "POST /v1/analyze": asyncio.run(kept(server, "POST", "/v1/analyze", picture)),
        })  # fmt: skip
        keep("beside", [{"kind": "nobody", **asyncio.run(honest(server.host, token, picture, args.seconds))}])
        for kind in args.kind or kinds(server.host, token):
            keep("beside", [*content["beside"], beside(server, kind, picture, args.seconds)])
        keep("endured", asyncio.run(endure(server, picture, args.requests)) if args.requests else [])
        server.stop(signal.SIGKILL)
        server = Server(token)
        keep("seconds_to_start_after_a_kill", server.started)
    finally:
        server.stop()
    show(content)


def show(content: dict[str, Any]) -> None:
    console = Console(width=110)
    table = Table(title=f"honest client beside {NUMBER} hostile connections", box=None, pad_edge=False)
    for column in ("hostile", "p50 ms", "p95 ms", "p99 ms", "longest ms", "descriptors", "MB"):
        table.add_column(column, justify="right")
    kept_rows = ({"kind": name, **row} for name, row in content["kept"].items())
    for row in itertools.chain(kept_rows, content["beside"]):
        table.add_row(
            row["kind"], *(f"{row[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms", "longest_ms")),
            str(row.get("descriptors", "")), str(row.get("megabytes", "")),
        )  # fmt: skip
    console.print(table)
    console.print(content["endured"][:1], content["endured"][-1:], highlight=False)
    console.print(f"started {content['seconds_to_start_after_a_kill']} s after a kill", highlight=False)


if __name__ == "__main__":
    main()
