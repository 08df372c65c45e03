"""Reading many pictures for `mien predict`, several at a time, results in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.cli.console import out, progress
from mien.cli.formatting import bar, counted, printed, readable
from mien.errors import MienError
from mien.files import replacing
from mien.threads import in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.analyzer import Analyzer
    from mien.faces import Faces
    from mien.media.sources import Source
    from mien.output.tables import Table as FacesTable

JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}


class Pictures:
    """Reads pictures and prints what was seen: a JSON object for each, or one table of all with `summary`."""

    def __init__(self, analyzer: Analyzer, workers: int, min_confidence: float, as_json: bool) -> None:
        self.analyzer, self.workers = analyzer, workers
        self.min_confidence, self.as_json = min_confidence, as_json
        self.faces = self.with_faces = self.count = 0
        self._table = _table()

    def read(
        self, found: Sequence[Source], tables: Sequence[FacesTable], targets: Mapping[Source, Path]
    ) -> list[MienError]:
        """Read pictures, add their rows, and save them annotated where they have a target; gives what failed."""
        from mien.media.images import read_image

        def read(image: Source) -> Faces | MienError:
            try:
                pixels = read_image(image.name)
                faces = self.analyzer.analyze(pixels, keep_image=False).replace(source=image.name)
                if image in targets:
                    _save(targets[image], pixels, faces, self.min_confidence)
            except MienError as error:
                return error
            return faces

        failures: list[MienError] = []
        shown = progress("images")
        # Lines on the same terminal would tear the bar apart; one picture needs none.
        shown.disable |= len(found) == 1 or (self.as_json and out.is_terminal)
        task = shown.add_task("reading", total=len(found))
        with shown:
            for image, result in zip(found, in_order(read, found, min(self.workers, len(found))), strict=True):
                shown.advance(task)
                self.count += 1
                if isinstance(result, MienError):
                    failures.append(result)
                    self._table.add_row(readable(image.name), "", Text("failed", "bold red"), "", "")
                    continue
                self.faces += len(result)
                self.with_faces += len(result) > 0
                for table in tables:
                    table.write(result)
                if self.as_json:
                    print(json.dumps(result.to_dict(self.min_confidence)), file=out.file, flush=True)
                else:
                    self._add(result)
        return failures

    def _add(self, faces: Faces) -> None:
        name = Text(readable(faces.source))
        if not len(faces):
            self._table.add_row(name, "", Text("no face", "dim"), "", "")
        labels = faces.labels(self.min_confidence)
        for i, (label, share, box) in enumerate(zip(labels, faces.confidences.tolist(), faces.boxes, strict=True)):
            place = " ".join(f"{round(v)}" for v in box.tolist())
            self._table.add_row(name if i == 0 else "", str(i + 1), *bar(label, share, faces.label_names), place)

    def summary(self, failed: int) -> None:
        """The table of all pictures, and one line that counts; `failed` is the number of all that could not be read."""
        printed(self._table)
        out.print(
            f"{counted(self.faces, 'face')} in {self.with_faces} of {counted(self.count, 'image')}"
            f"{f', {failed} failed' if failed else ''}"
            f" · detector {self.analyzer.detector.name}, model {self.analyzer.classifier.card.name}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _table() -> Table:
    table = Table("image", box=None, header_style="bold", pad_edge=False)
    table.columns[0].overflow = "fold"
    table.add_column("face", justify="right")
    table.add_column("expression")
    table.add_column("confidence", no_wrap=True)
    table.add_column("box (x1 y1 x2 y2)", style="dim")
    return table


def _save(target: Path, image: NDArray[np.uint8], faces: Faces, min_confidence: float) -> None:
    from PIL import Image

    from mien.drawing.annotate import annotate

    annotated = Image.fromarray(annotate(image, faces, min_confidence))
    with replacing(target, str(target)) as part:
        if target.suffix.lower() in JPEG:
            annotated.save(part, "JPEG", quality=92, subsampling=0)
        else:
            annotated.save(part, "PNG")
