"""The cage of the processes that read films: what they can still do, and what not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mien.serve import sandbox

pytestmark = pytest.mark.skipif(bool(sandbox.missing()), reason="needs a Linux with Landlock and seccomp")

PROGRAM = """
import ctypes, json, os, socket, sys, threading
from pathlib import Path
from mien.serve.sandbox import lock_in

folder, secret, port, parent = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), os.getppid()
lock_in(folder)
tried = {
    "read inside": lambda: (folder / "film").read_bytes(),
    "write inside": lambda: (folder / "made").write_text("x"),
    "rename inside": lambda: (folder / "made").rename(folder / "renamed"),
    "folder inside": lambda: (folder / "results").mkdir(),
    "load a library": lambda: __import__("numpy"),
    "start a thread": lambda: threading.Thread(target=int).start(),
    "read outside": lambda: secret.read_text(),
    "list outside": lambda: os.listdir(secret.parent),
    "write outside": lambda: (secret.parent / "made").write_text("x"),
    "overwrite outside": lambda: secret.write_text("x"),
    "remove outside": lambda: secret.unlink(),
    "by a link": lambda: ((folder / "link").symlink_to(secret), (folder / "link").read_text()),
    "look into the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "end the parent": lambda: os.kill(parent, 0),
    "connect": lambda: socket.create_connection(("127.0.0.1", port)),
    "resolve": lambda: socket.create_connection(("localhost", port)),
    "datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "local sockets": lambda: socket.socket(socket.AF_UNIX),
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "io_uring": lambda: ctypes.CDLL(None).syscall(425, 1, None) != -1 or (_ for _ in ()).throw(OSError()),
}
can = []
for name, act in tried.items():
    try:
        act()
    except OSError:
        continue
    can.append(name)
print(json.dumps(can))
"""


def test_what_is_left(tmp_path: Path) -> None:
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "film").write_bytes(b"x")
    secret = home / "secret"
    secret.write_text("a secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), str(secret), str(listener.getsockname()[1])],
            capture_output=True, text=True, cwd=folder, check=True,
        )  # fmt: skip
    assert json.loads(done.stdout) == [
        "read inside", "write inside", "rename inside", "folder inside", "load a library", "start a thread",
    ]  # fmt: skip
    assert secret.read_text() == "a secret"
    assert [path.name for path in home.iterdir()] == ["secret"]


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.missing() == []
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert [sentence.split()[1] for sentence in sandbox.missing()] == ["seccomp"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert [sentence.split()[1] for sentence in sandbox.missing()] == ["Landlock", "seccomp"]
