"""Films as jobs: a process each, bounded in time and memory; results kept for a while in a private folder."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from mien.serve.film_reading import Order
from mien.serve.metrics import Metrics
from mien.serve.places import Places
from mien.serve.problems import Refused
from mien.serve.settings import TOKEN_VARIABLE, Settings
from mien.serve.wire import Film

State = Literal["queued", "running", "done", "failed"]
_PROBE_SECONDS = 30.0
"""For probing a film's container."""
_LOG = 2000
_DIED = "takes more time or memory than is allowed, or is damaged in a way that ends its reader"
_FRUGAL = {"POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Address space that is only reserved counts as memory, and there would be much of it on machines of many cores."""
_log = logging.getLogger("mien.serve")


class Jobs:
    """All films of a server."""

    def __init__(self, folder: Path, settings: Settings, detector: str, metrics: Metrics) -> None:
        self.folder, self.settings, self.detector, self.metrics = folder, settings, detector, metrics
        self._jobs: dict[str, Job] = {}
        self._places = Places(settings.max_films, settings.share)
        self.free = asyncio.Semaphore(settings.film_workers)
        self._probing = asyncio.Semaphore(2)

    def count(self, state: State) -> int:
        return sum(job.state == state for job in self._jobs.values())

    def find(self, id: str) -> Job | None:
        return self._jobs.get(id)

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """A folder for an upload, gone afterwards unless a job has been started in it."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            if folder.name not in self._jobs:
                shutil.rmtree(folder, ignore_errors=True)

    def check_room(self, client: str) -> None:
        """Raises Refused with 503 when there are too many films, at all or of this client."""
        self._take_place(client)
        self._places.leave(client)

    def _take_place(self, client: str) -> None:
        if not self._places.take(client):
            raise Refused(
                503, f"{self._places.taken} films are here already; remove one, or try again later",
                {"Retry-After": "60"},
            )  # fmt: skip

    async def start(self, folder: Path, client: str, name: str, every: int, max_fps: float | None) -> Job:
        """Queue the film of a client that lies in the folder. Raises Refused when it is none, or too large or too
        long, or when there are too many."""
        model = self.settings.model  # by a path that holds in the worker's folder too
        order = Order(
            name, every, max_fps, str(Path(model).absolute()) if model and model.endswith(".onnx") else model,
            self.detector, str(self.settings.detector_weights.absolute()) if self.settings.detector_weights else None,
            self.settings.film_pixels, self.settings.film_seconds, self.settings.film_memory,
            int(self.settings.work_seconds),
        )  # fmt: skip
        self._take_place(client)
        try:
            async with self._probing:
                found = await self._probe(folder, order)
        except BaseException:
            self._places.leave(client)
            raise
        job = Job(self, folder, client, order, found["duration"])
        self._jobs[job.id] = job
        return job

    async def _probe(self, folder: Path, order: Order) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_PROBE_SECONDS), aclosing(messages("probe", folder, order)) as received:
                found = [message async for message in received][-1]
        except (TimeoutError, WorkerDied) as error:
            _log.warning("probing a film ended early: %s", error or "it took too long")
            raise Refused(422, f"{order.name} {_DIED}") from None
        if "refused" in found:
            raise Refused(found["refused"], found["detail"])
        return found

    def forget(self, job: Job) -> None:
        if self._jobs.pop(job.id, None):
            self._places.leave(job.client)

    async def close(self) -> None:
        """Stop everything."""
        for job in list(self._jobs.values()):
            await job.remove()


class Job:
    """One film, from the queue to the end of its results; its task does one after the other."""

    def __init__(self, jobs: Jobs, folder: Path, client: str, order: Order, duration: float | None) -> None:
        self._jobs, self.folder, self.client, self.order = jobs, folder, client, order
        self.id, self.name = folder.name, order.name
        self.state: State = "queued"
        self.duration, self.seconds, self.frames, self.detail = duration, 0.0, 0, ""
        self._task = asyncio.create_task(self._live())

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def document(self) -> Film:
        progress = min(self.seconds / self.duration, 1.0) if self.duration else 0.0
        return Film(
            id=self.id, name=self.name, state=self.state, progress=1.0 if self.state == "done" else round(progress, 4),
            seconds_done=round(self.seconds, 3), duration=self.duration, frames_done=self.frames, detail=self.detail,
        )  # fmt: skip

    async def remove(self) -> None:
        """Stop, and leave nothing."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._clear()  # again, for a task that was stopped before it began

    async def _live(self) -> None:
        try:
            async with self._jobs.free:
                self.state = "running"
                state, self.detail = await self._read()
            (self.folder / "film").unlink(missing_ok=True)
            self.state = state
            self._jobs.metrics.films.labels(state).inc()
            await asyncio.sleep(self._jobs.settings.keep_seconds)
        finally:
            self._clear()

    def _clear(self) -> None:
        self._jobs.forget(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _read(self) -> tuple[State, str]:
        """Until it has ended, one way or the other, and why."""
        settings = self._jobs.settings
        state: State = "failed"
        detail = ""
        try:
            async with (
                asyncio.timeout(settings.work_seconds),
                aclosing(messages("read", self.folder, self.order)) as received,
            ):
                while True:
                    async with asyncio.timeout(settings.stall_seconds):
                        found = await anext(received, None)
                    if found is None:
                        return state, detail
                    self.seconds, self.frames = found.get("seconds", self.seconds), found.get("frames", self.frames)
                    if "state" in found:
                        state, detail = found["state"], found["detail"]
        except TimeoutError:
            return "failed", f"{self.name} took too long to read"
        except (WorkerDied, OSError) as error:
            _log.warning("reading a film ended early: %s", error)
            return "failed", f"{self.name} {_DIED}"


class WorkerDied(Exception):
    """The process ended without its last word."""


def _understood(line: bytes) -> dict[str, Any]:
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError:
        raise WorkerDied("it said what is no JSON") from None
    return message


async def messages(task: str, folder: Path, order: Order) -> AsyncGenerator[dict[str, Any], None]:
    """What a worker process says, line by line; it ends when nobody listens any more.

    Raises WorkerDied when the process was stopped by its limits, or by a fault.
    """
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE} | _FRUGAL
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "mien.serve.film_worker", task, json.dumps(asdict(order)),
            cwd=folder, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            yield _understood(line)
        if code := await process.wait():
            text = log.read_bytes()[-_LOG:].decode("utf-8", "replace")
            raise WorkerDied(f"exit code {code}: {text}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
