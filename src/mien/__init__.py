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
    from mien.analyzer import Analyzer, load
    from mien.errors import MienError
    from mien.faces import Faces
    from mien.labels import LABELS
    from mien.media.frames import Frame
    from mien.recording.recording import Recording
    from mien.recording.watch import watch
    from mien.stream import Stream

__all__ = [
    "LABELS", "Analyzer", "Faces", "Frame", "MienError", "Recording", "Stream", "__version__", "load", "watch",
]  # fmt: skip

_HOMES = {
    "Analyzer": "mien.analyzer",
    "Faces": "mien.faces",
    "Frame": "mien.media.frames",
    "LABELS": "mien.labels",
    "MienError": "mien.errors",
    "Recording": "mien.recording.recording",
    "Stream": "mien.stream",
    "load": "mien.analyzer",
    "watch": "mien.recording.watch",
}


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that `import mien` costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
