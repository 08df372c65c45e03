"""Under which licences mien, the packages it runs on, the libraries in PyAV's wheel and the networks are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

UNKNOWN = "not stated; look at its own pages"
_LIBRARIES = {
    "x264": "GPL-2.0-or-later", "x265": "GPL-2.0-or-later", "gmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "nettle": "LGPL-3.0-or-later OR GPL-2.0-or-later", "hogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "unistring": "LGPL-3.0-or-later OR GPL-2.0-or-later", "gnutls": "LGPL-2.1-or-later", "mp3lame": "LGPL-2.0-or-later",
    "asound": "LGPL-2.1-or-later", "iconv": "LGPL-2.1-or-later", "SvtAv1Enc": "BSD-3-Clause-Clear",
    "dav1d": "BSD-2-Clause", "opus": "BSD-3-Clause", "vpx": "BSD-3-Clause", "webp": "BSD-3-Clause",
    "sharpyuv": "BSD-3-Clause", "opencore-amr": "Apache-2.0", "vpl": "MIT", "drm": "MIT", "Xau": "MIT", "xcb": "MIT",
    "z": "Zlib",
}  # fmt: skip
"""Beginning of a library's name -> its licence, as its own sources state it; the longest that fits counts."""
_FFMPEG = ("av", "sw")
_GPL = ("x264", "x265")


@dataclass(frozen=True)
class Licence:
    """Of one thing that comes with an installation of mien."""

    kind: Literal["package", "library", "network"]
    name: str
    version: str
    licence: str


def licences() -> list[Licence]:
    """Of everything that is installed: packages with all that they need in turn, then libraries, then networks."""
    return [*_packages(), *_libraries(), *_networks()]


def _packages() -> list[Licence]:
    """mien and what it needs, its extras' packages where they are installed."""
    found: dict[str, Licence] = {}
    waiting = ["mien"]
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[key] = Licence("package", package.name, package.version, _stated(package))
        waiting += [
            re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            for requirement in package.requires or []
            if key == "mien" or not re.search(r"\bextra\s*==", requirement)
        ]
    return [found[key] for key in sorted(found, key=lambda key: (key != "mien", key))]


def _stated(package: metadata.Distribution) -> str:
    about = package.metadata
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line[:7] == "License"]
    stated = [about[key] for key in ("License-Expression", "License") if key in about]
    for words in (*map(str.strip, stated), ", ".join(classifiers)):
        if words and "\n" not in words and len(words) < 200:
            return words
    return ", ".join(classifiers) or UNKNOWN


def _libraries() -> list[Licence]:
    """The shared libraries in PyAV's wheel; none where PyAV was built against the system's."""
    try:
        files = metadata.files("av") or []
    except metadata.PackageNotFoundError:
        return []
    found = {}
    for file in files:
        part = re.fullmatch(
            r"(?:lib)?([A-Za-z][\w-]*?)(?:-[0-9a-f]{8,})?((?:[.-]\d+)*)\.(?:so|dylib|dll)((?:\.\d+)*)", file.name
        )
        if part and file.parts[0] in {"av.libs", "av"} and "abi3" not in file.name:
            found[part[1]] = (part[2] or part[3]).strip(".-")
    linked = [name for name in found if name.startswith(_GPL)]
    return [Licence("library", name, found[name], _of_library(name, linked)) for name in sorted(found, key=str.lower)]


def _of_library(name: str, linked: list[str]) -> str:
    if name.startswith(_FFMPEG):
        stated = _of_ffmpeg(f"lib{name}")
        return (
            f"{stated}; under the GPL together with {' and '.join(linked)}, which it is linked to" if linked else stated
        )
    fitting = [beginning for beginning in _LIBRARIES if name.startswith(beginning)]
    return _LIBRARIES[max(fitting, key=len)] if fitting else UNKNOWN


def _of_ffmpeg(name: str) -> str:
    """What a library of FFmpeg says of its own build."""
    import av._core

    return str(getattr(av._core, "library_meta", {}).get(name, {}).get("license", UNKNOWN))


def _networks() -> list[Licence]:
    from mien import models

    cards = [models.load(name).card for name in models.shipped()]
    found = [Licence("network", card.name, card.sha256[:12], card.licence) for card in cards]
    detector = models.load_detector().card
    return [*found, Licence("network", f"{detector.name} (detector)", detector.sha256[:12], detector.licence)]
