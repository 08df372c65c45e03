"""What the server counts, in a Prometheus registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters of one server."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.viewers = Gauge("mien_viewers", "Viewers that are connected.", registry=registry)
        self.connections = Gauge("mien_connections", "Connections that are open.", registry=registry)
        self.ended = Counter(
            "mien_connections_ended", "Connections that were ended, or refused, and why.", ["why"], registry=registry
        )
        self.frames = Counter(
            "mien_frames",
            "Frames of viewers: read, dropped for a newer one, or failed.",
            ["outcome"],
            registry=registry,
        )
        self.faces = Counter("mien_faces", "Faces that were read, in frames and pictures.", registry=registry)
        self.seconds = Histogram(
            "mien_frame_seconds", "Time of a frame: waiting for a slot, decoding, analysis.", ["stage"],
            registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self.films = Counter("mien_films", "Films that were read, by how it ended.", ["state"], registry=registry)
        self.requests = Counter("mien_requests", "HTTP requests.", ["method", "status"], registry=registry)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
