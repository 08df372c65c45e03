"""Clients that wear the server out: slow, idle, many and huge; each is one of many, and goes on until it is stopped."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from abuse.server import Server, connected, head, jpeg, viewer

Load = Callable[[Server, int, np.random.Generator], Coroutine[Any, Any, None]]


async def _trickle(writer: asyncio.StreamWriter, content: bytes = b"a" * 10_000) -> None:
    for k in range(len(content)):
        writer.write(content[k : k + 1])
        await writer.drain()
        await asyncio.sleep(1)


async def _idle(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, _):
        await reader.read()


async def _slow_headers(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (_, writer):
        await _trickle(writer, head(server))


async def _trickled_pictures(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (_, writer):
        writer.write(head(server, "POST /v1/analyze", "Content-Type: image/jpeg", "Content-Length: 1000000"))
        await _trickle(writer)


async def _trickled_films(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (_, writer):
        writer.write(head(server, "POST /v1/videos", "Content-Type: video/mp4", "Content-Length: 1000000"))
        await _trickle(writer)


async def _trickled_frames(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        await viewer(server, reader, writer)
        writer.write(b"\x82\xff" + struct.pack(">Q", 1_000_000) + b"mask")
        await _trickle(writer)


async def _idle_viewers(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        await viewer(server, reader, writer)
        await reader.read()


async def _huge(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (_, writer):
        writer.write(
            head(
                server,
                f"POST /v1/{'videos' if k % 2 else 'analyze'}",
                "Content-Type: image/jpeg",
                "Content-Length: 9999999999999",
            )
        )
        while True:
            writer.write(bytes(100_000))
            await writer.drain()
            await asyncio.sleep(0.2)


async def _chunks(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (_, writer):
        writer.write(head(server, "POST /v1/analyze", "Content-Type: image/jpeg", "Transfer-Encoding: chunked"))
        while True:
            writer.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)


async def _many_requests(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        while True:
            writer.write(head(server, "GET /v1/health"))
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.1)


async def _come_and_go(server: Server, k: int, random: np.random.Generator) -> None:
    while True:
        async with connected(server) as (_, writer):
            writer.write(b"GET / HT" if k % 2 else b"")
        await asyncio.sleep(0.2)


async def _not_read(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio reads ahead by itself
        while True:
            writer.write(head(server, "GET /openapi.json") * 20)
            await writer.drain()
            await asyncio.sleep(0.5)


async def _continue(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        writer.write(
            head(server, "POST /v1/analyze", "Content-Type: image/jpeg", "Content-Length: 1000", "Expect: 100-continue")
        )
        await reader.read()


async def _large_pictures(server: Server, k: int, random: np.random.Generator) -> None:
    content = jpeg(np.zeros((4000, 5000, 3), np.uint8))
    async with connected(server) as (reader, writer):
        while True:
            writer.write(
                head(server, "POST /v1/analyze", "Content-Type: image/jpeg", f"Content-Length: {len(content)}")
                + content
            )
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(1)


async def _pipelined(server: Server, k: int, random: np.random.Generator) -> None:
    async with connected(server) as (reader, writer):
        writer.write(head(server, "GET /v1/health") * 500)
        await reader.read()


LOADS: dict[str, Load] = {
    "idle": _idle,
    "slow-headers": _slow_headers,
    "trickled-pictures": _trickled_pictures,
    "trickled-films": _trickled_films,
    "trickled-frames": _trickled_frames,
    "idle-viewers": _idle_viewers,
    "huge-bodies": _huge,
    "chunks-without-end": _chunks,
    "many-requests": _many_requests,
    "come-and-go": _come_and_go,
    "answers-not-read": _not_read,
    "waiting-to-continue": _continue,
    "large-pictures": _large_pictures,
    "pipelined": _pipelined,
}
"""By name."""
