"""`mien serve` as a process, and connections to it, byte by byte."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from abuse.children import ROOT
from abuse.trial import Fault

HOSTILE = "127.0.0.66"
"""The address that hostile clients have, so that honest ones are somebody else."""


class Server:
    """`mien serve` as a process, with a token, whose uploads go to a folder of the trial."""

    def __init__(self, folder: Path) -> None:
        self.token = secrets.token_hex(16)
        self.folder = folder / "uploads"
        self.folder.mkdir(exist_ok=True)
        self._errors = folder / "stderr"
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TMPDIR": str(self.folder),
            "MIEN_TOKEN": self.token,
            "NO_COLOR": "1",
        }
        with self._errors.open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--no-browser"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)/", line)
        if found is None:
            raise RuntimeError(f"the server does not start: {line} {self._errors.read_text()}")
        self.port = int(found[2])
        return process

    def killed_and_started_again(self) -> None:
        """As after a crash."""
        self._process.kill()
        self._process.wait()
        self._process = self._started()

    def stopped(self) -> list[Fault]:
        """End it as Ctrl-C does; what was wrong with it until then."""
        found = []
        if self._process.poll() is not None:
            found.append(Fault("traceback", f"the server has ended by itself with {self._process.returncode}"))
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            found.append(Fault("hang", "the server does not end within 60 s of Ctrl-C"))
        errors = self._errors.read_text("utf-8", "replace")
        if "Traceback" in errors:
            last = [line for line in errors.splitlines() if line and not line.startswith(" ")][-2:]
            found.append(Fault("traceback", f"in the server's log: {' | '.join(last)[:300]}"))
        left = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        if left:
            found.append(Fault("wrong exit", f"uploads stay on disk: {', '.join(left[:3])}"))
        return found


@asynccontextmanager
async def connected(
    server: Server, address: str = HOSTILE
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from a hostile address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0), limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(
    server: Server, first: str = "POST /v1/analyze", *lines: str, host: str = "127.0.0.1", token: bool = True
) -> bytes:
    head = [f"{first} HTTP/1.1", f"Host: {host}:{server.port}" if host == "127.0.0.1" else f"Host: {host}"]
    head += [f"Authorization: Bearer {server.token}"] if token else []
    return ("\r\n".join([*head, *lines]) + "\r\n\r\n").encode("latin-1", "replace")


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol: mien.v1",
)


async def viewer(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(server, "GET /v1/stream", *UPGRADE))
    await reader.readuntil(b"\r\n\r\n")


def jpeg(image: Any) -> bytes:
    content = BytesIO()
    Image.fromarray(image).save(content, "JPEG")
    return content.getvalue()


async def enters(server: Server, *lines: str, host: str = "127.0.0.1", token: bool = True) -> bool:
    """Whether a viewer with these lines in its request is greeted; raises TimeoutError when it hears nothing."""
    seen = b""
    async with connected(server) as (reader, writer):
        writer.write(head(server, "GET /v1/stream", *UPGRADE, *lines, host=host, token=token))
        while b'"ready"' not in seen:
            try:
                part = await asyncio.wait_for(reader.read(4000), 60)
            except TimeoutError:
                raise TimeoutError(f"a viewer with {' | '.join(lines)[:100]!r} hears nothing for 60 s") from None
            if not part or part[0] == 0x88:
                return False
            seen += part
    return True


async def answer(server: Server, request: bytes, address: str = HOSTILE, seconds: float = 30) -> tuple[int, bytes]:
    """Status and beginning of the answer to a request; 0 where the server only closes, -1 where it says nothing."""
    try:
        async with connected(server, address) as (reader, writer):
            writer.write(request)
            try:
                text = await asyncio.wait_for(reader.read(4000), seconds)
            except TimeoutError:
                return -1, b""
    except OSError:
        return 0, b""
    status = re.match(rb"HTTP/1.1 (\d{3})", text)
    return (int(status[1]) if status else 0), text
