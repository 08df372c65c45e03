"""A process that has imported all of `mien` and forks for each command, which costs a tenth of a fresh start.

Orders come as lines of JSON on standard input; answers go to standard output: first the new process's number, then how
it ended. The new process is the leader of its own session, so that it can be killed with all its children.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

#: Imported by mien within its functions.
LATE = ("polars", "onnx", "sklearn.linear_model", "matplotlib.figure", "tensorboard.summary.writer.record_writer")
MEMORY = 12 << 30
"""Address space of a command: what takes more ends with MemoryError, and does not take the machine with it."""


def load_everything() -> None:
    import mien

    for module in pkgutil.walk_packages(mien.__path__, "mien."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)


def serve_orders() -> dict[str, Any]:
    """Fork for each order; returns in the new process, with its order."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # where libraries greet
    load_everything()
    gc.freeze()  # so that new processes share these pages for as long as they live
    answers.write("{}\n")
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        process = os.fork()
        if not process:
            answers.close()
            return order
        answers.write(json.dumps({"process": process}) + "\n")
        _, status, usage = os.wait4(process, 0)
        hits = _shim().abuse_hits() if _shim() is not None else 0
        ended = {"status": status, "seconds": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss, "hits": hits}
        answers.write(json.dumps(ended) + "\n")
    sys.exit(0)


def _shim() -> Any:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "abuse_arm") else None


def prepare(order: dict[str, Any]) -> None:
    """Become the process that the order asks for."""
    os.setsid()
    os.chdir(order["folder"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        given = os.open(order[name], flags, 0o600)
        os.dup2(given, number)
        os.close(given)
    os.environ.update(order["environment"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(order["limit"] - 2, 1))  # says where it hangs, before it is killed
    sys.argv = ["mien", *order["words"]]
    if order["at"] is not None:
        library = _shim()
        library.abuse_arm(os.fsencode(Path(order["under"]).resolve()), order["at"], order["deed"])


def run() -> NoReturn:
    """`mien`, and then what Python does when a program ends, but for taking all its modules apart: that takes ten times
    as long as most commands."""
    from mien.cli import main

    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - as Python does with what nobody caught
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    prepare(serve_orders())
    run()
