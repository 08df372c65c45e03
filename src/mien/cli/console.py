"""Where the verbs print: results on standard output, everything else on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console()
err = Console(stderr=True)


def progress(unit: str = "") -> Progress:
    """A bar with count, elapsed time and ETA on standard error; silent where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), console=err, transient=True,
        disable=not err.is_terminal,
    )  # fmt: skip


def complain(sentence: str) -> None:
    """One line on standard error that says what failed."""
    err.print(f"[bold red]error:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True)


def note(sentence: str) -> None:
    """One line on standard error that says something worth knowing."""
    err.print(f"[yellow]note:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
