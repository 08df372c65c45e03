"""A real server on a free port, in a thread, and real clients for it."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from mien.analyzer import Analyzer
from mien.faces import Faces
from mien.serve.app import create_app, make_server
from mien.serve.connections import Connections
from mien.serve.service import Service
from mien.serve.settings import Settings

PATIENCE = 300.0
"""Seconds; only ever used up when something is wrong."""


@dataclass(frozen=True)
class Server:
    """A running server: `host` is its address with the port."""

    host: str
    service: Service
    connections: Connections

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.host}", timeout=PATIENCE, **options)

    def viewer(self, name: str | None = None, **options: Any) -> ClientConnection:
        """A connection to the server, which is called by `name`."""
        host, _, port = self.host.partition(":")
        options = {"subprotocols": ["mien.v1"], "origin": f"http://{self.host}"} | options
        pipe = socket.create_connection((host, int(port)))
        return connect(f"ws://{name or self.host}/v1/stream", sock=pipe, open_timeout=PATIENCE, **options)


@contextmanager
def serving(analyzer: Analyzer, **settings: Any) -> Iterator[Server]:
    wanted = Settings(**settings)
    app = create_app(analyzer, wanted)
    server = make_server(app, wanted)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield Server(f"127.0.0.1:{listener.getsockname()[1]}", app.state.service, server.connections)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not app.state.service.folder.exists()


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def jpeg(image: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    content = BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


def packed(sequence: int, moment: float, picture: bytes) -> bytes:
    return struct.pack("<IId", sequence, 0, moment) + picture


def heard(socket: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(socket.recv(PATIENCE))
    return answer


def asked(socket: ClientConnection, sequence: int, moment: float, picture: bytes) -> dict[str, Any]:
    socket.send(packed(sequence, moment, picture))
    return heard(socket)


class Gate:
    """A detector that waits until it is let through, and tells how wide the frames were that came to it."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._inner = analyzer.detector
        self.name = self._inner.name
        self.widths: list[int] = []
        self.open = threading.Event()

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        self.widths.append(image.shape[1])
        assert self.open.wait(PATIENCE)
        return self._inner.detect(image)
