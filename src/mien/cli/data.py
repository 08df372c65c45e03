"""`mien data`: prepares data sets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import complain, out, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from mien.data.prepare import Shares
    from mien.data.prepared import PreparedSet

app = typer.Typer(help="Prepare data sets for training and evaluation.", no_args_is_help=True)


@app.command()
def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="A fer2013.csv(.gz), a folder of folders named by label, or a .parquet file."
        ),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the prepared set.")],
    votes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The FER+ file (fer2013new.csv) of the fer2013.csv given.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of the crops in pixels.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Decides the split of sources that have none.")] = 0,
    split: Annotated[
        str, typer.Option(metavar="A,B,C", help="Shares of train, validation and test where there is no split.")
    ] = "0.8,0.1,0.1",
) -> None:
    """Read face crops in any usual layout and pack them without loss into one folder for training."""
    from mien.data import prepared
    from mien.data.prepare import prepare

    shares = _shares(split)
    prepared.check_target(target)
    with progress("images") as bar:
        tasks = {source: bar.add_task(f"reading {source.name}", total=None) for source in sources}
        result = prepare(
            sources, votes=votes, size=size, seed=seed, shares=shares,
            progress=lambda source, done, of: bar.update(tasks[source], completed=done, total=of),
        )  # fmt: skip
        packing = bar.add_task("packing", total=len(result.data))
        prepared.save(target, result.data, lambda count: bar.advance(packing, count))
    began = time.perf_counter()
    data = prepared.load(target)
    seconds = time.perf_counter() - began
    megabytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 2**20
    out.print(counts_table(data))
    out.print(f"{target}: {len(data):,} images, {megabytes:.1f} MiB, loads in {seconds:.2f} s", highlight=False)
    if result.problems:
        for problem in result.problems:
            complain(problem)
        complain(f"{len(result.problems):,} images could not be read and are missing; all others were written")
        raise typer.Exit(1)


@app.command()
def retake(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A prepared set.")],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the new prepared set.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides sizes, angles and backgrounds.")] = 0,
    detector: Annotated[str | None, typer.Option(help="yunet or haar.")] = None,
    detector_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A YuNet file to use.")] = None,
) -> None:
    """Find and crop every face again as in use, so that training can mix what users' pictures will show."""
    from mien.data import prepared
    from mien.data.retake import retake
    from mien.detect import load_detector

    prepared.check_target(target)
    finder = load_detector(detector, detector_weights, threads=1)
    data = prepared.load(folder)
    with progress("images") as bar:
        taking = bar.add_task(f"retaking with {finder.name}", total=len(data))
        again, found = retake(data, finder, seed=seed, progress=lambda count: bar.advance(taking, count))
        packing = bar.add_task("packing", total=len(again))
        prepared.save(target, again, lambda count: bar.advance(packing, count))
    out.print(f"{target}: {len(again):,} images, {found.mean():.1%} found again; the others stay as they were")


def counts_table(data: PreparedSet) -> Table:
    """Images per label and split, then how many carry each flag."""
    import numpy as np
    from rich.table import Table

    from mien.data.prepare import FLAGS
    from mien.labels import LABELS, SPLITS

    table = Table("", *SPLITS, "all")
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, chosen: NDArray[np.bool_]) -> None:
        counts = [int((chosen & (data.splits == split)).sum()) for split in SPLITS]
        table.add_row(name, *(f"{count:,}" if count else "[dim]0[/]" for count in (*counts, sum(counts))))

    for number, label in enumerate(LABELS):
        add(label, data.labels == number)
    table.add_section()
    add("images", np.ones(len(data), bool))
    if data.votes.any():
        add("with votes", data.votes.max(1) > 0)
    table.add_section()
    for flag in FLAGS:
        add(flag, data.flagged(flag))
    return table


def _shares(text: str) -> Shares:
    try:
        train, validation, test = (float(share) for share in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} should be three shares such as 0.8,0.1,0.1", param_hint="--split") from None
    if min(train, validation, test) < 0 or not abs(train + validation + test - 1) < 1e-6:
        raise typer.BadParameter(f"the shares in {text!r} should be positive and sum to 1", param_hint="--split")
    return train, validation, test
