"""Cameras: which device a number means, and their frames where FFmpeg has no way to them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mien.errors import InputError
from mien.media.frames import Frame


def find_camera(name: str) -> tuple[str, str]:
    """Device and its kind, as FFmpeg calls them on this system."""
    if sys.platform == "darwin":
        return name, "avfoundation"
    if not sys.platform.startswith("linux"):
        raise InputError(f"{name} is no camera of this system; give its number, or the URL of a stream")
    device = Path(f"/dev/video{name}" if name.isdecimal() else name)
    if not device.exists():
        there = ", ".join(str(p) for p in sorted(Path("/dev").glob("video*"))) or "none"
        raise InputError(f"no camera {name}: {device} does not exist; cameras found: {there}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise InputError(
            f"no permission to open camera {name} ({device}); join the group that owns it, mostly by: "
            "sudo usermod -aG video $USER"
        )
    return str(device), "v4l2"


def capture(device: int | str, name: str) -> Iterator[Frame]:
    """Frames as OpenCV captures them, for Windows; their time is that of their arrival. `device` is the number of a
    camera, or whatever else `cv2.VideoCapture` takes.

    Raises InputError when the device cannot be opened or stops giving frames.
    """
    camera = cv2.VideoCapture(device)
    try:
        if not camera.isOpened():
            raise InputError(f"cannot open camera {name}: it is not there, or another program uses it")
        began, index = time.monotonic(), 0
        while True:
            there, image = camera.read()
            if not there:
                raise InputError(f"camera {name} gives no {'more frames' if index else 'frames'}")
            yield Frame(np.ascontiguousarray(image[..., ::-1], np.uint8), index, time.monotonic() - began, name)
            index += 1
    finally:
        camera.release()
