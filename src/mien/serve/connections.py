"""Connections: how many there may be, how long they may keep the server waiting, and who gives way when they are many.

All of it comes before a request is read to its end, and so before the token is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.serve.metrics import Metrics
from mien.serve.places import Places, one_client
from mien.serve.safety import Allowances
from mien.serve.settings import Settings

_RESERVE = 64
"""Descriptors that are no client's: the networks, films that are read, the system's own."""
_AT_ONCE = 16
"""Connections that are taken in before any of them is looked at."""
_QUEUE = 1024
"""Connections that the system keeps waiting for that."""
_PIPELINED = 1.0
"""Seconds between an answer and the next request on a connection where that has come already."""
_PATROL = 1.0
"""Seconds between two looks at how all connections get on; a connection younger than that is new."""
_REST = b"\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable" + _REST
_NOT_UNDERSTOOD = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_OFTEN = b"HTTP/1.1 429 Too Many Requests" + _REST
_log = logging.getLogger("mien.serve")


class Phase(Enum):
    """What a connection is at: its client is to send the head of a request, or the body; or it is the server's turn."""

    HEAD = "head"
    BODY = "body"
    WORK = "work"


@dataclass(eq=False)
class Connection:
    """A connection, and for how long it has been at what it is at."""

    transport: asyncio.Transport
    client: str
    phase: Phase = Phase.HEAD
    since: float = field(default_factory=time.monotonic)
    received: int = 0
    unsent: int | None = None
    """Bytes of an answer that the client does not take; None while it takes them."""
    looked: float = 0.0

    def turn(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since, self.received = phase, time.monotonic(), 0

    def rate(self, now: float) -> float:
        """Bytes a second that come from a client for which the server waits."""
        return self.received / max(now - self.since, 1e-3)


class Connections:
    """All connections of a server. When there are too many, that which sends most slowly gives way, so that a client
    who knows what it wants always gets in; only when all are being worked for is a new one refused."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._proxies = [ip_network(proxy) for proxy in settings.trusted_proxies]
        self._places = Places(room(settings.max_connections), settings.share)
        rate = settings.connections_per_second
        self._allowances = Allowances(rate, 10 * rate)
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self._patrolling = False

    @property
    def number(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def enter(self, transport: asyncio.Transport) -> Connection:
        """Take in a connection, which may cost another one its place, or be refused: then it is closed already."""
        if known := self._open.get(transport):  # which has become a WebSocket
            return known
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if self._is_proxy(address):  # which counts its clients itself: each connection is one
            connection = Connection(transport, f"{address} {id(transport)}")
        else:
            connection = Connection(transport, one_client(address))
            if self._allowances.take(connection.client):
                return self._refuse(connection, _TOO_OFTEN, "too often")
        if not self._places.take(connection.client):
            spent = self._places.spent(connection.client)
            if not self._make_room(self._of(connection.client) if spent else self._open.values()):
                return self._refuse(connection, _FULL, "refused")
            self._places.take(connection.client)
        self._open[transport] = connection
        self._metrics.connections.set(len(self._open))
        if not self._patrolling:
            self._patrolling = True
            asyncio.get_running_loop().call_later(_PATROL, self._patrol)
        return connection

    def _refuse(self, connection: Connection, answer: bytes, why: str) -> Connection:
        """Before anything of it is read, which would cost more than the refusal."""
        self._metrics.ended.labels(why).inc()
        connection.transport.write(answer)
        connection.transport.close()
        return connection

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is over; forgetting it again does nothing."""
        if self._open.pop(connection.transport, None):
            self._places.leave(connection.client)
            self._metrics.connections.set(len(self._open))

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ip_address(address) in proxy for proxy in self._proxies)
        except ValueError:
            return False

    def _of(self, client: str) -> list[Connection]:
        return [connection for connection in self._open.values() if connection.client == client]

    def _make_room(self, among: Iterable[Connection]) -> bool:
        """Ends one of those that the server waits for: the slowest, or that which has waited longest; those that have
        only just come are spared where there are others. False when there is none."""
        now = time.monotonic()
        waiting = [connection for connection in among if connection.phase is not Phase.WORK]
        waiting = [connection for connection in waiting if now - connection.since > _PATROL] or waiting
        if not waiting:
            return False
        self._end(min(waiting, key=lambda connection: (connection.rate(now), connection.since)), "gave way")
        return True

    def _end(self, connection: Connection, why: str) -> None:
        self._metrics.ended.labels(why).inc()
        connection.transport.abort()
        self.leave(connection)

    def _patrol(self) -> None:
        """End what keeps the server waiting for too long: requests without an end, and answers that nobody takes."""
        now, patience = time.monotonic(), self._settings.patience
        for connection in list(self._open.values()):
            if connection.phase is Phase.HEAD and now - connection.since > patience:
                self._end(connection, "slow request")
            elif connection.unsent is None and connection.transport.is_closing():
                connection.unsent, connection.looked = connection.transport.get_write_buffer_size(), now
            elif connection.unsent is not None and now - connection.looked > patience:
                unsent = connection.transport.get_write_buffer_size()
                if connection.unsent - unsent < self._settings.least_rate * (now - connection.looked):
                    self._end(connection, "slow reader")
                connection.unsent, connection.looked = unsent, now
        self._patrolling = bool(self._open)
        if self._patrolling:
            asyncio.get_running_loop().call_later(_PATROL, self._patrol)


def room(wanted: int) -> int:
    """How many connections there is room for, up to `wanted`; the system is asked for more descriptors where it gives
    them. A connection may need two: its own, and that of a file it is sent."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no descriptors
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    if soft == resource.RLIM_INFINITY:
        return wanted
    found = max(1, min(wanted, (soft - _RESERVE) // 2))
    if found < wanted:
        _log.warning(
            "only %d connections at a time instead of %d: the system gives %d descriptors", found, wanted, soft
        )
    return found


class Config(uvicorn.Config):
    """uvicorn's settings, with protocols that tell `connections` what each connection is at."""

    def __init__(self, app: Any, connections: Connections, **options: Any) -> None:
        super().__init__(app, http=_Http, ws=_WebSocket, loop="asyncio", backlog=_AT_ONCE, **options)
        self.connections = connections


class Server(uvicorn.Server):
    """uvicorn's server, before which more connections may queue than it takes in at once."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.connections = config.connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_QUEUE)


class _Watched(asyncio.Protocol):
    """What both protocols tell."""

    config: Any
    transport: Any
    _all: Connections
    _own: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._all = self.config.connections
        self._own = self._all.enter(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self._own)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._own.unsent, self._own.looked = self.transport.get_write_buffer_size(), time.monotonic()

    def resume_writing(self) -> None:
        self._own.unsent = None
        super().resume_writing()


class _Http(_Watched, H11Protocol):
    """HTTP/1.1."""

    def data_received(self, data: bytes) -> None:
        self._own.received += len(data)
        super().data_received(data)
        self._tell()

    def on_response_complete(self) -> None:
        if self.conn.trailing_data[0] and not self.transport.is_closing():
            # Another request has come before this answer: nobody's browser does that, and without a pause a few hundred
            # such connections would leave nobody else a turn at the loop.
            self.loop.call_later(_PIPELINED, self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        super().on_response_complete()
        self._tell()

    def _tell(self) -> None:
        if self.transport.get_protocol() is not self:  # but a WebSocket
            return
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self._own.turn(Phase.HEAD)
        elif self.conn.their_state is h11.SEND_BODY:
            self._own.turn(Phase.BODY)
        else:
            self._own.turn(Phase.WORK)


class _WebSocket(_Watched, WebSocketsSansIOProtocol):
    """A WebSocket, whose pings find out whether anybody is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._own.turn(Phase.WORK)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The head of a request that is good enough for HTTP, but not for a WebSocket: uvicorn would answer nothing,
            # hold the connection for ever, and fail over it when it ends.
            self.transport.write(b"".join(self.conn.data_to_send()) or _NOT_UNDERSTOOD)
            self.close_sent = True
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:  # uvicorn would end it, too, but with a traceback in the log
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
