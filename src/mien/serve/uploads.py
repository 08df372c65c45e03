"""Uploads: the bare body or the part `file` of a form, counted and timed while it comes, and kept nowhere but where it
goes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from mien.serve.places import one_client
from mien.serve.problems import Refused

_DRAIN = 5.0
"""Seconds in which the rest of what was refused is taken in: a client that is still sending would not see why."""
_AT_ONCE = 1 << 20
_STEADY = 10
"""Times the least rate."""
_FORM_OVERHEAD = 64_000
"""Bytes of a form that are not its file."""
_HEADER = 4096
_UNSAFE = re.compile(r"[^\w .,()+=@-]+")


@dataclass(eq=False)
class Arrival:
    """One upload on its way, of which `room` is held so far."""

    client: str
    pace: Pace
    began: float = field(default_factory=time.monotonic)
    received: int = 0
    room: int = 0
    slowest: bool = False
    """That it has to give way."""
    waiting: asyncio.Timeout | None = None

    @property
    def rate(self) -> float:
        """Bytes a second so far."""
        return self.received / max(time.monotonic() - self.began, 0.05)

    @property
    def steady(self) -> bool:
        """That it comes so well that nobody else takes its place."""
        return self.rate >= _STEADY * self.pace.least_rate

    @property
    def order(self) -> tuple[bool, float, float]:
        """Who gives way first: the slowest; last those of which a second says nothing yet."""
        return time.monotonic() - self.began < 1, self.rate, self.began

    @property
    def deadline(self) -> float:
        """By when more has to have come; seconds of the monotonic clock."""
        return self.began + min(self.pace.seconds, self.pace.patience + self.received / self.pace.least_rate)

    def give_way(self) -> None:
        self.slowest = True
        if self.waiting is not None:
            self.waiting.reschedule(asyncio.get_running_loop().time())

    def late(self) -> Refused:
        """Why it is not waited for any longer."""
        if self.slowest:
            busy = "the server holds as many uploads as it can, and this was the slowest; try again later"
            return Refused(503, busy, {"Retry-After": "5", "Connection": "close"})
        if time.monotonic() >= self.began + self.pace.seconds:
            slow = f"an upload may take {self.pace.seconds:,g} seconds"
        else:
            slow = f"the upload comes more slowly than {self.pace.least_rate / 1000:g} kB a second"
        return Refused(408, slow, {"Connection": "close"})


@dataclass(frozen=True)
class Pace:
    """How fast uploads have to come: within `seconds` altogether, and after the first `patience` seconds with
    `least_rate` bytes a second on average."""

    seconds: float
    patience: float
    least_rate: float


class Arrivals:
    """All uploads on their way to one place, which together may hold `room`, one client's a `share` of it.

    When they would hold more, the slowest gives way, or where all come well, the one that asks: who sends a byte now
    and then keeps nobody out, and who sends well is not cut off.
    """

    def __init__(self, room: int, share: float, pace: Pace) -> None:
        self.room, self.each, self.pace = room, max(1, ceil(room * share)), pace
        self._all: set[Arrival] = set()

    @contextmanager
    def arrival(self, client: str) -> Iterator[Arrival]:
        """An upload of this client, from its first byte to the last."""
        arrival = Arrival(client, self.pace)
        self._all.add(arrival)
        try:
            yield arrival
        finally:
            self._all.discard(arrival)

    def hold(self, arrival: Arrival, room: int) -> None:
        """Let an upload hold so much more. Raises Refused when it is itself the one that has to give way."""
        arrival.room += room
        for most, among in (
            (self.each, [other for other in self._all if other.client == arrival.client]),
            (self.room, list(self._all)),
        ):
            held = sum(other.room for other in among)
            slow = sorted((other for other in among if other.room and not other.steady), key=lambda other: other.order)
            for other in [*slow, arrival]:
                if held <= most:
                    break
                other.give_way()
                held -= other.room
                self._all.discard(other)
        if arrival.slowest:
            raise arrival.late()


async def take(
    request: Request, write: Callable[[bytes], object], limit: int, arrivals: Arrivals, *, keep: bool = False
) -> str:
    """Hand what is uploaded to `write`, in pieces and in a thread, and give the file's name as the client calls it.

    It holds one place of `arrivals` from its first byte on, or with `keep` a place a byte. Raises Refused: 413 when it
    is more than `limit` bytes, 422 for a form without `file`, 400 for a broken form, 408 when it comes too slowly, 503
    when it is the slowest of too many.
    """
    try:
        with arrivals.arrival(client_of(request)) as arrival:

            def count(chunk: bytes) -> None:
                arrival.received += len(chunk)
                if keep or not arrival.room:
                    arrivals.hold(arrival, len(chunk) if keep else 1)

            return await _take(request, write, limit, arrival, count)
    except Refused as refused:
        if "Connection" not in refused.headers:
            await _drain(request)
        raise
    except ClientDisconnect:
        raise Refused(400, "the connection ended before the upload did") from None


async def take_bytes(request: Request, limit: int, arrivals: Arrivals) -> tuple[bytes, str]:
    """As `take`, into memory: content and name."""
    content = bytearray()
    name = await take(request, content.extend, limit, arrivals, keep=True)
    return bytes(content), name


def client_of(connection: HTTPConnection) -> str:
    """By what a client is told apart from others."""
    return one_client(connection.client.host) if connection.client else ""


def safe_name(name: str) -> str:
    """What a client calls its file, as text for people: without folders or anything that means something to a shell,
    a page or a terminal; never empty."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNSAFE.sub("_", last).strip(" .")[-100:] or "upload"


async def _take(
    request: Request,
    write: Callable[[bytes], object],
    limit: int,
    arrival: Arrival,
    count: Callable[[bytes], None],
) -> str:
    too_large = Refused(413, f"the upload is too large: up to {limit / 1e6:,.0f} MB are taken")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit + _FORM_OVERHEAD:
        raise too_large
    kind, options = parse_options_header(request.headers.get("content-type"))
    form = _Form(options.get(b"boundary", b"")) if kind == b"multipart/form-data" else None
    total, waiting = 0, bytearray()
    async with aclosing(_chunks(request, arrival)) as chunks:
        async for chunk in chunks:
            count(chunk)
            total += len(chunk)
            if total > limit + (_FORM_OVERHEAD if form else 0):
                raise too_large
            waiting += form.feed(chunk) if form else chunk
            if len(waiting) >= _AT_ONCE:
                await asyncio.to_thread(write, bytes(waiting))
                waiting.clear()
    if form:
        form.finish()
    await asyncio.to_thread(write, bytes(waiting))
    return safe_name(form.name if form else "upload")


async def _chunks(request: Request, arrival: Arrival) -> AsyncGenerator[bytes, None]:
    async with aclosing(request.stream()) as stream:
        while not arrival.slowest:
            try:
                async with asyncio.timeout(arrival.deadline - time.monotonic()) as arrival.waiting:
                    chunk = await anext(stream, None)
            except TimeoutError:
                break
            finally:
                arrival.waiting = None
            if chunk is None:
                return
            yield chunk
    raise arrival.late()


async def _drain(request: Request) -> None:
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # the last where everything has been taken in
        async with asyncio.timeout(_DRAIN), aclosing(request.stream()) as rest:
            async for _ in rest:
                pass


class _Form:
    """The part `file` of multipart/form-data (RFC 7578), as it comes."""

    def __init__(self, boundary: bytes) -> None:
        self.name = ""
        self._found, self._inside, self._over = False, False, False
        self._field, self._value, self._disposition = bytearray(), bytearray(), b""
        self._content = bytearray()
        if not boundary:
            raise Refused(400, "the form does not say what its boundary is")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._add(self._field, data[start:end]),
                    "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
                    "on_header_end": self._header,
                    "on_headers_finished": self._headers,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise Refused(400, "the form's boundary is not valid") from None

    def feed(self, chunk: bytes) -> bytes:
        """What this chunk holds of the file."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Refused(400, "the form is broken") from None
        content = bytes(self._content)
        self._content.clear()
        return content

    def finish(self) -> None:
        """Raises Refused when the form was cut short or had no file."""
        if not self._over:
            raise Refused(400, "the form is broken or was cut short")
        if not self._found:
            raise Refused(422, "the form has no part called file with a file in it")

    def _begin(self) -> None:
        self._inside, self._disposition = False, b""

    def _add(self, to: bytearray, data: bytes) -> None:
        to += data
        if len(to) > _HEADER:
            raise Refused(400, "the form's headers are too long")

    def _header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") == b"file":
            if self._found:
                raise Refused(422, "the form has more than one part called file; send one at a time")
            self._found = self._inside = True
            self.name = options.get(b"filename", b"upload").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._content += data[start:end]

    def _end(self) -> None:
        self._over = True
