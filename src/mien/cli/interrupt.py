"""Ctrl-C and SIGTERM, heard so that files are finished before the verb ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
