"""A native window for `Live`, by SDL: draws its views, and turns keys into what they mean."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pygame

from mien.errors import MienError, reason
from mien.live import hud
from mien.live.session import Live, Status, View

_TICK = 1 / 60
"""Seconds after which keys are looked at while no frame comes."""
_REFRESH = 0.25
"""Seconds after which the numbers are drawn anew while no frame comes."""
_MESSAGE = 4.0
"""Seconds for which a message stays."""
_SHARE = 0.85
"""Of the screen, that the window takes at most when it opens."""
_WIDTH = 640
"""Pixels to which smaller pictures are enlarged when it opens."""

_INSTEAD = "run mien serve instead and open its page in a browser"


@contextmanager
def display() -> Iterator[None]:
    """A connection to the screen, for a `Window`; raises MienError where there is none."""
    variables = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in variables):
        raise MienError(f"there is no display here (DISPLAY and WAYLAND_DISPLAY are not set); {_INSTEAD}")
    try:
        pygame.display.init()
    except pygame.error as error:
        raise MienError(f"the display cannot be opened ({reason(error)}); {_INSTEAD}") from None
    try:
        yield
    finally:
        pygame.display.quit()


class Window:
    """A window that shows `view`, and what `live` gives after it; for the main thread, within `display`.

    Raises MienError when it cannot be opened.
    """

    def __init__(self, live: Live, view: View, title: str) -> None:
        self._live, self._view = live, view
        self._message, self._message_ends = "", 0.0
        self._help, self._failure = False, live.failure
        height, width = view.image.shape[:2]
        screen_width, screen_height = pygame.display.get_desktop_sizes()[0]
        largest = min(_SHARE * screen_width / width, _SHARE * screen_height / height)
        scale = min(max(1.0, _WIDTH / width), largest)
        area = round(width * scale), round(height * scale)
        pygame.display.set_caption(title, "mien")
        try:
            size = area[0], area[1] + hud.bar_height(area[0])
            self._surface = pygame.display.set_mode(size, pygame.RESIZABLE)
        except pygame.error as error:
            raise MienError(f"no window can be opened ({reason(error)}); {_INSTEAD}") from None

    def run(self) -> None:
        """Show what comes until `live` is stopped, by a key, the window's own button, or a signal.

        A source that ends stays on the screen. Raises InputError for what was wrong with it.
        """
        live, drawn = self._live, 0.0
        self._draw(live.status())
        live.mark_shown(self._view)
        while not live.stopped:
            touched = [self._handle(event) for event in pygame.event.get()]
            view = live.wait(self._view, _TICK)
            if live.failure is not self._failure:
                self._failure = live.failure
                self._tell(str(self._failure))
            self._view = view or self._view
            if view is None and not any(touched) and time.monotonic() < drawn + _REFRESH:
                continue
            self._draw(live.status())
            drawn = time.monotonic()
            if view is not None:
                live.mark_shown(view)

    def _handle(self, event: pygame.event.Event) -> bool:
        """Do what an event asks for; gives whether the window has to be drawn anew."""
        if event.type == pygame.QUIT:
            self._live.stop()
        elif event.type == pygame.KEYDOWN:
            try:
                self._press(event.key, event.unicode)
            except MienError as error:
                self._tell(str(error))
        return event.type in {pygame.KEYDOWN, pygame.WINDOWEXPOSED, pygame.WINDOWRESIZED}

    def _press(self, key: int, character: str) -> None:
        live = self._live
        if key in {pygame.K_q, pygame.K_ESCAPE}:
            live.stop()
        elif key == pygame.K_SPACE:
            live.toggle_pause()
        elif key == pygame.K_r:
            finished = live.toggle_recording()
            self._tell(f"recorded {finished}" if finished else "")
        elif key == pygame.K_s:
            self._tell(f"saved {live.snapshot()}")
        elif key == pygame.K_h or character == "?":
            self._help = not self._help

    def _tell(self, message: str) -> None:
        self._message, self._message_ends = message, time.monotonic() + _MESSAGE

    def _draw(self, status: Status) -> None:
        surface = self._surface
        width, height = surface.get_size()
        bar_height = hud.bar_height(width)
        surface.fill((0, 0, 0))
        image = self._view.image
        picture = pygame.image.frombuffer(image.tobytes(), (image.shape[1], image.shape[0]), "RGB")
        scale = min(width / image.shape[1], max(height - bar_height, 1) / image.shape[0])
        fitted = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        if fitted != picture.get_size():
            picture = pygame.transform.smoothscale(picture, fitted)
        surface.blit(picture, ((width - fitted[0]) // 2, (height - bar_height - fitted[1]) // 2))
        message = self._message if time.monotonic() < self._message_ends else ""
        strip = hud.bar(width, status, message)
        surface.blit(pygame.image.frombuffer(strip.tobytes(), (width, bar_height), "RGB"), (0, height - bar_height))
        if self._help:
            panel = hud.panel(width)
            size = panel.shape[1], panel.shape[0]
            corner = width - size[0] - bar_height // 2, height - size[1] - bar_height * 3 // 2
            surface.blit(pygame.image.frombuffer(panel.tobytes(), size, "RGBA"), corner)
        pygame.display.flip()
