"""Clients that wait, trickle, come in crowds or never read: they lose their places, and honest ones get in."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import PATIENCE, Gate, Server, asked, heard, jpeg, packed, serving, wait_until
from websockets.exceptions import ConnectionClosed

from mien.analyzer import Analyzer
from mien.serve import connections
from mien.serve.connections import room
from mien.serve.places import Places, one_client

HEAD = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"


class Hostile:
    """Sockets to a server, each of which has sent the same beginning and nothing more."""

    def __init__(self, server: Server, number: int, beginning: bytes = b"", source: str = "127.0.0.1") -> None:
        host, _, port = server.host.partition(":")
        self.sockets = [socket.create_connection((host, int(port)), source_address=(source, 0)) for _ in range(number)]
        self.send(beginning)

    def send(self, content: bytes) -> None:
        for one in self.sockets:
            try:
                one.sendall(content)
            except OSError:
                continue

    def closed(self) -> int:
        """How many of them the server has ended."""
        return sum(_over(one) for one in self.sockets)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def _over(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def hostile(server: Server, number: int, beginning: bytes = b"", source: str = "127.0.0.1") -> Iterator[Hostile]:
    crowd = Hostile(server, number, beginning, source)
    try:
        yield crowd
    finally:
        crowd.close()


def alive(server: Server) -> bool:
    with server.client() as client:
        return bool(client.get("/v1/health").status_code == 200)


@pytest.mark.parametrize("beginning", [b"", b"GET /v1/hea", b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"])
def test_who_sends_no_request_is_shown_out(analyzer: Analyzer, beginning: bytes) -> None:
    with serving(analyzer, patience=0.5) as server, hostile(server, 5, beginning) as crowd:
        wait_until(lambda: crowd.closed() == 5)
        assert alive(server)


def shown_out(crowd: Hostile, trickle: bytes) -> None:
    """All of it, although it goes on sending."""
    deadline = time.monotonic() + PATIENCE
    while crowd.closed() < len(crowd.sockets):
        assert time.monotonic() < deadline
        crowd.send(trickle)
        time.sleep(0.1)


def test_a_head_that_trickles(analyzer: Analyzer) -> None:
    """A byte now and then buys no time: what counts is when the head is whole."""
    with serving(analyzer, patience=1.0) as server, hostile(server, 3, b"GET /v1/health HTTP/1.1\r\nX: ") as crowd:
        shown_out(crowd, b"x")


def test_a_head_that_trickles_on_a_used_connection(analyzer: Analyzer) -> None:
    whole = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(analyzer, patience=1.0) as server, hostile(server, 3, whole) as crowd:
        shown_out(crowd, b"G")


def test_a_body_that_nobody_asked_for_trickles(analyzer: Analyzer) -> None:
    """The answer has been given, and the rest of the request does not come to an end."""
    head = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with serving(analyzer, patience=1.0) as server, hostile(server, 3, head) as crowd:
        shown_out(crowd, b"x")


def test_uploads_that_trickle_keep_nobody_out(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    """They hold no place of those that are for work, and the server does not wait for them for ever."""
    film = HEAD.replace(b"analyze", b"videos")
    with (
        serving(analyzer, patience=3.0, max_requests=2, max_films=2) as server,
        hostile(server, 40, HEAD + b"x") as pictures,
        hostile(server, 8, film + b"x") as films,
        server.client() as client,
    ):
        assert client.post("/v1/analyze", content=jpeg(astronaut)).status_code == 200
        assert client.post("/v1/videos", content=b"this is no film").status_code == 415
        deadline = time.monotonic() + PATIENCE
        while pictures.closed() + films.closed() < 48:
            assert time.monotonic() < deadline
            pictures.send(b"x")
            films.send(b"x")
            time.sleep(0.2)


def test_an_upload_in_slices(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    """Slow, but steady and as fast as it has to be."""
    photo = jpeg(astronaut)
    parts = 20

    def slices() -> Iterator[bytes]:
        for k in range(parts):
            time.sleep(0.1)
            yield photo[k * len(photo) // parts : (k + 1) * len(photo) // parts]

    with serving(analyzer, patience=0.5, least_rate=len(photo) / 60) as server, server.client() as client:
        assert client.post("/v1/analyze", content=slices()).status_code == 200


def test_uploads_have_an_end(analyzer: Analyzer) -> None:
    def ever() -> Iterator[bytes]:
        while True:
            time.sleep(0.05)
            yield bytes(10_000)

    with serving(analyzer, picture_seconds=1.0) as server, server.client() as client:
        answer = client.post("/v1/analyze", content=ever())
        assert answer.status_code == 408
        assert "1 seconds" in answer.json()["detail"]


def test_the_slowest_upload_gives_way(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    """With memory for two pictures, those that are half here and do not go on make room for one that comes now."""
    photo = jpeg(astronaut)
    head = HEAD.replace(b"100000", str(len(photo)).encode()) + photo[: len(photo) - 100]
    with (
        serving(analyzer, upload_memory=2 * len(photo)) as server,
        hostile(server, 2, head) as crowd,
        server.client() as client,
    ):
        time.sleep(1.5)
        assert client.post("/v1/analyze", content=photo).status_code == 200
        wait_until(lambda: crowd.closed() >= 1)


def test_who_uploads_well_is_not_cut_off(analyzer: Analyzer) -> None:
    """Newcomers take no place of an upload that comes well."""
    begun = threading.Event()

    def steadily() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(30_000)
            time.sleep(0.1)
            begun.set()

    with (
        serving(analyzer, max_films=1) as server,
        server.client() as client,
        server.client() as other,
        ThreadPoolExecutor(1) as pool,
    ):
        well = pool.submit(client.post, "/v1/videos", content=steadily())
        assert begun.wait(PATIENCE)
        assert other.post("/v1/videos", content=bytes(1000)).status_code == 503
        assert well.result().status_code == 415, "it came to its end, but it is no film"


def test_a_crowd_of_connections(analyzer: Analyzer) -> None:
    """With all places taken, those that have waited longest make room; nobody has to wait for their patience to end."""
    with serving(analyzer, max_connections=10) as server, hostile(server, 60):
        for _ in range(20):
            assert alive(server)
        assert server.connections.number <= 10


def test_who_is_worked_for_keeps_the_place(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    with serving(analyzer, max_connections=6) as server, server.viewer() as viewer:
        heard(viewer)
        with hostile(server, 40):
            assert asked(viewer, 0, 0.0, jpeg(astronaut))["type"] == "faces"


def test_a_full_house(analyzer: Analyzer) -> None:
    """Where nobody can be asked to leave, a newcomer is told so at once."""
    with serving(analyzer, max_connections=2) as server, ExitStack() as viewers:
        for _ in range(2):
            heard(viewers.enter_context(server.viewer()))
        with server.client() as client:
            answer = client.get("/v1/health")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_who_connects_too_often(analyzer: Analyzer) -> None:
    """From the same address that is refused before a request is read; from another one nothing is noticed."""
    with serving(analyzer, connections_per_second=0.5) as server:
        with hostile(server, 12, source="127.0.0.2") as crowd:
            wait_until(lambda: crowd.closed() >= 7)
        for _ in range(3):
            assert alive(server)


def test_a_share_for_each(analyzer: Analyzer) -> None:
    """One client's crowd does not cost another client's connections."""
    with (
        serving(analyzer, max_connections=20, share=0.5) as server,
        hostile(server, 3) as quiet,
        hostile(server, 50, b"G", source="127.0.0.2") as crowd,
    ):
        wait_until(lambda: crowd.closed() == 40)
        assert quiet.closed() == 0
        assert alive(server)


def test_places() -> None:
    places = Places(4, share=0.5)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert [places.take("b"), places.take("c"), places.take("d")] == [True, True, False]
    assert places.full
    places.leave("a")
    assert (places.taken, places.take("d")) == (3, True)
    assert Places(1, share=0.5).take("a")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("192.0.2.7", "192.0.2.7"), ("2001:db8::1:2:3:4", "2001:db8::/64"), ("2001:db8:0:0:ff::1", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"), ("::1", "::/64"), ("", ""), ("nonsense", "nonsense"),
    ],
)  # fmt: skip
def test_one_client(address: str, known: str) -> None:
    assert one_client(address) == known


def test_an_answer_that_nobody_reads(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    """Large answers are asked for and left in the line."""
    photo = jpeg(astronaut)
    head = b"POST /v1/analyze?as=image HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(photo)
    with serving(analyzer, patience=1.0) as server:
        host, _, port = server.host.partition(":")
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((host, int(port)))
            for _ in range(16):  # more than the system keeps for a line
                reader.sendall(head + photo)
            wait_until(lambda: server.connections.number == 0)
        assert alive(server)


def test_a_viewer_who_shows_nothing_gives_way(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    photo = jpeg(astronaut)
    with serving(analyzer, max_viewers=2, idle_seconds=0.5) as server, server.viewer() as idle, server.viewer() as busy:
        heard(idle), heard(busy)
        time.sleep(0.7)
        assert asked(busy, 0, 0.0, photo)["type"] == "faces"
        with server.viewer() as newcomer:
            assert heard(newcomer)["type"] == "ready"
            with pytest.raises(ConnectionClosed) as closed:
                idle.recv(60)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, "no frame" in closed.value.rcvd.reason) == (1013, True)
            assert asked(busy, 1, 0.1, photo)["type"] == "faces"
            busy.send(packed(2, 0.2, photo))
        assert heard(busy)["type"] == "faces"


def test_room_is_what_the_system_gives() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard}));"
        "from mien.serve.connections import room; print(room(512), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most, found in ((200, "68 200"), (hard, "512 1088")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(hard=most)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == found.split()
    assert room(4) == 4


def test_few_descriptors(tmp_path: Path) -> None:
    """A server with 200 descriptors, and 300 sockets that ask for nothing."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)); from mien.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--port", "0", "--no-browser", "--detector", "haar"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "200"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        host = process.stdout.readline().partition("http://")[2].partition("/")[0]
        server = Server(host, None, None)  # type: ignore[arg-type]
        with hostile(server, 300):
            for _ in range(20):
                assert alive(server)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_large_pictures_leave_a_slot(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    """However many large pictures wait, a small one reaches the detector beside the first of them."""
    large = jpeg(np.zeros((3000, 3000, 3), np.uint8))
    gate = Gate(analyzer)
    with (
        serving(Analyzer(gate, analyzer.classifier), workers=2) as server,
        server.client() as client,
        ThreadPoolExecutor(5) as pool,
    ):
        waiting = [pool.submit(client.post, "/v1/analyze", content=large) for _ in range(4)]
        wait_until(lambda: gate.widths)
        waiting.append(pool.submit(client.post, "/v1/analyze", content=jpeg(astronaut)))
        wait_until(lambda: len(gate.widths) == 2)
        assert gate.widths == [3000, 512]
        gate.open.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 5


def test_requests_that_come_before_their_turn_are_answered_one_by_one(
    analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP allows them; the next is taken up only after a pause, so that others have their turns."""
    paused: list[float] = []
    monkeypatch.setattr(connections, "_PIPELINED", 0.05)
    go_on = connections._Http._go_on

    def counted(self: connections._Http) -> None:
        paused.append(time.monotonic())
        go_on(self)

    monkeypatch.setattr(connections._Http, "_go_on", counted)
    with serving(analyzer) as server:
        host, _, port = server.host.partition(":")
        with socket.create_connection((host, int(port)), PATIENCE) as pipe:
            pipe.sendall(f"GET /v1/health HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode() * 5)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < 5:
                answers += pipe.recv(65536)
        wait_until(lambda: len(paused) == 5)
    assert min(b - a for a, b in pairwise(paused[:4])) > 0.04
