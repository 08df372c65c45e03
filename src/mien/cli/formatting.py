"""How results look on a terminal: bars, names, tables."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mien.cli.console import out

_BAR = 10


def bar(label: str, share: float, labels: tuple[str, ...]) -> tuple[Text, Text]:
    """An expression's name and a bar with its probability, in its colour among `labels`."""
    from mien.drawing.annotate import colours

    colour = "rgb({},{},{})".format(*colours(labels)[label])
    full, empty = ("#", ".") if out.options.ascii_only else ("█", "░")
    filled = round(share * _BAR)
    return Text(label, colour), Text.assemble(
        (full * filled, colour), (empty * (_BAR - filled), "dim"), f" {share:4.0%}"
    )


def printed(table: Table) -> None:
    """Print a table to standard output; whole where there is no terminal with a width to keep to."""
    if out.is_terminal:
        out.print(table)
    else:
        natural = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
        Console(file=out.file, width=natural).print(table)


def counted(number: int, thing: str, many: str = "") -> str:
    """`1 face`, `2 faces`; `many` is the plural where it is irregular."""
    return f"{number:,} {thing if number == 1 else many or f'{thing}s'}"
