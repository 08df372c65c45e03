"""Requests that must be refused in words: malformed, odd, from other sites, without the token."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from PIL import Image

from abuse.server import Server, answer, connected, enters, head, jpeg, viewer
from abuse.trial import Bench, Fault, photograph

Refusal = Callable[[Bench, Server], Coroutine[Any, Any, list[Fault]]]


async def _refused(
    server: Server, requests: dict[str, bytes], good: range = range(400, 500), seconds: float = 30
) -> list[Fault]:
    """Each is answered in `good`, or the connection is closed; and afterwards the server still answers."""
    found = []
    for name, request in requests.items():
        status, text = await answer(server, request, seconds=seconds)
        if status == -1:
            found.append(Fault("hang", f"{name}: no answer within {seconds:g} s"))
        elif status >= 500:
            found.append(Fault("traceback", f"{name}: {status} {text[-200:]!r}"))
        elif status and status not in good:
            found.append(Fault("wrong exit", f"{name}: {status}, but it should be refused"))
    return found + await _healthy(server)


async def _healthy(server: Server) -> list[Fault]:
    """An honest client is served."""
    picture = jpeg(photograph(128))
    length = f"Content-Length: {len(picture)}"
    status, text = await answer(
        server, head(server, "POST /v1/analyze", "Content-Type: image/jpeg", length) + picture, "127.0.0.1"
    )
    return (
        []
        if status == 200
        else [Fault("wrong exit", f"afterwards an honest picture is answered {status} {text[:200]!r}")]
    )


async def _malformed_requests(bench: Bench, server: Server) -> list[Fault]:
    requests = {
        "nothing": b"\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500),
        "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }
    requests |= {f"random-{k}": bench.random.bytes(int(bench.random.integers(1, 300))) + b"\r\n\r\n" for k in range(60)}
    for k in range(120):
        changed = bytearray(head(server, "GET /v1/health" if k % 2 else "GET /v1/videos/x"))
        for place in bench.random.integers(0, len(changed) - 4, int(bench.random.integers(1, 6))):
            changed[place] = int(bench.random.integers(256))
        requests[f"flipped-{k} {bytes(changed)!r}"] = bytes(changed) + b"\r\n\r\n"
    return await _refused(server, requests, range(100, 500), seconds=70)


async def _odd_requests(_: Bench, server: Server) -> list[Fault]:
    long = "a" * 1_000_000
    lines: dict[str, tuple[str, ...]] = {
        "length-negative": ("Content-Length: -1",),
        "length-words": ("Content-Length: many",),
        "length-twice": ("Content-Length: 5", "Content-Length: 6"),
        "length-huge": ("Content-Length: 99999999999999999999999",),
        "length-and-chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
        "coding": ("Transfer-Encoding: gzip, chunked",),
        "type-none": ("Content-Length: 4",),
        "type-odd": ("Content-Length: 4", "Content-Type: ;;;"),
        "type-text": ("Content-Length: 4", "Content-Type: text/plain"),
        "multipart-without": ("Content-Length: 4", "Content-Type: multipart/form-data"),
        "multipart-empty": ("Content-Length: 4", "Content-Type: multipart/form-data; boundary="),
        "multipart-long": ("Content-Length: 4", f"Content-Type: multipart/form-data; boundary={'x' * 5000}"),
        "long-header": (f"X-Long: {long}",),
        "many-headers": tuple(f"X-{k}: a" for k in range(20_000)),
        "no-colon": ("nonsense",),
        "folded": ("X-A: b", " c"),
        "encoded": ("Content-Length: 4", "Content-Encoding: br", "Content-Type: image/jpeg"),
        "upgrade": ("Upgrade: h2c", "Connection: Upgrade", "Content-Length: 4", "Content-Type: image/jpeg"),
        "bearer-latin": ("Content-Length: 4", "Authorization: Bearer \xff\xfe"),
    }
    requests = {name: head(server, "POST /v1/analyze", *some) + b"abcd" for name, some in lines.items()}
    chunked = head(server, "POST /v1/analyze", "Content-Type: image/jpeg", "Transfer-Encoding: chunked")
    for k, body in enumerate(
        (
            b"zz\r\n",
            b"-1\r\n",
            b"ffffffffffffffffff\r\na",
            b"4\r\nabcd",
            b"4\r\nabcdefgh\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"4;" + b"a" * 100_000 + b"\r\n",
        )
    ):
        requests[f"chunk-{k}"] = chunked + body
    for method in ("PUT", "PATCH", "TRACE", "CONNECT", "BREW", "\x00", "get", "A" * 1000, "OPTIONS", "PROPFIND"):
        requests[f"method-{method[:9]!r}"] = head(server, f"{method} /v1/analyze")
    return await _refused(server, requests, seconds=70)


def _frame(first: int, payload: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    flag = 0x80 if masked else 0
    head = (
        bytes([first, flag | size])
        if size < 126
        else bytes([first, flag | 126]) + struct.pack(">H", size)
        if size < 65536
        else bytes([first, flag | 127]) + struct.pack(">Q", size)
    )
    return head + (b"\0\0\0\0" if masked else b"") + payload


async def _spoken(server: Server, content: bytes, seconds: float = 30) -> tuple[str, bytes]:
    """Sends bytes over a WebSocket that stands; whether it is closed then, answers, or is silent."""
    try:
        async with connected(server) as (reader, writer):
            await viewer(server, reader, writer)
            await asyncio.wait_for(reader.read(4000), 10)  # the greeting
            writer.write(content)
            try:
                answer = await asyncio.wait_for(reader.read(4000), seconds)
            except TimeoutError:
                return "silent", b""
            return ("closed" if not answer or answer[0] == 0x88 else "answers"), answer
    except (OSError, EOFError):
        return "closed", b""


async def _malformed_frames(bench: Bench, server: Server) -> list[Fault]:
    """What RFC 6455 forbids ends the connection."""
    frames = {
        "unmasked": _frame(0x82, b"abc", masked=False),
        "reserved-bits": _frame(0xF2, b"abc"),
        "opcode-3": _frame(0x83, b"abc"),
        "opcode-15": _frame(0x8F, b"abc"),
        "long-ping": _frame(0x89, bytes(126)),
        "split-ping": _frame(0x09, b"a"),
        "no-beginning": _frame(0x80, b"abc"),
        "two-beginnings": _frame(0x02, b"a") + _frame(0x02, b"b"),
        "bad-utf8": _frame(0x81, b"\xff\xfe\xfd"),
        "close-1": _frame(0x88, b"\x03"),
        "close-0": _frame(0x88, struct.pack(">H", 0)),
        "close-65535": _frame(0x88, struct.pack(">H", 65535)),
        "close-bad-utf8": _frame(0x88, struct.pack(">H", 1000) + b"\xff"),
        "length-64": bytes([0x82, 0xFF]) + b"\xff" * 8 + b"\0\0\0\0",
        "too-large": _frame(0x82, bytes(100), length=50_000_000),
        "compressed": _frame(0xC2, b"\xff" * 50),
    }
    frames |= {
        f"random-{k}": bytes([int(bench.random.choice([0x83, 0x84, 0x8B, 0xB2, 0x02 | 0x70]))])
        + b"\xff"
        + bench.random.bytes(200)
        for k in range(40)
    }
    found = []
    for name, content in frames.items():
        what, answer = await _spoken(server, content)
        if what != "closed":
            found.append(
                Fault(
                    "hang" if what == "silent" else "wrong exit",
                    f"{name}: the connection stays open and is {what} {answer[:80]!r}",
                )
            )
    pieces = b"".join(_frame(0x02 if not k else 0x00, b"a" * 1000) for k in range(6000))
    what, answer = await _spoken(server, pieces)
    if what != "closed":
        found.append(Fault("hang" if what == "silent" else "wrong exit", f"a message of 6 MB in pieces: {what}"))
    return found + await _healthy(server)


async def _malformed_messages(bench: Bench, server: Server) -> list[Fault]:
    """What the protocol of the stream does not know is answered in words, or ends the connection."""
    picture = jpeg(photograph(64))
    binary = {
        "empty": b"",
        "short": b"abc",
        "head-alone": struct.pack("<IId", 0, 0, 0.0),
        "nan": struct.pack("<IId", 0, 0, np.nan) + picture,
        "inf": struct.pack("<IId", 0, 0, np.inf) + picture,
        "before": struct.pack("<IId", 0, 0, -1e300) + picture,
        "reserved": struct.pack("<IId", 0, 7, 0.0) + picture,
        "no-picture": struct.pack("<IId", 1, 0, 0.0) + bytes(500),
        "cut-picture": struct.pack("<IId", 1, 0, 0.0) + picture[:300],
        "large": struct.pack("<IId", 1, 0, 0.0) + bytes(4_100_000),
    }
    binary |= {f"random-{k}": bench.random.bytes(int(bench.random.integers(0, 400))) for k in range(30)}
    texts = [
        "",
        "{",
        "[]",
        "null",
        "1",
        '"reset"',
        "{}",
        '{"type":"x"}',
        '{"type":"settings","smoothing":1}',
        '{"type":"settings","min_confidence":NaN}',
        '{"type":"settings","min_confidence":1e999}',
        '{"type":"settings","min_confidence":-1}',
        '{"type":"settings","more":1}',
        "[" * 2000,
        '{"type":' * 500,
        "a" * 5000,
        '{"type":"reset","type":"settings"}',
        '{"type":"settings","smoothing":null}',
        "\u0000",
        '{"\\ud800":1}',
        '{"type":"settings","min_confidence":' + "9" * 3000 + "}",
    ]
    found = []
    for name, content in [*binary.items(), *((f"text-{k}", text.encode()) for k, text in enumerate(texts))]:
        first = 0x81 if name.startswith("text") else 0x82
        # A reset is answered by nothing, so that a frame follows, which is.
        what, answer = await _spoken(
            server, _frame(first, content) + _frame(0x82, struct.pack("<IId", 9, 0, 1.0) + picture)
        )
        if what == "silent":
            found.append(Fault("hang", f"{name}: no answer"))
        elif answer[:1] == b"\x88" and struct.unpack(">H", answer[2:4])[0] == 1011:
            found.append(Fault("traceback", f"{name}: {answer[4:200]!r}"))
    return found + await _healthy(server)


async def _origins(_: Bench, server: Server) -> list[Fault]:
    origins = (
        "null",
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        f"http://127.0.0.1:{server.port}.evil.example",
        f"http://evil.example:{server.port}",
        "http://[",
        "http://[::1",
        "http://]",
        "http://a:b:c",
        "http://127.0.0.1:x",
        "file://",
        "",
        " ",
        "http://",
        "\xff",
        "a" * 5000,
        f"http://user@evil.example@127.0.0.2:{server.port}",
        "http://127.0.0.1:99999",
        "http://127.0.0.1",
        "chrome-extension://abc",
        "javascript:alert(1)",
        "http://\x7f",
    )
    found = []
    for kind in ("POST /v1/analyze", "GET /v1/health", "DELETE /v1/videos/x", "OPTIONS /v1/analyze"):
        for origin in origins:
            lines = [f"Origin: {origin}", "Content-Length: 0"]
            if "OPTIONS" in kind:
                lines.append("Access-Control-Request-Method: POST")
            status, text = await answer(server, head(server, kind, *lines))
            if status >= 500:
                found.append(Fault("traceback", f"{kind} with origin {origin[:60]!r}: {status}"))
            elif status == -1 or 0 < status < 400 or b"access-control-allow-origin" in text.lower():
                found.append(
                    Fault("wrong exit", f"{kind} with origin {origin[:60]!r}: {status}, but it should be refused")
                )
    found += [
        Fault("wrong exit", f"a viewer with the origin {origin[:60]!r} comes in")
        for origin in origins
        if await enters(server, f"Origin: {origin}")
    ]
    return found + await _healthy(server)


async def _hosts(_: Bench, server: Server) -> list[Fault]:
    """As after DNS rebinding, where a foreign name leads to this machine."""
    hosts = (
        "evil.example",
        f"evil.example:{server.port}",
        "",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "[::1",
        "[",
        "]",
        "localhost@evil.example",
        "evil.example#127.0.0.1",
        "evil.example/127.0.0.1",
        "127.0.0.1\\@evil.example",
        "2130706433",
        "0x7f.1",
        "\xff",
        "a" * 3000,
        "localhost.",
        "127.1",
        "local host",
        "evil.example?localhost",
    )
    requests = {
        f"host {host[:60]!r} {kind}": head(server, kind, host=host)
        for host in hosts
        for kind in ("GET /v1/health", "GET /")
    }
    requests["no-host"] = f"GET /v1/health HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
    requests["two-hosts"] = head(server, "GET /v1/health", "Host: evil.example")
    return await _refused(server, requests)


async def _tokens(_: Bench, server: Server) -> list[Fault]:
    token = server.token
    wrong = (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {token}",
        f"bearer{token}",
        f"Bearer {token[:-1]}",
        f"Bearer {token}x",
        f"Bearer {token.upper() if token != token.upper() else 'A'}",
        "Bearer \xff",
        f"Bearer {'a' * 60_000}",
        f"Token {token}",
        f'Bearer "{token}"',
        f"Bearer {token},{token}",
        f"Bearer {token} x",
        "Bearer *",
        "Bearer null",
    )
    requests = {}
    for kind in (
        "POST /v1/analyze",
        "GET /v1/videos/x",
        "GET /metrics",
        "DELETE /v1/videos/x",
        "POST /v1/videos",
        "POST /v1/recordings",
    ):
        for k, given in enumerate(wrong):
            requests[f"{kind} token {k}"] = head(
                server, kind, "Content-Length: 0", f"Authorization: {given}", token=False
            )
        requests[f"{kind} in the query"] = head(server, f"{kind}?token={token}", "Content-Length: 0", token=False)
        requests[f"{kind} as a cookie"] = head(server, kind, "Content-Length: 0", f"Cookie: token={token}", token=False)
    found = await _refused(server, requests)
    for name in ("mien.v1", "bearer.", f"bearer.{token}x", "bearer.\xff"):
        if await enters(server, f"Sec-WebSocket-Protocol: {name}", token=False):
            found.append(Fault("wrong exit", f"a viewer with the subprotocol {name!r} comes in"))
    return found


async def _forwarded(_: Bench, server: Server) -> list[Fault]:
    """Guessing the token as fast as possible, from addresses that are only claimed, is slowed down."""
    statuses: list[int] = []
    async with connected(server) as (reader, writer):
        for k in range(2000):
            claimed = f"10.{k % 250}.{k // 250}.9"
            writer.write(
                head(
                    server,
                    "GET /metrics",
                    f"X-Forwarded-For: {claimed}",
                    f"Forwarded: for={claimed}",
                    f"X-Real-IP: {claimed}",
                    token=False,
                )
            )
            try:
                top = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            except (TimeoutError, OSError, EOFError):
                break
            statuses.append(int(top.split()[1]))
            length = re.search(rb"content-length: (\d+)", top.lower())
            await reader.readexactly(int(length[1]) if length else 0)
    if statuses and 429 not in statuses:
        return [Fault("wrong exit", f"{len(statuses)} guesses of the token, and none was refused for its rate")]
    return []


async def _paths(_: Bench, server: Server) -> list[Fault]:
    paths = (
        "/../../etc/passwd",
        "/page/../../../../etc/passwd",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page/..%2f..%2fetc%2fpasswd",
        "/page/....//etc/passwd",
        "/page/%00",
        "/page/\\..\\..",
        "/page//etc/passwd",
        "/v1/videos/..%2f..",
        "/v1/videos/%00",
        "/v1/videos/" + "a" * 5000,
        "/v1/videos/%ff%fe",
        "/v1/videos/*/table.csv",
        "/" + "a" * 60_000,
        "/%",
        "/%zz",
        "//",
        "/v1//health",
        "/v1/health/",
        "/.git/config",
        "/v1/videos/a/../../..",
        "/page",
        "/page/",
        "/.well-known/x",
        "/\xff",
        "/v1/videos/%0d%0aX:y",
        "http://evil.example/v1/health",
        "*",
    )
    found = await _refused(
        server, {f"path {path[:60]!r}": head(server, f"GET {path}") for path in paths}, range(300, 500)
    )
    queries = (
        "min_confidence=nan",
        "min_confidence=inf",
        "min_confidence=-1",
        "min_confidence=",
        "as=x",
        "min_confidence=" + "9" * 5000,
        "min_confidence=0&min_confidence=x",
        "as[]=json&as=x",
    )
    picture = jpeg(photograph(64))
    return found + await _refused(
        server,
        {
            f"query {q[:60]}": head(
                server, f"POST /v1/analyze?{q}", "Content-Type: image/jpeg", f"Content-Length: {len(picture)}"
            )
            + picture
            for q in queries
        },
    )


def _upload(server: Server, path: str, content: bytes, kind: str) -> bytes:
    return head(server, f"POST {path}", f"Content-Type: {kind}", f"Content-Length: {len(content)}") + content


async def _pictures(bench: Bench, server: Server) -> list[Fault]:
    from abuse import images

    picture = jpeg(photograph(128))
    uploads = {
        "empty": b"",
        "text": b"hello",
        "zeros": bytes(5000),
        "half": picture[: len(picture) // 3],
        "bomb": images.saved("PNG", Image.new("1", (20_000, 20_000))),
    }
    for k in range(60):
        changed = bytearray(picture if k % 2 else images.saved("PNG", photograph(64)))
        for place in bench.random.integers(0, 400, 12):
            changed[place] = int(bench.random.integers(256))
        uploads[f"flipped-{k}"] = bytes(changed)
    requests = {
        name: _upload(server, f"/v1/analyze{'?as=image' if k % 3 == 0 else ''}", content, "image/jpeg")
        for k, (name, content) in enumerate(uploads.items())
    }
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    for name, body in {
        "form-cut": part + picture,
        "form-none": b"--b--\r\n",
        "form-other": part.replace(b'"file"', b'"other"') + picture + b"\r\n--b--\r\n",
        "form-two": (part + picture + b"\r\n") * 2 + b"--b--\r\n",
        "form-names": part.replace(b"a.jpg", b"../../../a\0.jpg") + b"x\r\n--b--\r\n",
        "form-many": (part + b"x\r\n") * 5000 + b"--b--\r\n",
        "form-long": part.replace(b"a.jpg", b"a" * 100_000) + b"x\r\n--b--\r\n",
        "form-preamble": b"x" * 100_000 + part + b"x",
        "form-heads": b"--b\r\n" + b"X: y\r\n" * 20_000 + b"\r\nx\r\n--b--\r\n",
    }.items():
        requests[name] = _upload(server, "/v1/analyze", body, "multipart/form-data; boundary=b")
    return await _refused(server, requests, range(200, 500), seconds=70)


async def _films(bench: Bench, server: Server) -> list[Fault]:
    """Films that are none, or damaged; all come to an end in words, and the next one is read."""
    from abuse.films import film

    whole = await asyncio.to_thread(lambda: film(bench.folder / "whole.mp4").read_bytes())
    uploads = {
        "empty": b"",
        "text": b"hello" * 100,
        "cut": whole[: len(whole) // 2],
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "whole": whole,
    }
    for k in range(6):
        changed = bytearray(whole)
        for place in bench.random.integers(0, len(whole), 60):
            changed[place] = int(bench.random.integers(256))
        uploads[f"flipped-{k}"] = bytes(changed)
    found = []
    for name, content in uploads.items():
        status, text = await answer(server, _upload(server, "/v1/videos", content, "video/mp4"), seconds=90)
        if status >= 500:
            found.append(Fault("traceback", f"{name}: {status} {text[-200:]!r}"))
        place = re.search(rb"location: (\S+)", text, re.IGNORECASE)
        if status not in {200, 201, 202} or place is None:
            if name == "whole":
                found.append(Fault("wrong exit", f"a film that is whole is answered {status} {text[-200:]!r}"))
            continue
        deadline, state = time.monotonic() + 180, ""
        while state not in {"done", "failed"} and time.monotonic() < deadline:
            await asyncio.sleep(1)
            _, text = await answer(server, head(server, f"GET {place[1].decode()}"))
            state = str(json.loads(text.partition(b"\r\n\r\n")[2] or b"{}").get("state", ""))
        if state not in {"done", "failed"} or (name == "whole" and state != "done"):
            found.append(
                Fault(
                    "hang" if state in {"queued", "running"} else "wrong exit", f"{name}: the film is {state or 'gone'}"
                )
            )
        await answer(server, head(server, f"DELETE {place[1].decode()}"))
    return found + await _healthy(server)


async def _recordings(bench: Bench, server: Server) -> list[Fault]:
    documents = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"frames": 5}',
        b'{"frames": [{}]}',
        b'{"name": 5, "frames": []}',
        b"[" * 100_000,
        b'{"frames": [' + b"{}," * 100_000 + b"{}]}",
        b'{"a":' * 50_000,
        b'{"name":"\\ud800","frames":[]}',
        b'{"frames":[{"sequence":1e400,"time":NaN,"width":1,"height":1,"faces":[]}]}',
        b"\xff\xfe" + bytes(100),
        b'{"name":"../../x","frames":[{"sequence":0,"time":0,"width":1,"height":1,"faces":[]}]}',
    ]
    requests = {
        f"recording {k} as {kind}": _upload(server, f"/v1/recordings?format={kind}", document, "application/json")
        for k, document in enumerate(documents)
        for kind in ("csv", "parquet", "vtt", "x")
    }
    return await _refused(server, requests, range(200, 500), seconds=70)


async def _killed(bench: Bench, server: Server) -> list[Fault]:
    """kill -9 while a film is uploaded: what came of it does not stay for ever; `Server.stopped` looks for it."""
    async with connected(server) as (_, writer):
        writer.write(
            head(server, "POST /v1/videos", "Content-Type: video/mp4", "Content-Length: 100000000") + bytes(5_000_000)
        )
        await writer.drain()
        await asyncio.sleep(2)
        await asyncio.to_thread(server.killed_and_started_again)
    return await _healthy(server)


REFUSALS: dict[str, Refusal] = {
    "malformed-requests": _malformed_requests,
    "odd-requests": _odd_requests,
    "malformed-frames": _malformed_frames,
    "malformed-messages": _malformed_messages,
    "origins": _origins,
    "hosts": _hosts,
    "tokens": _tokens,
    "forwarded": _forwarded,
    "paths": _paths,
    "pictures": _pictures,
    "films": _films,
    "recordings": _recordings,
    "killed": _killed,
}
"""By name."""
