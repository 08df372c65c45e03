"""Runs the trials of the families that are asked for, several at a time, and keeps count."""

from __future__ import annotations

import random
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

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
    """What became of a family: how many trials there are, how many of them were tried, and what was found."""

    family: str
    planned: int = 0
    tried: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many trials showed a fault of that kind."""
        return len({finding.trial for finding in self.findings if finding.kind == kind})

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 1)}


Progress = Callable[[Tally, list[Finding]], object]
"""Called after each trial, with what it found."""


def run(
    families: Iterable[str],
    *,
    seed: int = 0,
    every: int = 1,
    only: str = "",
    seconds: float | None = None,
    workers: int = 2,
    progress: Progress = lambda tally, found: None,
) -> Iterator[Tally]:
    """Run families one after another. `only` picks trials whose names begin so; of each family every N-th trial is
    tried, and no more than fit into its part of the `seconds`."""
    wanted = list(families)
    with tempfile.TemporaryDirectory(prefix="mien-abuse-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        shim = compiled(folder)
        children = [stack.enter_context(Child(folder / f"child-{k}", shim)) for k in range(workers)]
        stage = Stage(folder / "stage", children[0], shim is not None, only)
        began = time.monotonic()
        for k, family in enumerate(wanted):
            now = time.monotonic()
            tally = Tally(family)
            trials = [trial for trial in FAMILIES[family].trials(stage) if trial.name.startswith(only)]
            tally.notes = stage.take_notes()
            tally.planned = len(trials)
            chosen = spread(trials, every)
            if seconds is not None:  # those that there is no time for are no certain kind
                random.Random(seed).shuffle(chosen)
            deadline = None if seconds is None else now + (began + seconds - now) / (len(wanted) - k)
            for crowd, alone in ((children, False), (children[:1], True)):
                group = [trial for trial in chosen if trial.alone == alone]
                _try_all(group, tally, crowd, folder, seed, deadline, progress)
            tally.seconds = time.monotonic() - now
            tally.findings.sort(key=lambda finding: finding.trial)
            yield tally


def _try_all(
    trials: list[Trial], tally: Tally, children: list[Child], folder: Path, seed: int, deadline: float | None,
    progress: Progress,
) -> None:  # fmt: skip
    waiting: SimpleQueue[Trial] = SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    lock, broken = threading.Lock(), list[BaseException]()

    def work(child: Child) -> None:
        while not broken and (deadline is None or time.monotonic() < deadline):
            try:
                trial = waiting.get_nowait()
            except Empty:
                return
            place = fresh_folder(folder)
            bench = Bench(trial.name, seed, child, place)
            try:
                found = trial.attempt(bench)
            except Skipped as reason:
                with lock:
                    tally.skipped.append(f"{trial.name}: {reason}")
                continue
            except BaseException as error:  # noqa: BLE001 - raised below, in the main thread
                error.add_note(f"in the trial {tally.family}/{trial.name} with seed {seed}")
                broken.append(error)
                return
            finally:
                remove(place)
            with lock:
                tally.tried += 1
                new = [_finding(tally.family, bench, fault) for fault in found]
                tally.findings += new
                progress(tally, new)

    threads = [threading.Thread(target=work, args=(child,)) for child in children[: max(len(trials), 1)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]


def _finding(family: str, bench: Bench, fault: Fault) -> Finding:
    command = shlex.join(["mien", *(_short(word) for word in bench.commands[-1])]) if bench.commands else ""
    detail = fault.detail.replace(f"{bench.folder}/", "")
    again = f"python -m abuse --seed {bench.seed} --only {family}/{bench.name}"
    return Finding(family, bench.name, fault.kind, detail, command.replace(f"{bench.folder}/", ""), again)


def _short(word: str) -> str:
    return word if len(word) <= 80 else f"{word[:40]}...({len(word)} characters)"
