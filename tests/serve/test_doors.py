"""Who may come in, and what is refused before it is decoded."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import Server, asked, heard, jpeg, packed, serving
from websockets.exceptions import ConnectionClosed

from mien.analyzer import Analyzer
from mien.serve.safety import (
    SECURITY_HEADERS,
    Allowances,
    host_name,
    names_of,
    valid_origin,
    valid_proxy,
    valid_token,
)  # fmt: skip
from mien.serve.uploads import safe_name

TOKEN = "not-a-secret-but-long"


@pytest.fixture(scope="module")
def locked(analyzer: Analyzer) -> Iterator[Server]:
    with serving(analyzer, token=TOKEN) as server:
        yield server


def problem(answer: Any, status: int) -> str:
    """The sentence of a problem, whose shape is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert set(content) == {"type", "title", "status", "detail"}
    assert (content["type"], content["status"]) == ("about:blank", status)
    assert content["title"]
    assert content["detail"]
    assert "/tmp" not in answer.text
    assert "Traceback" not in answer.text
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    return str(content["detail"])


def shown_out(server: Server, **options: Any) -> str:
    """The reason for which a viewer is not let in."""
    with server.viewer(**options) as viewer, pytest.raises(ConnectionClosed) as closed:
        viewer.recv(60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    return closed.value.rcvd.reason


def huge_png(side: int) -> bytes:
    """A PNG of less than 100 bytes that promises `side` x `side` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_only_with_the_token(locked: Server) -> None:
    with locked.client() as client:
        for path in ("/v1/model", "/metrics", "/v1/videos/x", "/nowhere"):
            assert "token" in problem(client.get(path), 401)
            assert "token" in problem(client.get(path, headers={"Authorization": f"Bearer {TOKEN[:-1]}"}), 401)
            assert "token" in problem(client.get(path, headers={"Authorization": f"Basic {TOKEN}"}), 401)
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in {200, 404}
        assert client.get("/v1/model").headers["www-authenticate"] == "Bearer"
        problem(client.post("/v1/analyze", content=b"x", headers=[(b"Authorization", b"Bearer \xe4")]), 401)
        for path in ("/v1/health", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 200


def test_viewers_only_with_the_token(locked: Server) -> None:
    assert "token" in shown_out(locked)
    assert "token" in shown_out(locked, subprotocols=["mien.v1", "bearer.wrong"])
    for options in (
        {"subprotocols": ["mien.v1", f"bearer.{TOKEN}"]},
        {"subprotocols": None, "additional_headers": {"Authorization": f"Bearer {TOKEN}"}},
    ):
        with locked.viewer(**options) as viewer:
            assert heard(viewer)["type"] == "ready"
            assert viewer.subprotocol in {"mien.v1", None}


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null", "file://"])
def test_pages_of_other_sites(server: Server, origin: str) -> None:
    with server.client(headers={"Origin": origin}) as client:
        problem(client.post("/v1/analyze", content=b"x"), 403)
        problem(client.delete("/v1/videos/x"), 403)
        problem(client.get("/v1/model"), 403)
    assert "other sites" in shown_out(server, origin=origin)


FRIEND = "https://friend.example"


@pytest.fixture(scope="module")
def friendly(analyzer: Analyzer) -> Iterator[Server]:
    """A server that pages of one other site may use, with a token."""
    with serving(analyzer, token=TOKEN, origins=frozenset({FRIEND})) as server:
        yield server


def test_a_page_of_an_allowed_site(friendly: Server, astronaut: NDArray[np.uint8]) -> None:
    """What a browser does for a page: it asks first, without the token, then sends the request with it."""
    ask = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with friendly.client() as client:
        for path in ("/v1/analyze", "/v1/videos", "/v1/videos/x", "/v1/recordings", "/v1/model"):
            answer = client.options(path, headers=ask)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == FRIEND
            assert {"GET", "POST", "DELETE"} == set(answer.headers["access-control-allow-methods"].split(", "))
            allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
            assert {"authorization", "content-type"} == set(allowed)
            assert "access-control-allow-credentials" not in answer.headers
        page = {"Origin": FRIEND, "Authorization": f"Bearer {TOKEN}"}
        answer = client.post("/v1/analyze", content=jpeg(astronaut), headers=page)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, FRIEND)
        assert "origin" in answer.headers["vary"].lower()
        # Refusals can be read by the page, too.
        refused = client.get("/v1/model", headers={"Origin": FRIEND})
        assert "token" in problem(refused, 401)
        assert refused.headers["access-control-allow-origin"] == FRIEND
    with friendly.viewer(origin=FRIEND, subprotocols=["mien.v1", f"bearer.{TOKEN}"]) as viewer:
        assert heard(viewer)["type"] == "ready"
    assert "token" in shown_out(friendly, origin=FRIEND)


@pytest.mark.parametrize(
    "origin",
    [
        "https://friend.example.evil.example", "http://friend.example", "https://friend.example:444",
        "https://sub.friend.example", "null",
    ],
)  # fmt: skip
def test_only_exactly_the_allowed_site(friendly: Server, origin: str) -> None:
    with friendly.client() as client:
        headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}", "Access-Control-Request-Method": "POST"}
        for answer in (client.options("/v1/analyze", headers=headers), client.get("/v1/model", headers=headers)):
            problem(answer, 403)
            assert "access-control-allow-origin" not in answer.headers
    assert "other sites" in shown_out(friendly, origin=origin, subprotocols=["mien.v1", f"bearer.{TOKEN}"])


def test_no_other_site_by_default(server: Server) -> None:
    with server.client() as client:
        answer = client.options("/v1/analyze", headers={"Origin": FRIEND, "Access-Control-Request-Method": "POST"})
        problem(answer, 403)
        assert "access-control-allow-origin" not in client.get("/v1/model").headers


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://example.org", 1), ("http://localhost:3000", 1), ("http://127.0.0.1:8080", 1), ("http://[::1]:80", 0),
        ("http://[::1]:8000", 1), ("*", 0), ("https://*.example.org", 0), ("https://example.org/", 0),
        ("https://example.org/page", 0), ("example.org", 0), ("https://Example.org", 0), ("https://example.org:443", 0),
        ("https://user@example.org", 0), ("null", 0), ("file://", 0), ("https://", 0), ("http://a:b", 0), ("", 0),
    ],
)  # fmt: skip
def test_origins(text: str, good: bool) -> None:
    assert valid_origin(text) == good


def test_our_own_page_and_programs(server: Server) -> None:
    port = server.host.split(":")[1]
    with server.client() as client:
        assert client.get("/v1/model").status_code == 200
        assert client.get("/v1/model", headers={"Origin": f"http://{server.host}"}).status_code == 200
        named = {"Host": f"localhost:{port}", "Origin": f"http://LOCALHOST:{port}"}
        assert client.get("/v1/model", headers=named).status_code == 200
    with server.viewer(origin=None) as viewer:
        assert heard(viewer)["type"] == "ready"


def test_other_names_for_this_machine(server: Server) -> None:
    """DNS rebinding: a foreign name that leads here is of one origin with its own pages, and yet refused."""
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", ""):
        with server.client(headers={"Host": host, "Origin": f"http://{host}"}) as client:
            problem(client.get("/v1/model"), 421)
    assert "address" in shown_out(server, origin=None, name="evil.example")


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.b:80", "a.b"), ("A.B", "a.b"), ("[::1]:8000", "::1"), ("localhost", "localhost"), ("[::1", ""), ("", "")],
)
def test_host_name(host: str, name: str) -> None:
    assert host_name(host) == name


def test_rate(analyzer: Analyzer) -> None:
    with serving(analyzer, requests_per_second=0.1) as server, server.client() as client:
        answers = [client.get("/v1/health") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        problem(answers[-1], 429)
        assert "requests" in shown_out(server)


def test_clients_do_not_use_up_each_others_rate() -> None:
    allowances = Allowances(rate=0.001, burst=2)
    assert [allowances.take("a") > 0 for _ in range(4)] == [False, False, True, True]
    assert allowances.take("b") == 0
    for k in range(10_000):
        allowances.take(str(k))
    assert len(allowances._clients) <= 4096


@pytest.mark.parametrize(
    ("token", "good"),
    [("a" * 15, 0), ("a" * 16, 1), ("Ab0._~-" * 3, 1), ("a b" * 10, 0), ("ä" * 20, 0), ("a" * 201, 0)],
)
def test_tokens(token: str, good: bool) -> None:
    assert valid_token(token) == good


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a film.mp4", "a film.mp4"),
        ("<script>.mp4", "_script_.mp4"),
        ("\x1b[31mred", "_31mred"),
        ("Grüße 😀.mov", "Grüße _.mov"),
        ("..", "upload"),
        ("", "upload"),
    ],
)
def test_safe_name(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert len(safe_name("x" * 1000)) == 100


def test_pictures_that_are_none(server: Server, astronaut: NDArray[np.uint8]) -> None:
    photo = jpeg(astronaut)
    with server.client() as client:
        for content in (b"", b"a text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"):
            assert "no picture" in problem(client.post("/v1/analyze", content=content), 415)
        assert "notes.txt" in problem(client.post("/v1/analyze", files={"file": ("notes.txt", b"a text")}), 415)
        problem(client.post("/v1/analyze", content=photo[: len(photo) // 2]), 422)
        problem(client.post("/v1/analyze", files={"other": ("a.jpg", photo)}), 422)
        problem(client.post("/v1/analyze", files=[("file", ("a", photo)), ("file", ("b", photo))]), 422)
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        problem(client.post("/v1/analyze", content=b"--x\r\nnonsense", headers=form), 400)
        problem(client.post("/v1/analyze", content=photo, headers={"Content-Type": "multipart/form-data"}), 400)
        long = b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 9000 + b'"\r\n\r\nx\r\n--x--\r\n'
        problem(client.post("/v1/analyze", content=long, headers=form), 400)


@pytest.mark.parametrize("side", [8000, 12_000, 60_000])
def test_decompression_bombs(server: Server, side: int) -> None:
    bomb = huge_png(side)
    assert len(bomb) < 100
    with server.client() as client:
        assert "pixels" in problem(client.post("/v1/analyze", content=bomb), 413)
    with server.viewer() as viewer:
        heard(viewer)
        answer = asked(viewer, 1, 0.0, bomb)
        assert (answer["type"], answer["status"]) == ("error", 413)
        assert "pixels" in answer["detail"]


def test_a_jpeg_of_many_scans(server: Server, astronaut: NDArray[np.uint8]) -> None:
    """A few bytes may ask a progressive JPEG's decoder to go over all its pixels again."""
    bomb = jpeg(astronaut)[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 200 + b"\xff\xd9"
    with server.client() as client:
        assert "scans" in problem(client.post("/v1/analyze", content=bomb), 422)
    with server.viewer() as viewer:
        heard(viewer)
        viewer.send(packed(0, 0.0, bomb))
        assert "scans" in heard(viewer)["detail"]


def test_uploads_that_are_too_large(analyzer: Analyzer) -> None:
    with serving(analyzer, picture_bytes=100_000, film_bytes=100_000) as server, server.client() as client:
        for path in ("/v1/analyze", "/v1/videos"):
            assert "0 MB" in problem(client.post(path, content=bytes(300_000)), 413)
            problem(client.post(path, content=repeat(bytes(1000), 300)), 413)  # without Content-Length
            problem(client.post(path, files={"file": ("big", bytes(300_000))}), 413)
        assert [path.name for path in server.service.folder.iterdir()] == []


def test_every_answer_is_dressed(server: Server) -> None:
    with server.client() as client:
        for answer in (client.get("/v1/health"), client.get("/openapi.json"), client.get("/metrics")):
            assert answer.status_code == 200
            for name, value in SECURITY_HEADERS.items():
                assert answer.headers[name] == value
            assert "server" not in answer.headers
        assert client.get("/v1/health").headers["cache-control"] == "no-store"
        assert "nothing" in problem(client.get("/nowhere"), 404)
        assert "nothing" in problem(client.get("/page/../app.py"), 404)
        assert "nothing" in problem(client.get("/page/%2e%2e/app.py"), 404)
        assert "nothing" in problem(client.get("/page//etc/passwd"), 404)
        assert "method" in problem(client.put("/v1/health"), 405)
        problem(client.get("/redoc"), 404)


def test_the_page(server: Server) -> None:
    with server.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code in {200, 304}
        script = next(path for path in page.text.split('"') if path.startswith("/page/") and path.endswith(".js"))
        answer = client.get(script)
        assert answer.headers["content-type"].startswith("text/javascript")
        assert client.get(script, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def raw(server: Server, request: bytes) -> bytes:
    """What the server answers to bytes that no well-behaved client sends."""
    host, _, port = server.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(request)
        return line.recv(65536)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Origin: http://[", 403), (b"Origin: http://]", 403), (b"Origin: http://[zz]", 403),
        (b"Origin: http://a:99999999", 403), ("Origin: http://\u2100.x".encode(), 403), (b"Origin: \xff\xfe", 403),
        (b"Origin: http://a\r\nOrigin: http://b", 403), (b"Host: [", 400), (b"Authorization: Bearer \xff", 401),
        (b"Authorization: Bearer " + b"a" * 9000, 401), (b"Authorization:", 401), (b"Content-Length: -1", 400),
        (b"Content-Length: abc", 400), ("Content-Length: \u00b2".encode(), 400), (b"Transfer-Encoding: gzip", 400),
        (b"Content-Length: " + b"9" * 5000, 400), (b"X-Forwarded-For: [", 401), (b"Upgrade: h2c", 401),
    ],
)  # fmt: skip
def test_odd_headers(locked: Server, header: bytes, status: int) -> None:
    """One clean refusal each, never an error of the server's."""
    host = locked.host.encode()
    answer = raw(locked, b"GET /v1/model HTTP/1.1\r\nHost: " + host + b"\r\n" + header + b"\r\n\r\n")
    assert answer.split(b"\r\n")[0].startswith(b"HTTP/1.1 %d " % status), answer
    if header.startswith(b"Origin"):
        key = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        line = b"GET /v1/stream HTTP/1.1\r\nHost: " + host + b"\r\n" + key + b"A" * 22 + b"==\r\n" + header
        answer = raw(locked, line + b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 400 ")), answer


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Origin: http://\x7f", 400), (b"Content-Length: 5", 400), (b"Transfer-Encoding: chunked", 400),
        (b"X: " + b"a" * 9000, 431), (b"\r\n".join(b"X-%d: a" % k for k in range(200)), 431),
    ],
)  # fmt: skip
def test_heads_that_are_none_of_a_viewer(locked: Server, header: bytes, status: int) -> None:
    """HTTP allows them and WebSockets do not: they are refused at once, and the connection is over."""
    key = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    first = b"GET /v1/stream HTTP/1.1\r\nHost: " + locked.host.encode() + b"\r\n"
    host, _, port = locked.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as line, line.makefile("rb") as answer:
        line.sendall(first + key + b"A" * 22 + b"==\r\n" + header + b"\r\n\r\n")
        assert answer.read().startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("host", [b"[", b"[zz]:1", b"\xff\xfe", "\u2100".encode(), b"a b"])
def test_odd_hosts(locked: Server, host: bytes) -> None:
    answer = raw(locked, b"GET /v1/model HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 ")), answer


def guesses(server: Server, number: int) -> list[int]:
    """What becomes of attempts to guess the token, each of which claims to come from elsewhere."""
    with server.client() as client:
        headers = [
            {"X-Forwarded-For": f"10.0.{k // 256}.{k % 256}", "Authorization": "Bearer x"} for k in range(number)
        ]
        return [client.get("/v1/model", headers=header).status_code for header in headers]


def test_nobody_is_believed_to_be_somebody_else(analyzer: Analyzer) -> None:
    with serving(analyzer, token=TOKEN, requests_per_second=0.2) as server:
        assert guesses(server, 8) == [401] * 4 + [429] * 4
    with serving(analyzer, token=TOKEN, requests_per_second=0.2, trusted_proxies=("192.0.2.0/24",)) as server:
        assert guesses(server, 8) == [401] * 4 + [429] * 4


def test_a_proxy_that_is_named_is_believed(analyzer: Analyzer) -> None:
    proxies = ("127.0.0.1",)
    with serving(analyzer, token=TOKEN, requests_per_second=0.2, trusted_proxies=proxies) as server:
        assert guesses(server, 8) == [401] * 8
        with server.client(headers={"X-Forwarded-For": "192.0.2.7"}) as client:
            assert [client.get("/v1/health").status_code for _ in range(6)] == [200] * 4 + [429] * 2
        # What a client says of itself stands to the left of what the proxy says of the client.
        with server.client() as client:
            lies = [{"X-Forwarded-For": f"10.1.1.{k}, 192.0.2.8"} for k in range(6)]
            assert [client.get("/v1/health", headers=lie).status_code for lie in lies] == [200] * 4 + [429] * 2


@pytest.mark.parametrize(
    ("text", "good"),
    [("127.0.0.1", 1), ("::1", 1), ("10.0.0.0/8", 1), ("10.0.0.1/8", 0), ("*", 0), ("proxy.example", 0), ("", 0)],
)
def test_proxies(text: str, good: bool) -> None:
    assert valid_proxy(text) == good


def test_names_of_origins() -> None:
    assert names_of(["https://mien.example.org", "http://[::1]:8000"]) == {"mien.example.org", "::1"}
