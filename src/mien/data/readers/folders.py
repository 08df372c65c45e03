"""Reads folders of image files, named by label and perhaps by split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mien.data.readers.fer_csv import USAGES
from mien.data.readers.pictures import Cropper, Picture
from mien.data.readers.rows import Progress, Rows, gather, grouped_by, left_out, silent
from mien.errors import DataError
from mien.labels import LABELS, expression, find_label, find_split, label_set
from mien.labels import split as split_name
from mien.media.sources import find_images


def read_folder(
    path: Path, cropper: Cropper, progress: Progress = silent, *, group: str | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Rows:  # fmt: skip
    """Read image files below folders named by label, with or without folders named by split around or in them.

    The folder itself may be such a label or split. A file name that begins with FER2013's Usage
    (`PrivateTest_123.jpg`) goes before the split folder. `group` is a regular expression that is searched in each
    path below the folder: what its first bracket matches, or the whole of it, names the group. Raises DataError on
    images in a folder of unknown name, where only some of the images are in a split, or some in no group.
    """
    found, troubles = find_images([path])
    if not found:
        raise DataError(str(troubles[0]))
    inside = [item.path.relative_to(path) for item in found]
    own_name = path.resolve().name
    places: dict[Path, tuple[str, str]] = {}
    for parent in dict.fromkeys(file.parent for file in inside):
        places[parent] = _place(path / parent, (own_name, *parent.parts), labels)
    notes = left_out(path, [places[file.parent][0] for file in inside], labels)
    found = [item for item, file in zip(found, inside, strict=True) if places[file.parent][0] in labels]
    inside = [file for file in inside if places[file.parent][0] in labels]
    numbers = [labels.index(places[file.parent][0]) for file in inside]
    splits = [_usage(file.name) or places[file.parent][1] for file in inside]
    if "" in splits and any(splits):
        astray = inside[splits.index("")]
        raise DataError(
            f"{path / astray} is in no split while other images of {path} are; "
            "move it below a folder named train, validation or test"
        )
    names = [file.as_posix() for file in inside]
    groups = grouped_by(path, names, group) if group else [""] * len(names)
    images, decided = cropper.crops(path, [Picture(item.name, item.path) for item in found], progress)
    problems = [str(trouble) for trouble in troubles]
    return gather(path, images, numbers, splits, groups, names, problems=problems, notes=[*notes, *decided])


def folder_labels(paths: Iterable[Path]) -> tuple[str, ...]:
    """The names of the outermost folders with images below each path that name no split, as a label set.

    Raises DataError on a path that is no folder, on an image in no such folder, and as `label_set` does.
    """
    names: set[str] = set()
    for path in paths:
        if not path.is_dir():
            raise DataError(f"{path} is no folder, so it names no labels; list the labels instead")
        for item in find_images([path])[0]:
            parts = item.path.relative_to(path).parts[:-1]
            name = next((part for part in parts if not find_split(part)), None)
            if name is None:
                raise DataError(f"{item.path} lies in no folder named by its label; move it into one")
            names.add(name)
    return label_set(names)


def _place(folder: Path, names: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, str]:
    """Label, or expression that is none of the labels, and split (or an empty string) of the images in a folder, by the
    innermost names that say so."""
    words = [(name, known) for known in (labels, LABELS) for name in reversed(names)]
    label = next((found for name, known in words if (found := find_label(name, known))), None)
    split = next((found for name in reversed(names) if (found := find_split(name))), "")
    if label is None:
        unknown = next((name for name in reversed(names) if not find_split(name)), names[-1])
        try:
            label = expression(unknown, labels)
        except DataError as error:
            raise DataError(
                f"{folder} holds images, but {error}; give your own labels if they are not the seven expressions"
            ) from None
    return label, split


def _usage(file_name: str) -> str:
    usage = file_name.partition("_")[0]
    return split_name(usage) if usage in USAGES else ""
