"""`Frame`: one image with its place in time; `Frames`: an iterator of them that is read ahead in a thread."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mien.checks import number, whole
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.media.video import Film

AHEAD = 4
"""Frames that wait for the analysis; at 3840x2160 they take 100 MB."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    image    (H, W, 3) uint8 RGB, upright, contiguous
    index    its number in the source, from 0, whatever is left out before it
    time     seconds since the source's first frame, by the source's own timestamps; 0 for a picture
    source   path, URL or camera
    still    a picture by itself, not one of a sequence
    """

    image: NDArray[np.uint8]
    index: int = 0
    time: float = 0.0
    source: str = ""
    still: bool = False


class Pick:
    """Which frames of a sequence are wanted.

    Every `every`-th by index, of those no more than one in each interval of 1 / `max_fps` seconds, and none before
    `start` or from `end` on, in seconds. Raises InputError on a choice that makes no sense.
    """

    def __init__(
        self, every: int = 1, max_fps: float | None = None, start: float | None = None, end: float | None = None
    ) -> None:
        self.every = whole("every", every)
        self.max_fps = None if max_fps is None else number("max_fps", max_fps, above=0)
        start = None if start is None else number("start", start, least=0)
        end = None if end is None else number("end", end, above=0)
        if end is not None and not end > (start or 0.0):
            raise InputError(f"end ({end:g} s) should come after start ({start or 0:g} s)")
        self.start, self.end = start or 0.0, float("inf") if end is None else end
        self._slot = -1.0

    def __str__(self) -> str:
        """What is wanted, in words that follow `no frame`."""
        words = f"from {self.start:g} s" + (f" to before {self.end:g} s" if self.end < float("inf") else " on")
        return words + (f" whose number {self.every} divides" if self.every > 1 else "")

    def over(self, time: float) -> bool:
        """Whether nothing is wanted from this time on."""
        return time >= self.end - 1e-6

    def wants(self, index: int, time: float) -> bool:
        """Whether this frame is wanted; to be asked once for each, in order."""
        if index % self.every or time < self.start - 1e-6 or self.over(time):
            return False
        if self.max_fps is not None:
            slot = ((time - self.start) * self.max_fps + 1e-6) // 1  # a float, which has no upper end
            if slot == self._slot:
                return False
            self._slot = slot
        return True


class Closing(ABC):
    """A context manager that is closed when the block ends, however it ends."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Ahead:
    """What the thread that reads shares with its Frames, which it does not hold: so they can go unread."""

    def __init__(self, newest: bool) -> None:
        self.queue: Queue[Frame | Exception | None] = Queue(1 if newest else AHEAD)
        self.newest, self.stop, self.dropped = newest, Event(), 0

    def run(self, read: Callable[[Event], Iterator[Frame]]) -> None:
        last: Exception | None = None
        frames = read(self.stop)
        try:
            for frame in frames:
                if self.newest and self.queue.full():
                    with suppress(Empty):
                        self.queue.get_nowait()
                        self.dropped += 1
                if not self._put(frame):
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the frames are taken
            last = error
        finally:
            if hasattr(frames, "close"):
                frames.close()
            self._put(last)

    def _put(self, item: Frame | Exception | None) -> bool:
        while not self.stop.is_set():
            with suppress(Full):
                self.queue.put(item, timeout=0.1)
                return True
        return False


class Frames(Iterator[Frame], Closing):
    """Frames that a thread reads ahead of whoever iterates; close it, or use it as a context manager. The thread ends,
    too, when nobody holds them any more.

    `read` is given an event that tells it to stop early. What it raises is raised here, after the frames before it.
    With `newest`, frames that nobody has taken yet give way to newer ones and are counted in `dropped`; otherwise
    the thread waits.

    duration    seconds of the whole source, where it is known
    live        frames come as time passes, as from a camera
    name        path, URL or camera that they come from
    file        the film file that they come from, if it is one
    reopen      opens the film again that they come from, where it can be
    interrupted whether `stop` was called
    """

    def __init__(
        self,
        read: Callable[[Event], Iterator[Frame]],
        duration: float | None = None,
        live: bool = False,
        newest: bool = False,
        name: str = "",
        file: Path | None = None,
        reopen: Callable[[], Film] | None = None,
    ) -> None:
        self.duration, self.live = duration, live
        self.name, self.file, self.reopen, self.interrupted = name, file, reopen, False
        self._ahead, self._over = _Ahead(newest), False
        self._thread = Thread(target=self._ahead.run, args=(read,), name="frames", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._ahead.stop.set)

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return self._ahead.dropped

    def __next__(self) -> Frame:
        while not self._over:
            try:
                item = self._ahead.queue.get(timeout=0.1)
            except Empty:
                if self._ahead.stop.is_set():
                    break
                continue
            if isinstance(item, Frame):
                return item
            self.close()
            if item is not None:
                raise item
        raise StopIteration

    @property
    def over(self) -> bool:
        """Whether it has been read to its end, or closed."""
        return self._over

    def stop(self) -> None:
        """Read no further: the iteration ends after the frames that are waiting. For signal handlers."""
        self.interrupted = True
        self._ahead.stop.set()

    def close(self) -> None:
        """Stop reading; frames that wait are given up."""
        self._over = True
        self._ahead.stop.set()
        self._thread.join(timeout=1)  # it may be waiting for a network or a pipe
