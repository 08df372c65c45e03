"""Where a film cuts from one shot to another, frame by frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 64, 36
_MARGIN_X, _MARGIN_Y = 8, 4
"""Shifts up to this are searched one by one; larger ones only where phase correlation points to."""

_STILL = 0.02
"""A frame that differs from the last by less, unmoved, is not searched for shifts."""

_FLAT = 4.0
"""Standard deviation of grey below which a frame shows nothing: black, white, or the height of a flash."""

_JUMP, _TIMES_USUAL = 0.3, 2.0
"""A cut differs by more than the jump plus this many times what is usual in the shot."""
_MEMORY = 0.1
"""Weight of each frame in what is usual."""


class CutDetector:
    """Tells for every frame of one source whether it begins another shot; one detector per source.

    Frames are compared as colour thumbnails of 64 x 36: the difference is one minus their normalised correlation,
    at the best of small shifts and the shift that phase correlation finds, so neither a pan nor a change of
    brightness is a cut. It counts as one against what is usual in the shot, so neither is a shaken camera. Each
    frame is compared with the last two, so what returns after a flash is no cut, and frames that show nothing are
    passed over: after them the shot before is compared with. A fade over more than a second is no cut.
    """

    def __init__(self) -> None:
        self._last: list[NDArray[np.float32]] = []
        self._usual = 0.0
        self._window = cv2.createHanningWindow((_WIDTH, _HEIGHT), cv2.CV_32F)

    def update(self, image: NDArray[np.uint8]) -> bool:
        """Whether this `(H, W, 3)` uint8 RGB frame begins another shot than the frames before; the first does not."""
        step = max(1, min(image.shape[0] // (4 * _HEIGHT), image.shape[1] // (4 * _WIDTH)))
        coarse = np.ascontiguousarray(image[::step, ::step])  # averaging every pixel of a large frame would take long
        frame = cv2.resize(coarse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
        if frame.mean(2).std() < _FLAT:
            return False
        difference = self._difference(frame)
        cut = difference > _JUMP + _TIMES_USUAL * self._usual
        if cut:
            self._last, self._usual = [], 0.0
        else:
            self._usual += _MEMORY * (difference - self._usual)
        self._last = [*self._last[-1:], frame]
        return cut

    def _difference(self, frame: NDArray[np.float32]) -> float:
        """From the more alike of the last two; 0 for a first frame."""
        if not self._last:
            return 0.0
        unmoved = 1 - float(cv2.matchTemplate(frame, self._last[-1], cv2.TM_CCOEFF_NORMED)[0, 0])
        if unmoved <= _STILL:
            return unmoved
        return min(1 - self._likeness(last, frame) for last in self._last)

    def _likeness(self, last: NDArray[np.float32], frame: NDArray[np.float32]) -> float:
        """Correlation, -1 to 1, at the best shift."""
        inner = last[_MARGIN_Y:-_MARGIN_Y, _MARGIN_X:-_MARGIN_X]
        near = float(cv2.matchTemplate(frame, inner, cv2.TM_CCOEFF_NORMED).max())
        (x, y), _ = cv2.phaseCorrelate(last.mean(2), frame.mean(2), self._window)
        dx, dy = round(x), round(y)
        if abs(dx) > _WIDTH // 2 or abs(dy) > _HEIGHT // 2:
            return near
        moved = frame[max(0, dy) : _HEIGHT + min(0, dy), max(0, dx) : _WIDTH + min(0, dx)]
        rest = last[max(0, -dy) : _HEIGHT - max(0, dy), max(0, -dx) : _WIDTH - max(0, dx)]
        return max(near, float(cv2.matchTemplate(moved, rest, cv2.TM_CCOEFF_NORMED)[0, 0]))
