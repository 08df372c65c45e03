"""`mien explain`: what in each face of a photograph its expression was read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import note, out, progress
from mien.cli.options import DetectorName, DetectorWeights, ModelName

if TYPE_CHECKING:
    from mien.evaluation.expression.occlusion import OcclusionMap
    from mien.faces import Faces
    from mien.models import CropGeometry


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture with faces.")],
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME-explained.png and NAME-explained.json there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the maps as one JSON object.")] = False,
    model: ModelName = None,
    detector: DetectorName = None,
    detector_weights: DetectorWeights = None,
) -> None:
    """Show what each face's expression was read from: cover it bit by bit, and see how far the probability falls.

    The method is occlusion sensitivity (Zeiler and Fergus 2014). It shows what the network uses, not whether that
    is right.
    """
    from mien.analyzer import load
    from mien.errors import InputError
    from mien.evaluation.expression.occlusion import WINDOWS, occlusion_maps
    from mien.media.images import read_image
    from mien.vision.crop import crop_faces

    pixels = read_image(image)
    analyzer = load(model, detector, detector_weights)
    faces = analyzer.analyze(pixels).replace(source=str(image))
    if not len(faces):
        raise InputError(f"no face was found in {image}, so there is nothing to explain")
    card = analyzer.classifier.card
    crops = crop_faces(pixels, faces, card.input_size, card.crop)
    with progress("passes") as bar:
        task = bar.add_task("covering", total=len(faces) * WINDOWS)
        maps = list(occlusion_maps(analyzer.classifier, crops, lambda n: bar.advance(task, n)))
    content = _content(faces, maps, card.crop)
    if as_json:
        print(json.dumps(content))
    else:
        _print_table(faces, maps, card.crop)
    if save is not None:
        from PIL import Image

        from mien.evaluation.expression.occlusion_sheet import draw_sheet
        from mien.files import replacing

        picture, numbers = (save / f"{image.stem}-explained{suffix}" for suffix in (".png", ".json"))
        with replacing(picture, str(picture)) as part:
            Image.fromarray(draw_sheet(pixels, faces, maps, card.crop)).save(part, "PNG")
        with replacing(numbers, str(numbers)) as part:
            part.write_text(json.dumps(content) + "\n", encoding="utf-8")
        note(f"wrote {picture} and {numbers.name}")


def _content(faces: Faces, maps: list[OcclusionMap], geometry: CropGeometry) -> dict[str, Any]:
    """The frame as `mien predict --json` has it, with the method, and a map for each face."""
    from mien.evaluation.expression.occlusion import CELLS, METHOD, WINDOW

    content = faces.to_dict()
    content["method"] = {"name": METHOD, "cells": CELLS, "window": WINDOW}
    for face, found in zip(content["faces"], maps, strict=True):
        face["occlusion"] = found.to_dict(geometry)
    return content


def _print_table(faces: Faces, maps: list[OcclusionMap], geometry: CropGeometry) -> None:
    from rich.table import Table

    from mien.cli.formatting import bar, printed

    table = Table("face", "expression", "confidence", "hangs most on", "covered, falls by", box=None, pad_edge=False)
    for i, found in enumerate(maps):
        fall = f"{100 * found.drop:.1f} points"
        table.add_row(str(i + 1), *bar(found.label, found.probability, faces.label_names), found.place(geometry), fall)
    printed(table)
    out.print(
        f"occlusion sensitivity (Zeiler and Fergus 2014) · detector {faces.detector}, model {faces.model}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
