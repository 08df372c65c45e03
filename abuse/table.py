"""The campaign's table: on the terminal, as Markdown in the page of the documentation, and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from abuse.campaign import Tally

KINDS = {"traceback": "tracebacks", "hang": "hangs", "wrong exit": "wrong exits", "lost data": "lost data"}
_HEAD = ("", "trials", "tried", *KINDS.values(), "minutes")
_MARK = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)


def _rows(tallies: list[Tally]) -> list[tuple[str, ...]]:
    rows = [
        (t.family, f"{t.planned:,}", f"{t.tried:,}", *(str(t.count(kind)) for kind in KINDS), f"{t.seconds / 60:.1f}")
        for t in tallies
    ]
    sums = [sum(column) for column in zip(*([t.planned, t.tried, *map(t.count, KINDS)] for t in tallies), strict=True)]
    return [*rows, ("all", *(f"{n:,}" for n in sums), f"{sum(t.seconds for t in tallies) / 60:.1f}")]


def show(console: Console, tallies: list[Tally]) -> None:
    """Print each finding with how to see it again, then the table."""
    for tally in tallies:
        for note in (*tally.notes, *(f"a trial that went wrong itself: {failed}" for failed in tally.failed)):
            console.print(Text(f"note: {tally.family}: {note}", "yellow"), soft_wrap=True)
        for finding in tally.findings:
            console.print(Text(f"{finding.kind}: {finding.family}/{finding.trial}", "bold red"))
            for line in (finding.detail, finding.command, finding.again):
                console.print(Text(f"    {line}"), soft_wrap=True)
    table = Table(*_HEAD, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in _rows(tallies):
        bad = any(cell not in {"0"} for cell in row[3 : 3 + len(KINDS)])
        table.add_row(*row, style="red" if bad else "")
    console.print(table)


def as_json(tallies: list[Tally], about: dict[str, Any], seed: int) -> str:
    """All that was tried and found."""
    families = [tally.as_dict() for tally in tallies]
    return json.dumps({**about, "seed": seed, "families": families}, indent=2) + "\n"


def put_into(page: Path, tallies: list[Tally], about: dict[str, Any], seed: int) -> None:
    """Replace what stands in a Markdown page between two comments that say where the table is."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|---|" + "---:|" * (len(_HEAD) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(tallies)]
    commit = f"commit `{about['commit']}`" if about["commit"] else "no commit"
    lines += ["", f"{about['date'][:10]}, {commit}, seed {seed}, {about['machine']}."]
    found = [finding for tally in tallies for finding in tally.findings]
    lines += ["", "What was found:" if found else "Nothing was found.", ""] if found else ["", "Nothing was found."]
    lines += [f"- {f.kind}, `{f.family}/{f.trial}`: {_one_line(f.detail)}" for f in found]
    text = page.read_text("utf-8")
    new = _MARK.sub(lambda mark: mark[1] + "\n".join(lines) + "\n" + mark[2], text)
    page.write_text(new, encoding="utf-8")


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]
