"""From names to sources: pictures, films, folders, patterns, URLs, cameras and pipes."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mien.errors import InputError, reason
from mien.media.images import SUFFIXES, is_image, is_url, unreachable

#: Endings by which films are found in folders; a file that is named itself may be called anything.
FILM_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv",
     ".3gp", ".ogv", ".mxf", ".vob", ".y4m", ".h264", ".hevc", ".mjpeg")
)  # fmt: skip

Kind = Literal["picture", "film", "camera", "stream", "pipe"]

PIPE = "-"
_CAMERA = re.compile(r"/dev/video\d+")


@dataclass(frozen=True)
class Source:
    """Something to look at.

    name   path, URL, number or device of a camera, or `-` for raw frames on standard input
    kind   a URL is a `picture` where it ends as one, and else a `stream`, of which opening shows what it is
    root   for a file the folder from which it was found: the one named, or the one it lies in
    """

    name: str
    kind: Kind
    root: Path = Path()

    @property
    def path(self) -> Path:
        """Of a file."""
        return Path(self.name)


def find_images(paths: Sequence[str | Path]) -> tuple[list[Source], list[InputError]]:
    """Image files, in the order of `paths`, and one error for each path that yields none.

    A path is an image, a folder (searched through all its folders in the order of names, hidden ones and
    links to folders left out) or a pattern with `*`, `?`, `[...]` or `**`. A file found twice is listed once.
    """
    return _find([Path(path) for path in paths], _Search("image", SUFFIXES))


def find_sources(names: Sequence[str | Path]) -> tuple[list[Source], list[InputError]]:
    """As `find_images`, for films too, and for names that are no paths: URLs (of which `file://` is a path after all),
    `-`, and cameras (`/dev/video0`, or `0` where no file is called so)."""
    return _find(names, _Search("image or film", SUFFIXES | FILM_SUFFIXES))


@dataclass(frozen=True)
class _Search:
    """What is looked for in folders."""

    what: str
    suffixes: frozenset[str]

    @property
    def known(self) -> str:
        return "known endings are " + ", ".join(sorted(self.suffixes))


def _find(names: Sequence[str | Path], search: _Search) -> tuple[list[Source], list[InputError]]:
    found: dict[str | Path, Source] = {}
    problems: list[InputError] = []
    for name in names:
        if isinstance(name, str) and not name:
            problems.append(InputError("an empty name is not a source; for the current folder write ./"))
            continue
        try:
            if isinstance(name, str) and name.lower().startswith("file://"):
                name = url2pathname(urlsplit(name).path)
            kind = _kind_of_name(name) if isinstance(name, str) else None
        except ValueError:
            problems.append(InputError(f"{name} is no valid address"))
            continue
        if kind is not None:
            found.setdefault(str(name), Source(str(name), kind))
            continue
        path = Path(name)
        try:
            for item, root in _expand(path, search, problems):
                found.setdefault(item.absolute(), Source(str(item), _kind_of_file(item), root))
        except InputError as problem:
            problems.append(problem)
        except OSError as error:
            problems.append(unreachable(path, error))
    return list(found.values()), problems


def _kind_of_name(name: str) -> Kind | None:
    """What a name stands for that is none of a file."""
    if name == PIPE:
        return "pipe"
    if is_url(name):
        return "picture" if Path(unquote(urlsplit(name).path)).suffix.lower() in SUFFIXES else "stream"
    if _CAMERA.fullmatch(name) or (name.isdecimal() and not os.path.lexists(name)):
        return "camera"
    return None


def _kind_of_file(path: Path) -> Kind:
    ending = path.suffix.lower()
    if ending in FILM_SUFFIXES or (ending not in SUFFIXES and path.is_file() and not is_image(path)):
        return "film"
    return "picture"


def _expand(path: Path, search: _Search, problems: list[InputError]) -> Iterator[tuple[Path, Path]]:
    """The files that one argument stands for and their root; folders that cannot be entered go to `problems`."""
    if path.is_dir():
        files = list(_walk(path, search, problems))
        if not files:
            raise InputError(f"{path} is a folder without {search.what.replace(' or ', 's or ')}s ({search.known})")
        yield from ((file, path) for file in files)
    elif os.path.lexists(path):
        yield path, path.parent
    elif glob.has_magic(str(path)):
        files = list(_matches(path, search, problems))
        if not files:
            raise InputError(f"no {search.what} matches {path} ({search.known})")
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        yield from ((file, root) for file in files)
    else:
        raise InputError(f"{path} does not exist; name an {search.what}, a folder or a pattern like 'photos/*.jpg'")


def _matches(pattern: Path, search: _Search, problems: list[InputError]) -> Iterator[Path]:
    # Path.glob takes hidden files along, glob.glob leaves them out as a shell does.
    for match in map(Path, sorted(glob.glob(str(pattern), recursive=True))):  # noqa: PTH207
        if match.is_dir():
            yield from _walk(match, search, problems)
        elif match.suffix.lower() in search.suffixes:
            yield match


def _walk(folder: Path, search: _Search, problems: list[InputError]) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        problems.append(InputError(f"cannot read the folder {error.filename}: {reason(error)}"))

    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in search.suffixes:
                yield Path(parent, name)
