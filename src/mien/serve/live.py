"""The WebSocket `/v1/stream`: frames in, faces out; one slot per viewer, and the newest frame wins."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import struct
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import InputError
from mien.faces import SCHEMA
from mien.media.frames import Frame
from mien.serve.guard import PROTOCOL
from mien.serve.pictures import FRAMES, decode
from mien.serve.problems import Refused, listed
from mien.serve.safety import Allowance
from mien.serve.service import Service, Shared
from mien.serve.uploads import client_of
from mien.serve.wire import ViewerSettings
from mien.stream import Stream

HEADER = struct.Struct("<IId")
"""Sequence number, zero, time in seconds by the viewer's own clock."""

_MAX_TEXT = 4096
_MAX_TIME = 1e9
_POLICY, _FAILED, _OVERLOADED = 1008, 1011, 1013

router = APIRouter()
_log = logging.getLogger("mien.serve")


@router.websocket("/v1/stream")
async def stream(socket: WebSocket, service: Shared) -> None:
    """One viewer, from the first frame to the last; see `mien.serve.app` for the protocol."""
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
    viewer = Viewer(socket, service)
    if not (service.viewing.take(viewer.client) or _take_over(viewer, service)):
        await socket.close(_OVERLOADED, f"{service.viewing.taken} viewers are connected already; try again later")
        return
    service.viewers.add(viewer)
    service.metrics.viewers.set(service.viewing.taken)
    try:
        await viewer.run()
    finally:
        if viewer in service.viewers:
            _leave(viewer, service)


def _leave(viewer: Viewer, service: Service) -> None:
    service.viewers.discard(viewer)
    service.viewing.leave(viewer.client)
    service.metrics.viewers.set(service.viewing.taken)


def _take_over(viewer: Viewer, service: Service) -> bool:
    """Take the place of a viewer who has not sent a frame for a while, where there is one."""
    spent = service.viewing.spent(viewer.client)
    rivals = [other for other in service.viewers if other.client == viewer.client or not spent]
    idlest = min(rivals, key=lambda other: other.heard, default=None)
    if idlest is None or time.monotonic() - idlest.heard < service.settings.idle_seconds:
        return False
    _leave(idlest, service)
    idlest.give_way()
    return service.viewing.take(viewer.client)


@dataclass(frozen=True)
class _Sent:
    """A frame as it came, and when."""

    sequence: int
    time: float
    content: bytes
    arrived: float


class _Gone(Exception):
    """Nobody is there any more."""


class Viewer:
    """A connection with its own `Stream`, so that viewers do not share ids, smoothing or settings."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self.client = client_of(socket)
        self.heard = time.monotonic()
        """When the last frame came, or the viewer."""
        self._displaced = asyncio.Event()
        self._stream = Stream(service.analyzer, None)
        self._smoothing, self._min_confidence, self._anew = True, 0.0, False
        self._slot: _Sent | None = None
        self._filled = asyncio.Event()
        self._dropped = 0
        rate = service.settings.frames_per_second
        self._allowance = Allowance(rate, 2 * rate)

    async def run(self) -> None:
        """Until the viewer leaves or the connection is ended."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._send(self._greeting())
            tasks = [asyncio.create_task(work) for work in (self._receive(), self._read_frames(), self._give_way())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except _Gone:
            return
        except Exception:  # noqa: BLE001 - the viewer is told, and the log says what it was
            _log.exception("a viewer's frame could not be read")
            await self._close(_FAILED, "something went wrong in the server; its log says what")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def give_way(self) -> None:
        """End, since another viewer needs the place."""
        self._displaced.set()

    async def _give_way(self) -> None:
        await self._displaced.wait()
        idle = time.monotonic() - self.heard
        await self._close(_OVERLOADED, f"another viewer came, and you sent no frame for {idle:.0f} seconds")

    def _greeting(self) -> dict[str, Any]:
        settings, analyzer = self._service.settings, self._service.analyzer
        return {
            "type": "ready",
            "model": analyzer.classifier.card.name,
            "detector": analyzer.detector.name,
            "labels": analyzer.label_names,
            "max_pixels": settings.frame_pixels,
            "max_bytes": settings.frame_bytes,
        }

    async def _receive(self) -> None:
        """Take in what the viewer sends; a frame that nobody has begun to read gives way to the next."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise _Gone
            if self._allowance.take():
                rate = self._service.settings.frames_per_second
                await self._close(_POLICY, f"more than {rate:g} messages a second")
                raise _Gone
            content = message.get("bytes")
            if content is None:
                await self._on_text(message.get("text") or "")
            else:
                await self._on_frame(content)

    async def _on_frame(self, content: bytes) -> None:
        if len(content) <= HEADER.size:
            await self._fail(400, "a frame is a header of 16 bytes and then a JPEG, WebP or PNG", None)
            return
        sequence, _, moment = HEADER.unpack_from(content)
        if not (math.isfinite(moment) and 0 <= moment <= _MAX_TIME):
            await self._fail(422, "the time of a frame should be in seconds, from 0 up", sequence)
            return
        self.heard = time.monotonic()
        old, self._slot = self._slot, _Sent(sequence, moment, content[HEADER.size :], time.perf_counter())
        self._filled.set()
        if old is not None:
            self._dropped += 1
            self._service.metrics.frames.labels("dropped").inc()
            await self._send({"type": "dropped", "sequence": old.sequence})

    async def _on_text(self, text: str) -> None:
        if len(text) > _MAX_TEXT:
            await self._fail(413, f"a text message may have {_MAX_TEXT} characters", None)
            return
        try:
            wanted = ViewerSettings.model_validate_json(text)
        except ValidationError as error:
            await self._fail(422, f"not understood: {listed(error.errors())}", None)
            return
        if wanted.type == "reset":
            self._anew = True
        if wanted.smoothing is not None:
            self._smoothing = wanted.smoothing
        if wanted.min_confidence is not None:
            self._min_confidence = wanted.min_confidence

    async def _read_frames(self) -> None:
        """The newest frame, whenever a slot is free."""
        slots, metrics = self._service.slots, self._service.metrics
        while True:
            await self._filled.wait()
            async with slots.turn(self.client):
                self._filled.clear()
                frame, self._slot = self._slot, None
                if frame is None:
                    continue
                if self._anew:
                    self._stream, self._anew = Stream(self._service.analyzer, None), False
                self._stream.smoothing = self._smoothing
                try:
                    answer = await slots.run(self._read, frame, self._min_confidence, self._dropped)
                except Refused as refused:
                    metrics.frames.labels("failed").inc()
                    answer = _error(refused.status, refused.title, refused.detail, frame.sequence)
            await self._send(answer)

    def _read(self, sent: _Sent, min_confidence: float, dropped: int) -> dict[str, Any]:
        """In a thread: from the frame's bytes to the answer."""
        settings, metrics = self._service.settings, self._service.metrics
        begun = time.perf_counter()
        image = decode(sent.content, f"frame {sent.sequence}", FRAMES, settings.frame_pixels)
        decoded = time.perf_counter()
        try:
            faces = self._stream.push(Frame(image, sent.sequence, sent.time, "stream"))
        except InputError as error:
            raise Refused(422, str(error)) from None
        done = time.perf_counter()
        stages = {"wait": begun - sent.arrived, "decode": decoded - begun, "analyze": done - decoded}
        for stage, seconds in stages.items():
            metrics.seconds.labels(stage).observe(seconds)
        metrics.frames.labels("read").inc()
        metrics.faces.inc(len(faces))
        return {
            "type": "faces",
            "schema": SCHEMA,
            "sequence": sent.sequence,
            "time": sent.time,
            "width": faces.width,
            "height": faces.height,
            "faces": list(faces.rows(min_confidence)),
            "milliseconds": {stage: round(1000 * seconds, 2) for stage, seconds in stages.items()},
            "dropped": dropped,
        }

    async def _fail(self, status: int, detail: str, sequence: int | None) -> None:
        refused = Refused(status, detail)
        await self._send(_error(status, refused.title, detail, sequence))

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._socket.send_text(json.dumps(message, separators=(",", ":")))
        except (WebSocketDisconnect, RuntimeError):  # the latter from Starlette, once the connection is closed
            raise _Gone from None

    async def _close(self, code: int, reason: str) -> None:
        try:
            await self._socket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            return


def _error(status: int, title: str, detail: str, sequence: int | None) -> dict[str, Any]:
    return {"type": "error", "status": status, "title": title, "detail": detail, "sequence": sequence}
