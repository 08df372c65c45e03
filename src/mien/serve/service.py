"""`Service`: what all routes of one server share."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from PIL import Image
from starlette.requests import HTTPConnection

from mien.analyzer import Analyzer
from mien.serve.jobs import Jobs
from mien.serve.metrics import Metrics
from mien.serve.problems import Refused
from mien.serve.settings import Settings
from mien.serve.slots import Slots

_MAX_REQUESTS = 16
"""Pictures and recordings that wait or are worked on."""


class Service:
    """One analyzer for everybody, its slots, the films, the counters, and a private folder while it runs."""

    def __init__(self, analyzer: Analyzer, settings: Settings) -> None:
        self.analyzer, self.settings, self.metrics = analyzer, settings, Metrics()
        self.viewers = self._requests = 0

    def open(self) -> None:
        """Make the folder, which nobody else can read, and the threads."""
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by limits of our own
        self.folder = Path(tempfile.mkdtemp(prefix="mien-"))
        self.slots = Slots(self.settings.workers)
        self.jobs = Jobs(self.folder, self.settings, self.analyzer.detector.name, self.metrics)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """For a request that takes memory and time; raises Refused with 503 when there are too many of them."""
        if self._requests >= _MAX_REQUESTS:
            raise Refused(503, "the server is busy with other requests; try again in a moment", {"Retry-After": "2"})
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def close(self) -> None:
        """End all work, and leave nothing behind."""
        try:
            await self.jobs.close()
            self.slots.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


Shared = Annotated[Service, Depends(_service)]
"""The service, as an argument of a route."""
