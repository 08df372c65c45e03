"""Where an output goes: the file that is named, or for several sources a file of each in the folder that is named."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mien.errors import InputError
from mien.media.images import is_url
from mien.media.sources import Source
from mien.output.pictures import JPEG

_ENDINGS = {"episodes": ".csv", "timeline": ".png", "video": ".mp4"}
"""Of the files in a folder."""


def is_folder(path: str | Path) -> bool:
    """Whether a path means a folder: it is one, it ends in a slash, or it has no ending."""
    text = os.fspath(path)
    return Path(path).is_dir() or text.endswith(("/", os.sep)) or not Path(path).suffix


def places(path: str | Path, names: Sequence[str], what: str) -> list[Path]:
    """The file for each of the sources `names`, `what` being `episodes`, `timeline` or `video`.

    In a folder it is called by the source's name without its ending; where names are equal, numbers follow. A pattern
    such as `out/*.vtt` is a folder whose files have another ending. Raises InputError when there are several sources
    and `path` means one file.
    """
    pattern = Path(path).name if "*" in Path(path).name else f"*{_ENDINGS[what]}"
    folder = Path(path).parent if "*" in Path(path).name else Path(path)
    if folder == Path(path) and not is_folder(path):
        if len(names) > 1:
            raise InputError(
                f"{path} is a single file, but there are {len(names)} films; give a folder, which will get one "
                f"{_ENDINGS[what]} file per film, or a pattern such as {Path(path).parent / '*'}{Path(path).suffix}"
            )
        return [Path(path)] * len(names)
    found: list[Path] = []
    for stem in map(_stem, names):
        count, place = 1, folder / pattern.replace("*", stem)
        while place in found:
            count += 1
            place = folder / pattern.replace("*", f"{stem}-{count}")
        found.append(place)
    return found


def _stem(name: str) -> str:
    last = name.rstrip("/").rpartition("/")[2].partition("?")[0] if "://" in name else Path(name).name
    stem = Path(last).stem if last not in ("", "-") else "source"
    return stem or "source"


def mirrored(found: Sequence[Source], folder: Path) -> dict[Source, Path]:
    """Where each annotated image or film goes: under `folder` as it lies under what all the named folders share;
    what is no file, by its name.

    Raises InputError where that would overwrite a file that was named.
    """
    files = [s for s in found if s.kind in {"picture", "film"} and not is_url(s.name)]
    places = {source: source.path.parent.resolve() / source.path.name for source in files}
    try:
        folders = [p for source, place in places.items() for p in (place.parent, source.root.resolve())]
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # Windows, where drives share nothing
        raise InputError("annotated files need one drive: name the files of one drive at a time") from None
    targets: dict[Source, Path] = {}
    used: set[Path] = set()
    for source in found:
        if source in places:
            target = folder / places[source].relative_to(shared)
        else:
            target = folder / (re.sub(r"[^A-Za-z0-9]+", "-", source.name).strip("-") or "stdin")
        endings = {*JPEG, ".png"} if source.kind == "picture" else {".mp4"}
        if target.suffix.lower() not in endings:
            target = target.with_name(f"{target.name}{'.png' if source.kind == 'picture' else '.mp4'}")
        while target in used:
            target = target.with_stem(f"{target.stem}_")
        used.add(target)
        targets[source] = target
    originals = set(places.values())
    for target in targets.values():
        if target.parent.resolve() / target.name in originals:
            raise InputError(f"annotated files in {folder} would overwrite {target} itself; name another folder")
    return targets
