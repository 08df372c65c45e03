"""The other end of `abuse.child`: runs commands there, with a limit of time, and says how they ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

ROOT = Path(__file__).parents[1]
LIMIT = 60.0
"""Seconds that a command may take, some hundred times what it needs."""

START = 600.0
"""Seconds that the process that forks may take to be ready, to fork and to bury; only ever used up on busy machines."""

Deed = Literal["count", "full", "once", "kill"]
DEEDS: dict[Deed, int] = {"count": 0, "full": 1, "once": 2, "kill": 3}


@dataclass(frozen=True)
class Ended:
    """How a command ended; `hits` is how often it wrote where writing was watched."""

    code: int
    signal: int
    out: str
    err: str
    hung: bool
    limit: float
    took: float
    megabytes: float
    hits: int

    @property
    def last_words(self) -> str:
        """The end of what it said on standard error, where the reason is."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        if self.hung:  # faulthandler names the innermost call first
            return " < ".join(line for line in lines if line.startswith('File "'))[:400]
        frames = [line for line in lines if line.startswith('File "')]
        return " | ".join([*frames[-1:], *lines[-2:]] if "Traceback" in self.err else lines[-2:])[-400:]


class Child:
    """A context manager; commands run one after another. `shim` is the library of `abuse.shim`, where there is one."""

    def __init__(self, scratch: Path, shim: Path | None = None) -> None:
        self._scratch, self._shim = scratch, shim
        self._process: subprocess.Popen[bytes] | None = None
        self._come = b""  # of answers that have not been read; never left to a file's buffer, which select cannot see
        scratch.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **_PLAIN}
            if self._shim is not None:
                environment["LD_PRELOAD"] = str(self._shim)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "abuse.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment,
            )
            if self._heard(START) is None:
                raise RuntimeError(f"the process that forks is not ready within {START:g} s")
        return self._process

    def _heard(self, seconds: float) -> dict[str, Any] | None:
        """The next answer, or None when none comes in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._come:
            if not select.select([self._process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
                return None
            part = os.read(self._process.stdout.fileno(), 65536)
            if not part:
                raise RuntimeError(f"the process that forks has ended with {self._process.wait()}")
            self._come += part
        line, _, self._come = self._come.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(
        self,
        words: list[str],
        folder: Path,
        *,
        limit: float = LIMIT,
        stdin: Path = Path(os.devnull),
        environment: Mapping[str, str] | None = None,
        at: int | None = None,
        deed: Deed = "count",
        under: Path | None = None,
        kill_after: float | None = None,
        interrupt_after: float | None = None,
    ) -> Ended:
        """`mien WORDS...` in a folder.

        at               of what it writes under the folder `under`, this meets with `deed`: from it on the disk is
                         `full`, or it fails `once`, or the process is killed there; `count` only counts
        kill_after       seconds after which it is killed, as kill -9 does
        interrupt_after  seconds after which Ctrl-C is pressed, again and again
        """
        process = self._started()
        assert process.stdin is not None
        out, err = self._scratch / "stdout", self._scratch / "stderr"
        order = {
            "words": words,
            "folder": str(folder),
            "stdin": str(stdin),
            "stdout": str(out),
            "stderr": str(err),
            "limit": limit,
            "environment": dict(environment or {}),
            "at": at,
            "deed": DEEDS[deed],
            "under": str(under or folder),
        }
        began = time.monotonic()
        process.stdin.write(json.dumps(order).encode() + b"\n")
        first = self._heard(START)
        assert first is not None
        number = int(first["process"])
        timers = []
        if kill_after is not None:
            timers = [threading.Timer(kill_after, _signal_running, (number, signal.SIGKILL))]
        if interrupt_after is not None:
            timers = [threading.Timer(interrupt_after + k, _signal_running, (number, signal.SIGINT)) for k in range(3)]
        for timer in timers:
            timer.start()
        answer = self._heard(limit)
        hung = answer is None
        if answer is None:
            _signal(number, signal.SIGKILL)
            answer = self._heard(START)
            assert answer is not None
        for timer in timers:
            timer.cancel()
        _signal(number, signal.SIGKILL)  # children that it may have left
        status = int(answer["status"])
        return Ended(
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            out.read_text("utf-8", "replace"),
            err.read_text("utf-8", "replace"),
            hung,
            limit,
            time.monotonic() - began,
            answer["memory"] / 1024,
            answer["hits"],
        )


def _signal(session: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)


def _signal_running(process: int, number: int) -> None:
    """Also where it has not become the leader of its session yet."""
    try:
        os.killpg(process, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.kill(process, number)


_PLAIN = {
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "SDL_VIDEODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "BROWSER": "true",
}
"""Plain words in wide lines, and no window."""
