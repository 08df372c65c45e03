"""mien reads facial expressions in photos, films and live cameras.

    import mien
    faces = mien.load().analyze("photo.jpg")
    faces.labels()   # ['happy']

An expression is not a feeling: the result says what a face looks like, not what a person feels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mien import data as data
    from mien.analyzer import Analyzer, load
    from mien.errors import MienError
    from mien.faces import Faces
    from mien.labels import LABELS
    from mien.media.frames import Frame
    from mien.recording.recording import Recording
    from mien.recording.watch import watch
    from mien.stream import Stream
    from mien.workshop import evaluate, export, report, train

__all__ = [
    "LABELS", "Analyzer", "Faces", "Frame", "MienError", "Recording", "Stream", "__version__", "evaluate", "export",
    "load", "report", "train", "watch",
]  # fmt: skip

_HOMES = {
    "Analyzer": "mien.analyzer",
    "Faces": "mien.faces",
    "Frame": "mien.media.frames",
    "LABELS": "mien.labels",
    "MienError": "mien.errors",
    "Recording": "mien.recording.recording",
    "Stream": "mien.stream",
    "evaluate": "mien.workshop",
    "export": "mien.workshop",
    "load": "mien.analyzer",
    "report": "mien.workshop",
    "train": "mien.workshop",
    "watch": "mien.recording.watch",
}


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that `import mien` costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "data":  # mien.data.prepare and mien.data.audit
        from importlib import import_module

        return import_module("mien.data")
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
