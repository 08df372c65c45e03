"""A trial: something that is done to `mien`, and what was wrong with how that ended."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abuse.children import Child, Ended

Kind = Literal["traceback", "hang", "wrong exit", "lost data"]
Expected = Literal["well", "refused", "either"]


class Skipped(Exception):
    """This machine has not what the trial needs."""


@dataclass(frozen=True)
class Fault:
    """One thing that was wrong, in a sentence."""

    kind: Kind
    detail: str


@dataclass
class Bench:
    """What a trial works with: a folder of its own, random numbers of its own, and a process that runs `mien`."""

    name: str
    seed: int
    child: Child
    folder: Path
    commands: list[list[str]] = field(default_factory=list)

    @cached_property
    def random(self) -> np.random.Generator:
        """Depends on the seed and the trial's name alone."""
        digest = hashlib.blake2b(f"{self.seed} {self.name}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))

    def mien(self, *words: object, **how: object) -> Ended:
        """`mien WORDS...` in the trial's folder; `how` is as in `Child.run`."""
        self.commands.append(list(map(str, words)))
        return self.child.run(list(map(str, words)), self.folder, **how)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trial:
    """`attempt` gives the faults that it found. What is in `alone` takes all of the machine, as what is timed does."""

    name: str
    attempt: Callable[..., list[Fault]]
    alone: bool = False


def judged(ended: Ended, expected: Expected = "either", what: str = "") -> list[Fault]:
    """What is wrong with how a command ended: it hung, crashed, or its exit code and its words disagree."""
    about = f"{what}: " if what else ""
    if ended.hung:
        return [Fault("hang", f"{about}did not end within {ended.limit:g} s; {ended.last_words}")]
    if "Traceback (most recent call last)" in ended.err or ended.signal:
        return [Fault("traceback", f"{about}{f'signal {ended.signal}; ' if ended.signal else ''}{ended.last_words}")]
    if ended.code not in {0, 1, 2, 130}:
        return [Fault("wrong exit", f"{about}exit code {ended.code}; {ended.last_words}")]
    explained = "error:" in ended.err or "Error" in ended.err or "Usage:" in ended.out + ended.err
    if ended.code and not explained:
        return [Fault("wrong exit", f"{about}exit code {ended.code} without a word")]
    if not ended.code and "error:" in ended.err:
        return [Fault("wrong exit", f"{about}exit code 0 in spite of: {ended.last_words}")]
    if expected == "refused" and not ended.code:
        return [Fault("wrong exit", f"{about}exit code 0, but this cannot have gone well")]
    if expected == "well" and ended.code:
        return [Fault("wrong exit", f"{about}exit code {ended.code}, but nothing was wrong: {ended.last_words}")]
    return []


def photograph(side: int = 256) -> NDArray[np.uint8]:
    """A public-domain photograph with one smiling face, `(side, side, 3)` uint8 RGB."""
    import cv2
    from skimage import data

    return np.asarray(cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def spread(trials: Sequence[Trial], every: int) -> list[Trial]:
    """Every N-th trial, of as many kinds as possible: kinds, which are names without their last number, take turns."""
    if every == 1:
        return list(trials)
    kinds: dict[str, list[Trial]] = {}
    for trial in trials:
        kinds.setdefault(trial.name.rstrip("0123456789"), []).append(trial)
    places = {id(trial): (k, name) for name, group in kinds.items() for k, trial in enumerate(group)}
    return sorted(trials, key=lambda trial: places[id(trial)])[::every]


def fresh_folder(inside: Path) -> Path:
    """A new, empty folder."""
    return Path(tempfile.mkdtemp(dir=inside))


def remove(folder: Path) -> None:
    """Delete a trial's folder with whatever is in it."""
    shutil.rmtree(folder, ignore_errors=True)
