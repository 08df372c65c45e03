"""`Service`: what all routes of one server share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from PIL import Image
from starlette.requests import HTTPConnection

from mien.analyzer import Analyzer
from mien.serve.folders import private_folder
from mien.serve.jobs import Jobs
from mien.serve.metrics import Metrics
from mien.serve.places import Places
from mien.serve.problems import Refused
from mien.serve.settings import Settings
from mien.serve.slots import Slots
from mien.serve.uploads import Arrivals, Pace

if TYPE_CHECKING:
    from mien.serve.live import Viewer


class Service:
    """One analyzer for everybody, its slots, the films, the counters, and a private folder while it runs."""

    def __init__(self, analyzer: Analyzer, settings: Settings) -> None:
        self.analyzer, self.settings, self.metrics = analyzer, settings, Metrics()
        self.folder: Path
        self._held = ExitStack()
        self.viewers: set[Viewer] = set()
        self.viewing = Places(settings.max_viewers, settings.share)
        self._working = Places(settings.max_requests, settings.share)
        self.pictures = Arrivals(
            settings.upload_memory, settings.share,
            Pace(settings.picture_seconds, settings.patience, settings.least_rate),
        )  # fmt: skip
        self.films = Arrivals(
            settings.max_films, settings.share,
            Pace(settings.film_upload_seconds, settings.patience, settings.least_rate),
        )  # fmt: skip

    def open(self) -> None:
        """Make the folder, which nobody else can read, and the threads."""
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by limits of our own
        self.folder = self._held.enter_context(private_folder())
        self.slots = Slots(self.settings.workers)
        self.jobs = Jobs(self.folder, self.settings, self.analyzer.detector.name, self.metrics)

    @contextmanager
    def admit(self, client: str) -> Iterator[None]:
        """For work on a request that has come to its end; raises Refused with 503 when there is too much of it, at all
        or for this client."""
        if not self._working.take(client):
            raise Refused(503, "the server is busy with other requests; try again in a moment", {"Retry-After": "2"})
        try:
            yield
        finally:
            self._working.leave(client)

    async def close(self) -> None:
        """End all work, and leave nothing behind."""
        try:
            await self.jobs.close()
            self.slots.close()
        finally:
            self._held.close()


def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


Shared = Annotated[Service, Depends(_service)]
"""The service, as an argument of a route."""
