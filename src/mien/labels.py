"""The seven expressions in their one order, and other data sets' names and numbers for them."""

from __future__ import annotations

from mien.errors import DataError, did_you_mean

LABELS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

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


def find_label(name: str) -> str | None:
    """Our name for another data set's, or None when it names no expression of ours."""
    return _SYNONYMS.get(name.strip().lower())


def expression(name: str) -> str:
    """Our name for another data set's (`Anger` -> `angry`); raises DataError on one that we do not know."""
    found = find_label(name)
    if found is None:
        raise DataError(
            f"{name!r} is not an expression{did_you_mean(name.lower(), _SYNONYMS)}; known are {', '.join(LABELS)}"
        )
    return found


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
