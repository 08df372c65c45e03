"""Everything mien raises on purpose.

MienError                 caught by the command line and printed as one sentence
├── InputError            an image, film or path that cannot be read
│   └── InputErrors       several of these
├── OutputError           a file that cannot be written
├── ModelError            weights or a card that are missing, broken or disagree
├── DataError             a data set that cannot be read or does not say what is needed
├── RecipeError           a recipe with an unknown key or a value out of range
├── FetchError            a download that failed, or was not what it claimed
└── MissingExtraError     a feature whose optional packages are not installed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


class MienError(Exception):
    """Base of every error that is the caller's to mend; its text is one sentence for people."""


class InputError(MienError):
    """An image, film or path that cannot be read."""


class InputErrors(InputError):
    """Several of these, which are its `problems`."""

    def __init__(self, problems: Sequence[MienError]) -> None:
        super().__init__(f"{len(problems)} sources could not be read: " + "; ".join(map(str, problems)))
        self.problems = list(problems)

    @classmethod
    def of(cls, problems: Sequence[MienError]) -> MienError:
        """One error for all of them: itself where there is but one."""
        return problems[0] if len(problems) == 1 else cls(problems)


class OutputError(MienError):
    """A file that cannot be written; `whole` is one that was, where only what belongs beside it failed."""

    def __init__(self, sentence: str, whole: Path | None = None) -> None:
        super().__init__(sentence)
        self.whole = whole


class ModelError(MienError):
    """Weights or a card that are missing, broken or disagree."""


class DataError(MienError):
    """A data set that cannot be read or does not say what is needed."""


class RecipeError(MienError):
    """A recipe with an unknown key or a value out of range."""


class FetchError(MienError):
    """A download that failed, or whose content is not what it claims to be."""


class MissingExtraError(MienError, ImportError):
    """A feature whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs optional packages: pip install "mien[{extra}]"')


def reason(error: Exception) -> str:
    """Why the system or a library refuses, in words that go on a sentence: `no space left on device`."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return words if words[:2].isupper() else words[:1].lower() + words[1:]


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the closest valid word, or nothing when none is close."""
    match = get_close_matches(word, list(valid), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""
