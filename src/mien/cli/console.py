"""Where the verbs print: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

out = Console()
err = Console(stderr=True)
_quiet = False


def be_quiet(quiet: bool) -> None:
    """Whether to show neither progress nor notes from now on."""
    global _quiet
    _quiet = quiet


def shows_progress() -> bool:
    """Whether bars are drawn: on a terminal, unless quiet is asked for. A notebook's `!` claims to be one, and would
    keep every state of a bar as a line of its own."""
    in_notebook = any(name in os.environ for name in ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"))
    return err.is_terminal and not _quiet and not in_notebook


def progress(unit: str = "") -> Progress:
    """A bar with count, elapsed time and ETA on standard error; silent where `shows_progress` says so."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
        disable=not shows_progress(),
    )  # fmt: skip


@contextmanager
def stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """Bars for a long call: gives a function to call with a stage in words, how much is done, and of how much."""
    with progress() as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, of: int | None) -> None:
            if stage not in tasks:
                for task in tasks.values():  # those before are over
                    bars.update(task, visible=False)
                tasks[stage] = bars.add_task(stage, total=of)
            bars.update(tasks[stage], completed=done, total=of)

        yield show


def complain(sentence: str) -> None:
    """One line on standard error that says what failed."""
    err.print(f"[bold red]error:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True)


def note(sentence: str) -> None:
    """One line on standard error that says something worth knowing."""
    if _quiet:
        return
    err.print(f"[yellow]note:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
