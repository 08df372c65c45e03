"""Options that several verbs share, so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MinConfidence = Annotated[float, typer.Option(help="Below this probability an expression is called uncertain.")]
ModelName = Annotated[
    str | None, typer.Option(help="A shipped model by name, or an .onnx file with its card beside it.")
]
DetectorName = Annotated[str | None, typer.Option(help="What finds the faces: mien, yunet or haar.")]
DetectorWeights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A detector's file to use: one of mien export, or YuNet's.")
]
MinScore = Annotated[
    float | None,
    typer.Option(show_default="the detector's own", help="Leave out faces that the detector scores lower."),
]
MinSize = Annotated[float, typer.Option(metavar="PIXELS", help="Leave out faces that are smaller than this.")]
FollowPlaylists = Annotated[
    bool,
    typer.Option(
        "--follow-playlists", help="Read the films that a file names which holds none: .m3u8, scripts that join films."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, notes or tables, only errors.")]
