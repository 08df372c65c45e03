"""Ctrl-C and SIGTERM, deferred so that files are completed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType


@contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[list[int]]:
    """On Ctrl-C or SIGTERM call `stop`, which asks the work to end well; a second one breaks off.

    Gives a list that the signal's number is put in.
    """
    came: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        stop()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopping_by_default(stop: Callable[[], object]) -> AbstractContextManager[list[int]]:
    """As `stopping`, where Ctrl-C does what it does by default: in the main thread, and nobody else listens for it.
    Elsewhere nothing is changed."""
    unchanged = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if unchanged and threading.current_thread() is threading.main_thread():
        return stopping(stop)
    return nullcontext([])
