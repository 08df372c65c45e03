"""Reads expression data sets in the layouts in which their authors hand them out.

AffectNet (Mollahosseini et al. 2017; both editions), RAF-DB (Li et al. 2017), ExpW (Zhang et al. 2018), CK+ (Lucey et
al. 2010), JAFFE (Lyons et al. 1998), SFEW 2.0 (Dhall et al. 2011). All of them are for research under terms of their
own; whoever has the rights to one gives its folder as it was unpacked.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.data.readers.pictures import Box, Cropper, Picture
from mien.data.readers.rows import Progress, Rows, gather, grouped_by, left_out, silent
from mien.errors import DataError, reason
from mien.labels import LABELS, find_label

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")

AFFECTNET = (
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt", "none", "uncertain", "no face",
)  # fmt: skip
RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
"""From 1 up."""
EXPW = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CK = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
JAFFE = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"}
_JAFFE_NAME = re.compile(r"([A-Z]{2})[.-](AN|DI|FE|HA|NE|SA|SU)\d[.-]\d+\.\w+", re.IGNORECASE)
_PEAKS = 3
"""Frames at the end of a sequence of CK+ that show its expression; the first is neutral. That is how it is used."""


@dataclass(frozen=True)
class Item:
    """A face of an official data set: its picture, label in our words where we have one, split and person, empty where
    unknown, and valence and arousal in -1..1, NaN where unknown."""

    picture: Picture
    label: str
    split: str = ""
    person: str = ""
    affect: tuple[float, float] = (float("nan"), float("nan"))


def read_official(
    path: Path, cropper: Cropper, progress: Progress = silent, *, group: str | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Rows | None:  # fmt: skip
    """Read a folder in one of the official layouts; None where it is in none of them.

    Labels that are none of `labels` are left out. `group` is a pattern for paths, as for other folders; without it
    people go by the layout, where it says who they are. Raises DataError on a malformed list.
    """
    for name, layout in _LAYOUTS.items():
        found = layout(path)
        if found is None:
            continue
        try:
            items = sorted(found, key=lambda item: item.picture.name)
        except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError, KeyError) as error:
            raise DataError(f"{path} looks like {name}, but cannot be read: {reason(error)}") from None
        names = [find_label(item.label, labels) or item.label for item in items]
        notes = [f"{path}: read as {name}", *left_out(path, names, labels)]
        kept = [i for i, label in enumerate(names) if label in labels]
        items = [items[i] for i in kept]
        pictures = [item.picture for item in items]
        sources = [picture.name.removeprefix(f"{path}/") for picture in pictures]
        people = grouped_by(path, sources, group) if group else [item.person for item in items]
        images, decided = cropper.crops(path, pictures, progress)
        return gather(
            path, images, [labels.index(names[i]) for i in kept], [item.split for item in items], people, sources,
            notes=[*notes, *decided], affect=np.array([item.affect for item in items], np.float32).reshape(-1, 2),
        )  # fmt: skip
    return None


def _affectnet_tables(path: Path) -> Iterator[Item] | None:
    """2017: tables of file, face, points, number of the expression, valence and arousal; -2 is no value."""
    lists = _first(path, "Manually_Annotated_file_lists", "")
    tables = {split: lists / f"{split}.csv" for split in ("training", "validation")} if lists else {}
    tables = {split: table for split, table in tables.items() if table.is_file()}
    pictures = _first(path, "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
    if not tables or pictures is None:
        return None

    def items() -> Iterator[Item]:
        for split, table in tables.items():
            with table.open(newline="", encoding="utf-8-sig") as file:
                for row in csv.DictReader(file):
                    place = pictures / row["subDirectory_filePath"]
                    x, y, width, height = (round(float(row[f"face_{name}"])) for name in ("x", "y", "width", "height"))
                    affect = (float(row["valence"]), float(row["arousal"]))
                    yield Item(
                        _picture(place, (x, y, x + width, y + height)), AFFECTNET[int(row["expression"])],
                        "train" if split == "training" else split, affect=affect if min(affect) >= -1 else _UNKNOWN,
                    )  # fmt: skip

    return items()


def _affectnet_arrays(path: Path) -> Iterator[Item] | None:
    """2021: folders of crops, and for each a file with one number for the expression, the valence and the arousal."""
    parts = {split: path / name for split, name in (("train", "train_set"), ("validation", "val_set"))}
    parts = {split: part for split, part in parts.items() if (part / "annotations").is_dir()}
    if not parts:
        return None

    def number(file: Path) -> float:
        return float(np.load(file, allow_pickle=False))

    def items() -> Iterator[Item]:
        for split, part in parts.items():
            for file in (part / "annotations").glob("*_exp.npy"):
                stem = file.name.removesuffix("_exp.npy")
                affect = tuple(
                    number(beside) if (beside := file.with_name(f"{stem}_{kind}.npy")).is_file() else float("nan")
                    for kind in ("val", "aro")
                )
                label = AFFECTNET[int(number(file))]
                yield Item(_picture(part / "images" / f"{stem}.jpg"), label, split, affect=(affect[0], affect[1]))

    return items()


def _raf_db(path: Path) -> Iterator[Item] | None:
    """A list of file and number; of the pictures the aligned ones, where they are there."""
    lists = _first(path, "EmoLabel", "basic/EmoLabel")
    listed = (lists or path) / "list_patition_label.txt"  # so it is spelled
    if lists is None or not listed.is_file():
        return None
    root, aligned = lists.parent, (lists.parent / "Image" / "aligned").is_dir()

    def items() -> Iterator[Item]:
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.strip():
                name, number = line.split()
                file = f"aligned/{Path(name).stem}_aligned.jpg" if aligned else f"original/{name}"
                yield Item(_picture(root / "Image" / file), _counted(RAF_DB, int(number) - 1), name.partition("_")[0])

    return items()


def _expw(path: Path) -> Iterator[Item] | None:
    """A list of file, number of the face in it, top, left, right and bottom of its box, confidence, expression."""
    listed = next(
        (file for place in ("", "label", "data/label") if (file := path / place / "label.lst").is_file()), None
    )
    pictures = _first(path, "image/origin", "origin", "data/image/origin", "data/image", "image")
    if listed is None or pictures is None:
        return None

    def items() -> Iterator[Item]:
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.strip():
                name, _, top, left, right, bottom, _, number = line.split()
                box = (int(left), int(top), int(right), int(bottom))
                yield Item(_picture(pictures / name, box), _counted(EXPW, int(number)))

    return items()


def _ck(path: Path) -> Iterator[Item] | None:
    """Folders of frames by person and sequence, and beside them files that hold the sequence's number."""
    frames = _first(path, "cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
    numbers = _first(path, "Emotion", "Emotion_labels/Emotion")
    if frames is None or numbers is None:
        return None

    def items() -> Iterator[Item]:
        for file in numbers.glob("*/*/*_emotion.txt"):
            person, sequence = file.parts[-3:-1]
            label = _counted(CK, int(float(file.read_text(encoding="utf-8"))))
            shown = sorted(one for one in (frames / person / sequence).iterdir() if one.suffix.lower() in _SUFFIXES)
            for frame in shown[1:][-_PEAKS:]:
                yield Item(_picture(frame), label, person=person)
            if shown:
                yield Item(_picture(shown[0]), "neutral", person=person)

    return items()


def _jaffe(path: Path) -> Iterator[Item] | None:
    """Files named by person, expression and number: `KA.AN1.39.tiff`."""
    root = _first(path, "jaffe", "jaffedbase", "")
    files = [one for one in root.iterdir() if one.suffix.lower() in _SUFFIXES] if root else []
    names = [_JAFFE_NAME.fullmatch(one.name) for one in files]
    if not files or not all(names):
        return None
    return (
        Item(_picture(file), JAFFE[name[2].upper()], person=name[1].upper())
        for file, name in zip(files, names, strict=True)
        if name
    )


def _sfew(path: Path) -> Iterator[Item] | None:
    """Folders of aligned faces by label, one for each split; those of the test split carry no labels."""
    parts = {
        split: found
        for split, name in (("train", "Train"), ("validation", "Val"))
        if (found := _first(path, f"{name}_Aligned_Faces/{name}_Aligned_Faces", f"{name}_Aligned_Faces"))
    }
    if not parts:
        return None
    return (
        Item(_picture(file), file.parent.name, split)
        for split, part in parts.items()
        for file in part.glob("*/*")
        if file.suffix.lower() in _SUFFIXES
    )


_UNKNOWN = (float("nan"), float("nan"))
_LAYOUTS: dict[str, Callable[[Path], Iterator[Item] | None]] = {
    "AffectNet of 2017": _affectnet_tables,
    "AffectNet of 2021": _affectnet_arrays,
    "RAF-DB": _raf_db,
    "ExpW": _expw,
    "CK+": _ck,
    "JAFFE": _jaffe,
    "SFEW": _sfew,
}


def _first(path: Path, *places: str) -> Path | None:
    """The first of these folders below `path` that is there."""
    return next((path / place for place in places if (path / place).is_dir()), None)


def _counted(names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise ValueError(f"{number} is no number of an expression")
    return names[number]


def _picture(file: Path, box: Box | None = None) -> Picture:
    """Named after its file, and its face, where there may be several."""
    return Picture(str(file) if box is None else f"{file}:{box[0]},{box[1]}", file, box)
