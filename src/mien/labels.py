"""The seven expressions in their one order, other data sets' names and numbers for them, and labels of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mien.errors import DataError, did_you_mean

LABELS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

UNCERTAIN = "uncertain"
"""What a face is called whose most likely label is not likely enough, or that has not been classified."""

#: `emotion` in fer2013.csv: 0 Angry, 1 Disgust, 2 Fear, 3 Happy, 4 Sad, 5 Surprise, 6 Neutral.
FER2013_ORDER: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: Vote columns of fer2013new.csv (FER+), in the file's order, by our names.
FERPLUS_COLUMNS: tuple[str, ...] = (
    "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "no face",
)  # fmt: skip

#: What the vote head predicts: our seven, then contempt, which FER+ has and FER2013 has not.
VOTE_LABELS: tuple[str, ...] = (*LABELS, "contempt")

_SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "angry": "angry",
    "disgust": "disgust",
    "disgusted": "disgust",
    "afraid": "fear",
    "fear": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "happy": "happy",
    "joy": "happy",
    "neutral": "neutral",
    "calm": "neutral",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprise",
    "surprised": "surprise",
}

_SPLITS: dict[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}

SPLITS: tuple[str, ...] = ("train", "validation", "test")

#: What no label can be called: words that tables, films and folders use for something else.
RESERVED: frozenset[str] = frozenset(
    (
        "uncertain", "source", "frame", "time_s", "id", "detector", "model", "x1", "y1", "x2", "y2", "score", "label",
        "confidence", "quality", "right_eye_x", "right_eye_y", "left_eye_x", "left_eye_y", "nose_x", "nose_y",
        "right_mouth_x", "right_mouth_y", "left_mouth_x", "left_mouth_y", *_SPLITS,
    )
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,19}")
MAX_LABELS = 32


def label_set(names: Iterable[str]) -> tuple[str, ...]:
    """Labels of one's own in the order that they have everywhere: ours first, in ours, then the others by the
    alphabet. `Open Mouth` becomes `open_mouth`. Raises DataError as `check_labels` does."""
    labels = [_plain(name) for name in names]
    check_labels(labels)
    return ordered(labels)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Ours first, in our order, then the others by the alphabet, so that equal sets are equal tuples."""
    return tuple(sorted(labels, key=lambda label: (LABELS.index(label) if label in LABELS else len(LABELS), label)))


def check_labels(labels: Sequence[str]) -> None:
    """Raises DataError on fewer than two labels or more than `MAX_LABELS`, one that is there twice, and a name that is
    reserved or cannot be a column of a table and a word on a picture alike."""
    for label in labels:
        if not _NAME.fullmatch(label):
            raise DataError(
                f"{label!r} is no name for a label; use up to 20 of the characters a-z 0-9 _ -, a letter or digit first"
            )
        if label in RESERVED or label.startswith("raw_"):
            raise DataError(f"{label!r} is no name for a label, since it means something else here; choose another")
        if labels.count(label) > 1:
            raise DataError(f"the label {label!r} is there twice; every label should be named once")
    if not 2 <= len(labels) <= MAX_LABELS:
        raise DataError(f"a set has 2 to {MAX_LABELS} labels, not {len(labels)} ({', '.join(labels[:3]) or 'none'})")


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().split())


def find_label(name: str, labels: Sequence[str] = LABELS) -> str | None:
    """Which of the labels a data set's name means, by its own word or by any for an expression of ours; or None."""
    plain = _plain(name)
    ours = plain if plain in labels else _SYNONYMS.get(plain)
    return ours if ours in labels else None


def expression(name: str, labels: Sequence[str] = LABELS) -> str:
    """The label that a data set's name means (`Anger` -> `angry`), or the one of our seven that is not among `labels`;
    raises DataError on a name that is neither."""
    found = find_label(name, labels) or find_label(name)
    if found is not None:
        return found
    if labels == LABELS:
        raise DataError(
            f"{name!r} is not an expression{did_you_mean(name.lower(), _SYNONYMS)}; known are {', '.join(LABELS)}"
        )
    hint = did_you_mean(_plain(name), [*labels, *_SYNONYMS])
    raise DataError(f"{name!r} is none of the labels{hint}; they are {', '.join(labels)}")


def find_split(name: str) -> str | None:
    """`train`, `validation` or `test` for any of their usual names (`PublicTest` is validation), or None."""
    return _SPLITS.get(name.strip().lower())


def split(name: str) -> str:
    """As `find_split`; raises DataError on a name that is no split."""
    found = find_split(name)
    if found is None:
        raise DataError(
            f"{name!r} is not a split{did_you_mean(name.lower(), _SPLITS)}; "
            "use train, validation (FER2013's PublicTest) or test (PrivateTest)"
        )
    return found
