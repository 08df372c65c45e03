"""How much more two processes of `mien serve` hold than one: the load of serve.py, through HAProxy.

    python benchmarks/serve_balanced.py --json docs/numbers/serve_balanced.json

Needs Linux and HAProxy (`apt install haproxy`), which hands each TCP connection on to the process that has the fewest.
First every process has a core of its own, as on a machine that has cores for all of them: so the step from one to two
is what a second process adds. Then they share all cores, as they would on this machine. Clients and HAProxy run on any
core, the servers' too; their share of it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from serve import load, processor_seconds

from mien import models
from mien.provenance import provenance

LOADS = ((20, 5.0), (50, 5.0))
"""Viewers, and frames a second of each."""
PROCESSES = (1, 2)

_CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen mien
    bind {address}
    balance leastconn
"""


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Ends a process with the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def servers(processes: int, pinned: bool, model: str) -> Iterator[tuple[list[int], list[str]]]:
    """Process ids and addresses of so many `mien serve`, each on a core of its own where they are `pinned`."""
    command = [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--no-browser", "--model", model]
    command += ["--max-viewers", str(max(viewers for viewers, _ in LOADS))]
    cores = sorted(os.sched_getaffinity(0))
    ids, addresses = [], []
    with ExitStack() as stack:
        for number in range(processes):
            where = ["taskset", "--cpu-list", str(cores[number])] if pinned else []
            server = subprocess.Popen([*where, *command], stdout=subprocess.PIPE, text=True)
            stack.enter_context(ended(server))
            assert server.stdout is not None
            addresses += re.findall(r"http://([\d.]+:\d+)/", server.stdout.readline())
            ids.append(server.pid)
        yield ids, addresses


@contextmanager
def balanced(addresses: list[str]) -> Iterator[tuple[int, str]]:
    """Process id and address of a balancer before these."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    text = _CONFIGURATION.format(address=address)
    text += "".join(f"    server mien{number} {where}\n" for number, where in enumerate(addresses))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(text, "utf-8")
        balancer = subprocess.Popen(["haproxy", "-db", "-q", "-f", path])
        with ended(balancer):
            deadline = time.monotonic() + 10
            while not _answers(address):
                if balancer.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("HAProxy does not start")
                time.sleep(0.1)
            yield balancer.pid, address


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def measured(processes: int, pinned: bool, model: str, seconds: float) -> list[dict[str, Any]]:
    """Numbers of all loads, through the balancer also where there is one process, so that both pay for it."""
    rows = []
    with servers(processes, pinned, model) as (ids, addresses), balanced(addresses) as (balancer, address):
        for viewers, fps in LOADS:
            before, began = processor_seconds(balancer), time.perf_counter()
            row = asyncio.run(load(address, ids, viewers, fps, seconds))
            after, took = processor_seconds(balancer), time.perf_counter() - began
            spent = None if before is None or after is None else round((after - before) / took, 2)
            about = {
                "processes": processes,
                "core_each": pinned,
                "read_per_second": round(viewers * row["fps_mean"], 1),
            }
            rows.append(about | row | {"balancer_cores": spent})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load, after the warm-up")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here")
    args = parser.parse_args()
    missing = [tool for tool in ("haproxy", "taskset") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    cores = len(os.sched_getaffinity(0))
    if cores < max(PROCESSES):
        raise SystemExit(f"{max(PROCESSES)} cores are needed, and there is {cores}")

    rows = []
    for pinned in (True, False):
        for processes in PROCESSES:
            rows += measured(processes, pinned, args.model, args.seconds)
    table = Table(title="640x480 JPEG over WebSockets, through HAProxy", box=None, pad_edge=False)
    for column in (
        "processes",
        "cores",
        "viewers",
        "fps",
        "p50 ms",
        "p95 ms",
        "read a second",
        "min to max",
        "dropped",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["processes"]), "one each" if row["core_each"] else f"all {cores}", str(row["viewers"]),
            f"{row['fps_sent']:g}", f"{row['p50_ms']:.0f}", f"{row['p95_ms']:.0f}", f"{row['read_per_second']:.0f}",
            f"{row['fps_min']:.2f} to {row['fps_max']:.2f}", f"{row['dropped_share']:.1%}",
        )  # fmt: skip
    Console(width=110).print(table)
    if args.json:
        version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split(" - ")[0]
        content = {**provenance(), "balancer": version, "seconds": args.seconds, "rows": rows}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
