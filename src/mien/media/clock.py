"""From the timestamps of frames, in the order in which they are shown, to seconds that never fall."""

from __future__ import annotations

from fractions import Fraction

_REORDERED = 16
"""Frames over which codecs change the order; a stamp that falls farther belongs to another count of time."""


class Clock:
    """Seconds since the stamp `origin`, of frames whose stamps count in `base` seconds and come at about `rate`.

    A stamp that is missing is a frame's length after the one before. One that falls by a few frames, as where a
    container gives the times of decoding, is put just after the one before; one that falls farther, as where films were
    joined, goes on from there.
    """

    def __init__(self, origin: int | None, base: Fraction, rate: Fraction) -> None:
        self._origin, self._base, self._rate = origin, base, rate
        self._last: float | None = None
        self._shift = 0.0

    def time(self, stamp: int | None) -> float:
        """Of the next frame; later than that of the frame before."""
        last, length = self._last, float(1 / self._rate)
        if self._origin is None or stamp is None:
            self._last = 0.0 if last is None else last + length
            return self._last
        now = float((stamp - self._origin) * self._base) + self._shift
        if last is not None and now <= last:
            if last - now > _REORDERED * length:
                self._shift += last + length - now
                now = last + length
            else:
                now = last + float(self._base)
        self._last = now
        return now
