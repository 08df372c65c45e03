"""Runs the trials of the families that are asked for, several at a time, and keeps count."""

from __future__ import annotations

import random
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Self

from abuse import clients, faults, films, images, kills, options
from abuse.children import Child
from abuse.shim import compiled
from abuse.trial import Bench, Fault, Skipped, Trial, fresh_folder, remove, spread
from abuse.writers import Stage


@dataclass(frozen=True)
class Family:
    """`trials` gives all of a family's trials, from a `Stage`, which shows what undisturbed commands do."""

    about: str
    trials: Callable[[Stage], Iterable[Trial]]


FAMILIES: dict[str, Family] = {
    "images": Family(images.__doc__ or "", images.trials),
    "films": Family(films.__doc__ or "", films.trials),
    "options": Family(options.__doc__ or "", options.trials),
    "faults": Family(faults.__doc__ or "", faults.trials),
    "kills": Family(kills.__doc__ or "", kills.trials),
    "clients": Family(clients.__doc__ or "", clients.trials),
}
"""In the order in which they run, and stand in the table."""


@dataclass(frozen=True)
class Finding:
    """A fault, and how to see it again."""

    family: str
    trial: str
    kind: str
    detail: str
    command: str
    again: str


@dataclass
class Tally:
    """What became of a family: how many trials there are, how many of them were tried, and what was found.

    skipped   trials that this machine has not the means for, and why
    failed    trials that went wrong themselves, and how
    notes     what else there is to say
    """

    family: str
    planned: int = 0
    tried: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many trials showed a fault of that kind."""
        return len({finding.trial for finding in self.findings if finding.kind == kind})

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 1)}


Progress = Callable[[Tally, list[Finding]], object]
"""Called after each trial, with what it found."""


class Campaign:
    """A context manager that holds the processes in which trials run, `workers` at the same time."""

    def __init__(self, *, seed: int = 0, workers: int = 2) -> None:
        self._seed, self._workers = seed, workers
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        name = self._stack.enter_context(TemporaryDirectory(prefix="mien-abuse-", ignore_cleanup_errors=True))
        self._folder = Path(name)
        self._trials = self._folder / "trials" / "a" / "b"  # so deep that ../../.. of one leads to others alone
        self._trials.mkdir(parents=True)
        shim = compiled(self._folder)
        self._children = [
            self._stack.enter_context(Child(self._folder / f"child-{k}", shim)) for k in range(self._workers)
        ]
        self._stage = Stage(self._folder / "stage", self._children[0], shim is not None)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(
        self,
        family: str,
        *,
        only: str = "",
        every: int = 1,
        seconds: float | None = None,
        progress: Progress = lambda tally, found: None,
    ) -> Tally:
        """Try what is in a family: trials whose names begin with `only`, of them every N-th, and no more than fit into
        the `seconds`."""
        began = time.monotonic()
        tally = Tally(family)
        self._stage.only = only
        trials = [trial for trial in FAMILIES[family].trials(self._stage) if trial.name.startswith(only)]
        tally.notes = self._stage.take_notes()
        tally.planned = len(trials)
        chosen = spread(trials, every)
        if seconds is not None:  # those that there is no time for are no certain kind
            random.Random(self._seed).shuffle(chosen)
        deadline = None if seconds is None else began + seconds
        slow: list[Trial] = []
        for crowd, alone in ((self._children, False), (self._children[:1], True)):
            some = [trial for trial in chosen if trial.alone == alone]
            slow += self._try(some, tally, crowd, deadline, progress)
        # What hangs, hangs again when nothing else runs; what was slow beside the others does not.
        self._try(slow, tally, self._children[:1], None, progress, last=True)
        tally.seconds = time.monotonic() - began
        tally.findings.sort(key=lambda finding: finding.trial)
        return tally

    def _try(
        self, trials: list[Trial], tally: Tally, children: list[Child], deadline: float | None, progress: Progress,
        *, last: bool = False,
    ) -> list[Trial]:  # fmt: skip
        """Those that hung, and have to be tried again, unless it is the `last` time."""
        slow: list[Trial] = []
        waiting: SimpleQueue[Trial] = SimpleQueue()
        for trial in trials:
            waiting.put(trial)
        lock = threading.Lock()

        def work(child: Child) -> None:
            while deadline is None or time.monotonic() < deadline:
                try:
                    trial = waiting.get_nowait()
                except Empty:
                    return
                bench = Bench(trial.name, self._seed, child, fresh_folder(self._trials))
                try:
                    faults = trial.attempt(bench)
                except Skipped as reason:
                    with lock:
                        tally.skipped.append(f"{trial.name}: {reason}")
                    continue
                except Exception as error:  # noqa: BLE001 - one bad trial must not end an hour's run; it is told
                    with lock:
                        tally.failed.append(f"{trial.name}: {type(error).__name__}: {error}")
                    continue
                finally:
                    remove(bench.folder)
                if not last and any(fault.kind == "hang" for fault in faults):
                    slow.append(trial)
                    continue
                with lock:
                    tally.tried += 1
                    found = [_finding(tally.family, bench, fault) for fault in faults]
                    tally.findings += found
                    progress(tally, found)

        threads = [threading.Thread(target=work, args=(child,)) for child in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return slow


def _finding(family: str, bench: Bench, fault: Fault) -> Finding:
    command = shlex.join(["mien", *(_short(word) for word in bench.commands[-1])]) if bench.commands else ""
    detail = fault.detail.replace(f"{bench.folder}/", "")
    again = f"python -m abuse --seed {bench.seed} --only {family}/{bench.name}"
    return Finding(family, bench.name, fault.kind, detail, command.replace(f"{bench.folder}/", ""), again)


def _short(word: str) -> str:
    return word if len(word) <= 80 else f"{word[:40]}...({len(word)} characters)"
