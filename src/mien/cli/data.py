"""`mien data`: fetches, prepares and audits data sets."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import complain, note, out, progress, stages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from mien.data.auditing.findings import Audit
    from mien.data.prepared import PreparedSet

app = typer.Typer(help="Fetch, prepare and audit data sets for training and evaluation.", no_args_is_help=True)

_LISTED = 20
"""Missing images that are named one by one."""


@app.command()
def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="A fer2013.csv(.gz), a folder of folders named by label, a .parquet file, or the folder of AffectNet, "
            "RAF-DB, ExpW, CK+, JAFFE or SFEW as its authors hand it out.",
        ),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the prepared set.")],
    votes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The FER+ file (fer2013new.csv) of the fer2013.csv given.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|folders",
            help="Labels of your own instead of the seven expressions: their names, or those of the folders.",
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of the crops in pixels.")] = 48,
    faces: Annotated[
        str,
        typer.Option(
            metavar="auto|crop|photo",
            help="Take pictures whole (crop), or find the largest face in each and crop it (photo).",
        ),
    ] = "auto",
    split: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Split at random into these shares of train, validation and test; without it only what has no split "
            "of its own, into 0.8,0.1,0.1.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|PATTERN",
            help="Split by people: the table's column that names them, or a regular expression that finds them in "
            r"paths, such as '^S\d+' or '/([^/_]+)_'. Nobody is then in two splits.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the split.")] = 0,
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Remove training images that repeat, or are in validation or test too."),
    ] = False,
    detector: Annotated[str | None, typer.Option(help="What finds faces in photographs: mien, yunet or haar.")] = None,
    detector_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A detector's file to use.")] = None,
) -> None:
    """Read pictures in any usual layout and pack the face crops without loss into one folder for training.

    A run that was interrupted while it searched for faces continues there when it is started again.
    """
    import mien.data
    from mien.data import prepared

    with stages() as progress:
        result = mien.data.prepare(
            sources, target, votes=votes, labels=_labels(labels), size=size, faces=faces,
            split=_shares(split) if split else None, group=group, seed=seed, dedupe=dedupe, detector=detector,
            detector_weights=detector_weights, progress=progress,
        )  # fmt: skip
    began = time.perf_counter()
    data = prepared.load(target)
    seconds = time.perf_counter() - began
    megabytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 2**20
    out.print(counts_table(data))
    for sentence in result.notes:
        _say(sentence)
    _say(f"{target}: {len(data):,} images, {megabytes:.1f} MiB, loads in {seconds:.2f} s")
    if result.problems:
        for problem in result.problems[:_LISTED]:
            complain(problem)
        more = f"; all are in {target / 'problems.txt'}" if len(result.problems) > _LISTED else ""
        complain(f"{len(result.problems):,} images could not be used and are missing{more}; all others were written")
        raise typer.Exit(1)


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A prepared set.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with the pictures.")] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all findings with their rows.")
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Search every image for a face, which takes a minute or more.")
    ] = False,
    detector: Annotated[str | None, typer.Option(help="What finds the faces: mien, yunet or haar.")] = None,
    detector_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A detector's file to use.")] = None,
) -> None:
    """Find copies, leaks between splits, contradicting labels, blank images and images without a face."""
    import mien.data

    with stages() as progress:
        found = mien.data.audit(
            folder, faces=faces, html=html, json=as_json, detector=detector, detector_weights=detector_weights,
            progress=progress,
        )  # fmt: skip
    out.print(balance_table(found))
    out.print(findings_table(found))
    for path in filter(None, (html, as_json)):
        note(f"wrote {path}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="fer2013.")],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the file.")] = Path("fer2013"),
) -> None:
    """Download FER2013 from Kaggle with your own account, and print where it lies."""
    from mien.data.kaggle import fetch_fer2013
    from mien.errors import DataError, did_you_mean

    if name != "fer2013":
        raise DataError(f"no data set {name!r} to fetch{did_you_mean(name, ['fer2013'])}; there is fer2013")
    path = fetch_fer2013(target)
    print(path)
    note(f"next: mien data prepare {shlex.quote(str(path))} --out sets/fer2013")


@app.command("recrop")
def recrop_set(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A prepared set.")],
    target: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the new prepared set.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides sizes, angles and backgrounds.")] = 0,
    detector: Annotated[str | None, typer.Option(help="mien, yunet or haar.")] = None,
    detector_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A detector's file to use.")] = None,
) -> None:
    """Find and crop every face again as in use, so that training can mix what users' pictures will show."""
    from mien.data import prepared
    from mien.data.recrop import recrop
    from mien.vision.detect import load_detector

    prepared.check_target(target)
    finder = load_detector(detector, detector_weights, threads=1)
    data = prepared.load(folder)
    with progress("images") as bar:
        cropping = bar.add_task(f"cropping with {finder.name}", total=len(data))
        again, found = recrop(data, finder, seed=seed, progress=lambda count: bar.advance(cropping, count))
        packing = bar.add_task("packing", total=len(again))
        prepared.save(target, again, lambda count: bar.advance(packing, count))
    out.print(f"{target}: {len(again):,} images, {found.mean():.1%} found again; the others stay as they were")


def counts_table(data: PreparedSet) -> Table:
    """Images per label and split, then how many carry each flag."""
    import numpy as np
    from rich.table import Table

    from mien.data.preparation import FLAGS
    from mien.labels import SPLITS

    table = Table("", *SPLITS, "all")
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, chosen: NDArray[np.bool_]) -> None:
        counts = [int((chosen & (data.splits == split)).sum()) for split in SPLITS]
        table.add_row(name, *(f"{count:,}" if count else "[dim]0[/]" for count in (*counts, sum(counts))))

    for number, label in enumerate(data.label_names):
        add(label, data.labels == number)
    table.add_section()
    add("images", np.ones(len(data), bool))
    if data.votes.any():
        add("with votes", data.votes.max(1) > 0)
    table.add_section()
    for flag in FLAGS:
        add(flag, data.flagged(flag))
    return table


def balance_table(found: Audit) -> Table:
    """Images per label and split, with their share of the split."""
    from rich.table import Table

    from mien.labels import SPLITS

    balance = found.balance
    sums = balance.sum(1)
    table = Table("", *(split for split, total in zip(SPLITS, sums, strict=True) if total))
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in zip(found.data.label_names, balance.T.tolist(), strict=True):
        cells = zip(row, sums.tolist(), strict=True)
        table.add_row(label, *(f"{n:,} [dim]{n / s:6.1%}[/]" if n else "[red]none[/]" for n, s in cells if s))
    table.add_section()
    table.add_row("images", *(f"{total:,} [dim]{1:6.0%}[/]" for total in sums.tolist() if total))
    return table


def findings_table(found: Audit) -> Table:
    """One row per kind of finding: how many, and of what."""
    from rich.table import Table

    table = Table("finding", "", "")
    table.columns[1].justify = "right"

    def add(name: str, count: int, unit: str, detail: str = "") -> None:
        style = "yellow" if count else "dim"
        table.add_row(name, f"[{style}]{count:,}[/]", f"{unit}[dim]{detail if count else ''}[/]")

    for leak in found.leaks:
        exact, mirrored = int(leak.exact.sum()), int(leak.mirrored.sum())
        detail = f"{exact:,} exact, {len(leak.exact) - exact - mirrored:,} near, {mirrored:,} mirrored"
        add(f"{leak.later} images also in {leak.earlier}", len(leak.exact), "", detail)
    table.add_section()
    add("exact copies", found.spare, "images", f" repeat one of {len(found.copies):,}")
    mirrored = int(found.mirrored.sum())
    add("near copies", len(found.near) - mirrored, "pairs")
    add("mirrored copies", mirrored, "pairs")
    add("copies with different labels", len(found.conflicts), "pictures")
    add("near copies with different labels", int(found.near_conflicts.sum()), "pairs")
    table.add_section()
    add("blank", len(found.blank), "images")
    if found.voted_faceless is not None:
        add("no face by votes", len(found.voted_faceless), "images")
    if found.faceless is not None:
        add(f"no face by {found.detector}", len(found.faceless), "images")
    add("could not be used", len(found.unusable), "images")
    table.add_section()
    add("removed by prepare --dedupe", len(found.removable), "training images")
    return table


def _say(sentence: str) -> None:
    out.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _labels(text: str | None) -> str | list[str] | None:
    return text if text is None or text == "folders" else text.split(",")


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} should be three shares such as 0.8,0.1,0.1", param_hint="--split") from None
