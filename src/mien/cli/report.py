"""`mien report`: runs and scores as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.console import note, out, stages


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|SCORES...", help="Run folders of mien train, scores.json of mien evaluate or its folder."
        ),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The page.")] = Path("report.html"),
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The prepared set the scores were measured on; adds pictures of faces."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that was measured; adds occlusion maps of the faces. "
            "Shipped ones and those beside the scores are found."
        ),
    ] = None,
    faces: Annotated[
        list[int] | None,
        typer.Option("--face", metavar="ROW", help="Show this row of the set's manifest, too; may be repeated."),
    ] = None,
) -> None:
    """Write one HTML page that holds all it shows: curves, confusion matrices, calibration, robustness, mistakes."""
    from mien import workshop

    with stages() as progress:
        page = workshop.report(sources, target, data=data, model=model, faces=faces or [], progress=progress, note=note)
    out.print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
