"""`Settings`: what the server lets in, and how much of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000

TOKEN_VARIABLE = "MIEN_TOKEN"
"""The environment variable that may hold the token; processes that read films are not given it."""

#: Names by which this machine calls itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Settings:
    """Everything is refused before it is decoded where it is larger than this; sizes in bytes.

    token                what clients must show; None lets everybody in who reaches the address
    origins              other sites whose pages may use the server, each as browsers send it: `https://example.org`
    hosts                names by which the server may be called, so that no foreign name can be bound to this machine
                         (DNS rebinding); None takes any
    model                name or path of the network, for the processes that read films
    detector_weights     a detector's file, for the same
    workers              frames and pictures that are read at the same time
    max_viewers          WebSocket connections
    trusted_proxies      addresses or networks whose X-Forwarded-For says who the client is; nobody else's is believed
    share                of the places of each kind that one client may have; 1 where all clients are at one address
    max_connections      at the same time, or as many as the system has descriptors for
    connections_per_second  new ones of one client, and ten times as many at once
    patience             seconds for a whole request head, for the first bytes of an upload or to take an answer
    least_rate           bytes a second with which a client has to send an upload, or take an answer
    upload_memory        bytes of uploads on their way to memory; the slowest gives way when it is more
    max_requests         pictures and recordings that have come, and wait or are worked on
    picture_seconds      that the upload of a picture or recording may take
    film_upload_seconds  that the upload of a film may take
    idle_seconds         after which a viewer without a frame gives way where another one wants its place
    requests_per_second  of one client, and twenty times as many at once
    frames_per_second    of one viewer, and twice as many at once
    film_seconds         that a film may last
    film_memory          address space of a process that reads a film
    work_seconds         after which a film that is still being read is given up
    stall_seconds        without any sign of life, after which it is given up too
    max_films            waiting, being read or kept
    film_workers         films that are read at the same time
    keep_seconds         for which a film's results are kept
    """

    token: str | None = None
    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = LOOPBACK
    model: str | None = None
    detector_weights: Path | None = None
    workers: int = max(2, os.cpu_count() or 1)
    trusted_proxies: tuple[str, ...] = ()
    share: float = 1.0
    max_connections: int = 512
    connections_per_second: float = 50
    patience: float = 10
    least_rate: float = 8000
    max_viewers: int = 32
    idle_seconds: float = 30
    requests_per_second: float = 50
    frames_per_second: float = 60
    frame_bytes: int = 4 * MEGABYTE
    frame_pixels: int = 3840 * 2160
    upload_memory: int = 256 * MEGABYTE
    max_requests: int = 16
    picture_seconds: float = 120
    picture_bytes: int = 32 * MEGABYTE
    picture_pixels: int = 50_000_000
    recording_bytes: int = 64 * MEGABYTE
    film_bytes: int = 1000 * MEGABYTE
    film_upload_seconds: float = 3600
    film_pixels: int = 4096 * 2304
    film_seconds: float = 2 * 3600
    film_memory: int = 3 * 1024**3
    work_seconds: float = 2 * 3600
    stall_seconds: float = 120
    max_films: int = 16
    film_workers: int = 1
    keep_seconds: float = 3600
