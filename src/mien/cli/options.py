"""Options that several verbs share, so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MinConfidence = Annotated[
    float, typer.Option(min=0, max=1, help="Below this probability an expression is called uncertain.")
]
ModelName = Annotated[
    str | None, typer.Option(help="A shipped model by name, or an .onnx file with its card beside it.")
]
DetectorName = Annotated[str | None, typer.Option(help="What finds the faces: mien, yunet or haar.")]
DetectorWeights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A detector's file to use: one of mien export, or YuNet's.")
]
