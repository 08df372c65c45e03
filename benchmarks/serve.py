"""How many viewers one `mien serve` carries: real WebSocket clients that send pictures at a steady rate.

    python benchmarks/serve.py --json docs/numbers/serve.json

Every viewer sends 640x480 JPEGs of a photograph that drifts, with at most two frames in flight, as the page does: when
a frame is due and two are without an answer, it is held back. Latency is from before a frame is sent until its answer
is there, for the frames that were read; a frame for which a newer one was read instead counts as dropped. Server and
clients share this machine, and the clients' own share of its time is told. The last rows ask for more than the
machine can do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data
from websockets.asyncio.client import connect

from mien import models
from mien.provenance import provenance

LOADS = ((1, 5.0), (1, 30.0), (5, 5.0), (20, 5.0), (20, 15.0), (50, 5.0))
"""Viewers, and frames a second of each."""
IN_FLIGHT = 2
"""Frames of one viewer that may be without an answer."""
WARM_UP = 3.0


@dataclass
class Viewer:
    """What one client has seen after the warm-up."""

    sent: dict[int, float] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    dropped: int = 0
    held_back: int = 0
    faces: int = 0


def pictures() -> list[bytes]:
    """A photograph that drifts to the right, eight frames of it."""
    photo = np.asarray(Image.fromarray(np.asarray(data.astronaut())).resize((640, 480)), np.uint8)
    frames = []
    for step in range(8):
        content = BytesIO()
        Image.fromarray(np.roll(photo, 6 * step, axis=1)).save(content, "JPEG", quality=80)
        frames.append(content.getvalue())
    return frames


async def watch(host: str, frames: list[bytes], fps: float, seconds: float, delay: float) -> Viewer:
    """One viewer: sends at a steady rate while it takes in what comes."""
    viewer = Viewer()
    async with connect(f"ws://{host}/v1/stream", subprotocols=["mien.v1"], compression=None) as socket:  # type: ignore[list-item]
        await socket.recv()
        await asyncio.sleep(delay)
        began = time.perf_counter()

        async def listen() -> None:
            async for message in socket:
                answer = json.loads(message)
                sent = viewer.sent.pop(answer["sequence"], None)
                if sent is None or sent < began + WARM_UP:
                    continue
                if answer["type"] == "faces":
                    viewer.milliseconds.append(1000 * (time.perf_counter() - sent))
                    viewer.faces += len(answer["faces"])
                elif answer["type"] == "dropped":
                    viewer.dropped += 1
                else:
                    raise SystemExit(f"the server says: {answer}")

        listening = asyncio.create_task(listen())
        for number in range(round((WARM_UP + seconds) * fps)):
            await asyncio.sleep(max(0.0, began + number / fps - time.perf_counter()))
            now = time.perf_counter()
            if len(viewer.sent) >= IN_FLIGHT:
                viewer.held_back += now >= began + WARM_UP
                continue
            viewer.sent[number] = now
            await socket.send(struct.pack("<IId", number, 0, now - began) + frames[number % len(frames)])
        await asyncio.sleep(2)
        listening.cancel()
    return viewer


async def load(host: str, processes: list[int], viewers: int, fps: float, seconds: float) -> dict[str, Any]:
    """Numbers of one load, for which all these processes work."""
    frames = pictures()
    before, own, began = processor_seconds(*processes), time.process_time(), time.perf_counter()
    seen = await asyncio.gather(*(watch(host, frames, fps, seconds, delay=k / viewers / fps) for k in range(viewers)))
    took = time.perf_counter() - began
    after = processor_seconds(*processes)
    times = [t for viewer in seen for t in viewer.milliseconds]
    rates = [len(viewer.milliseconds) / seconds for viewer in seen]
    dropped, held_back = sum(viewer.dropped for viewer in seen), sum(viewer.held_back for viewer in seen)
    if len(times) < 2:
        raise SystemExit("no frames were read: this machine is too busy for a measurement")
    cuts = statistics.quantiles(times, n=100)
    return {
        "viewers": viewers,
        "fps_sent": fps,
        "p50_ms": round(cuts[49], 1),
        "p95_ms": round(cuts[94], 1),
        "p99_ms": round(cuts[98], 1),
        "fps_mean": round(statistics.mean(rates), 2),
        "fps_min": round(min(rates), 2),
        "fps_max": round(max(rates), 2),
        "dropped_share": round(dropped / max(1, dropped + len(times)), 4),
        "held_back_share": round(held_back / max(1, held_back + dropped + len(times)), 4),
        "faces_per_frame": round(sum(viewer.faces for viewer in seen) / len(times), 3),
        "server_cores": None if before is None or after is None else round((after - before) / took, 2),
        "client_cores": round((time.process_time() - own) / took, 2),
    }


def processor_seconds(*processes: int) -> float | None:
    """Of all threads of these processes so far, where the system tells."""
    ticks = 0
    for process in processes:
        status = Path(f"/proc/{process}/stat")
        if not status.exists():
            return None
        fields = status.read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--detector-weights", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load, after the warm-up")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()

    command = [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--no-browser", "--model", args.model]
    command += ["--max-viewers", str(max(viewers for viewers, _ in LOADS))]
    if args.detector_weights:
        command += ["--detector-weights", str(args.detector_weights)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        (host,) = re.findall(r"http://([\d.]+:\d+)/", server.stdout.readline())
        rows = [asyncio.run(load(host, [server.pid], viewers, fps, args.seconds)) for viewers, fps in LOADS]
    finally:
        server.terminate()
        server.wait()
    table = Table(title="640x480 JPEG over WebSockets, one server", box=None, pad_edge=False)
    for column in (
        "viewers",
        "fps",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "read fps",
        "min to max",
        "dropped",
        "held back",
        "cores",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["viewers"]), f"{row['fps_sent']:g}", *(f"{row[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{row['fps_mean']:.2f}", f"{row['fps_min']:.2f} to {row['fps_max']:.2f}", f"{row['dropped_share']:.1%}",
            f"{row['held_back_share']:.1%}", f"{row['server_cores']}",
        )  # fmt: skip
    Console(width=100).print(table)
    if args.json:
        content = {**provenance(), "seconds": args.seconds, "rows": rows}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
