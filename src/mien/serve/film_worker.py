"""The process in which a film that nobody vouches for is opened and read: `python -m mien.serve.film_worker`.

It bounds its own memory, processor time and output and locks itself in before it loads any decoder, reads `film` in the
current folder, writes into `results`, and says on standard output, as JSON lines, how far it is. It ends when its
standard input does, so that it never outlives the server.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from mien.provenance import commit
from mien.serve.sandbox import lock_in
from mien.vision.fetch import home

_OUTPUT = 1 << 30
_FILES = 256


def limit(memory: int, cpu_seconds: int) -> None:
    """Bound this process, where the system can: memory, processor time, size and number of files, and no core dump.

    Where memory runs out nevertheless, Linux is asked to end this process, not the server.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    try:
        import resource
    except ImportError:  # Windows: there the server's own clock is all
        return
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, _OUTPUT),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _needed(order: dict[str, Any]) -> list[Path]:
    """The networks, each with its card beside it, and the folder of those that were downloaded."""
    named = [Path(name) for name in (order["model"], order["detector_weights"]) if name and name.endswith(".onnx")]
    return [*named, *(path.with_suffix(".json") for path in named), home()]


def _watch_server() -> None:
    """End with the server, which holds the other end of standard input."""
    while os.read(0, 1):  # not through sys.stdin, whose lock would be in the way of the interpreter's exit
        pass
    os._exit(1)


def main() -> None:
    task, order = sys.argv[1], json.loads(sys.argv[2])
    limit(order["memory"], order["cpu_seconds"])
    if task == "read":
        commit()  # its tables name it, and git cannot be run afterwards
    lock_in(Path.cwd(), _needed(order))
    Thread(target=_watch_server, daemon=True).start()
    sys.argv = ["mien", "serve"]  # what tables say they were made by, without this machine's paths
    from mien.serve.film_reading import Order, probe, read  # only now: what is loaded may start threads

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    if task == "probe":
        say(probe(Order(**order)))
    else:
        read(Order(**order), say)


if __name__ == "__main__":
    main()
