"""`mien predict`: finds and reads the faces in pictures."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mien.cli.console import complain, note, out, progress
from mien.errors import InputError, MienError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.faces import Faces
    from mien.media import Found

T = TypeVar("T")
R = TypeVar("R")

_BAR = 10
_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Images, folders, or quoted patterns like 'photos/*.jpg'.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image, one per line.")] = False,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row per face to a .csv, .jsonl or .parquet file.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the annotated images there, in folders as they came from.")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below this probability an expression is called uncertain.")
    ] = 0.0,
    model: Annotated[
        str | None, typer.Option(help="A shipped model by name, or an .onnx file with its card beside it.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="What finds the faces: yunet or haar.")] = None,
    detector_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YuNet file to use instead of the downloaded one.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, show_default="all cores", help="Images that are worked on at the same time.")
    ] = None,
) -> None:
    """Find the faces in images and read their expressions.

    Goes on past files that cannot be read; lists them at the end and exits with 1.
    """
    from mien.analyzer import load
    from mien.media import find_images, read_image
    from mien.sinks import open_table

    found, problems = find_images(paths)
    failures: list[MienError] = list(problems)
    if not found:
        _give_up(failures)
    targets = _targets(found, save) if save else {}
    cores = os.cpu_count() or 1
    workers = min(jobs or cores, len(found))
    analyzer = load(model, detector, detector_weights, threads=max(1, cores // workers))
    if analyzer.detector.note:
        note(analyzer.detector.note)

    def read(image: Found) -> Faces | MienError:
        try:
            pixels = read_image(image.path)
            faces = analyzer.analyze(pixels).replace(source=str(image.path))
            if save:
                _save(targets[image], pixels, faces, min_confidence)
        except MienError as error:
            return error
        return faces

    bar = progress("images")
    # Lines on the same terminal would tear the bar apart; one picture needs none.
    bar.disable |= len(found) == 1 or (as_json and out.is_terminal)
    shown = _table()
    task = bar.add_task("reading", total=len(found))
    faces_seen = images_with_faces = 0
    with bar, open_table(table, min_confidence) if table else nullcontext() as rows:
        for image, result in zip(found, _in_order(read, found, workers), strict=True):
            bar.advance(task)
            if isinstance(result, MienError):
                failures.append(result)
                shown.add_row(_name(image.path), "", Text("failed", "bold red"), "", "")
                continue
            faces_seen += len(result)
            images_with_faces += len(result) > 0
            if rows is not None:
                rows.write(result)
            if as_json:
                print(json.dumps(result.to_dict(min_confidence)), file=out.file, flush=True)
            else:
                _add(shown, result, min_confidence)
    if not as_json:
        _print(shown)
        out.print(
            f"{_count(faces_seen, 'face')} in {images_with_faces} of {_count(len(found), 'image')}"
            f"{f', {len(failures)} failed' if failures else ''}"
            f" · detector {analyzer.detector.name}, model {analyzer.classifier.card.name}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if failures:
        _give_up(failures)


def _give_up(failures: list[MienError]) -> None:
    for failure in failures:
        complain(str(failure))
    raise typer.Exit(1)


def _in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Results in the order of the items, from threads, with no more than two items per thread on their way."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _targets(found: list[Found], folder: Path) -> dict[Found, Path]:
    """Where each annotated image goes: under `folder` as it lies under what all the named folders share.

    Raises InputError where that would overwrite an image that was named.
    """
    places = {image: image.path.parent.resolve() / image.path.name for image in found}
    try:
        shared = os.path.commonpath([p for i, place in places.items() for p in (place.parent, i.root.resolve())])
    except ValueError:  # Windows, where drives share nothing
        raise InputError("with --save all images should lie on one drive; name those of one drive at a time") from None
    targets: dict[Found, Path] = {}
    used: set[Path] = set()
    for image, place in places.items():
        target = folder / place.relative_to(shared)
        if target.suffix.lower() not in {*_JPEG, ".png"}:
            target = target.with_name(f"{target.name}.png")
        while target in used:
            target = target.with_stem(f"{target.stem}_")
        used.add(target)
        targets[image] = target
    originals = set(places.values())
    for target in targets.values():
        if target.parent.resolve() / target.name in originals:
            raise InputError(f"--save {folder} would overwrite {target} itself; name another folder")
    return targets


def _save(target: Path, image: NDArray[np.uint8], faces: Faces, min_confidence: float) -> None:
    from PIL import Image

    from mien.draw import annotate

    annotated = Image.fromarray(annotate(image, faces, min_confidence))
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() in _JPEG:
            annotated.save(part, "JPEG", quality=92, subsampling=0)
        else:
            annotated.save(part, "PNG")
        part.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None


def _table() -> Table:
    table = Table("image", box=None, header_style="bold", pad_edge=False)
    table.columns[0].overflow = "fold"
    table.add_column("face", justify="right")
    table.add_column("expression")
    table.add_column("confidence", no_wrap=True)
    table.add_column("box (x1 y1 x2 y2)", style="dim")
    return table


def _add(table: Table, faces: Faces, min_confidence: float) -> None:
    from mien.draw import COLOURS

    name = _name(faces.source)
    if not len(faces):
        table.add_row(name, "", Text("no face", "dim"), "", "")
    labels = faces.labels(min_confidence)
    for i, (label, share, box) in enumerate(zip(labels, faces.confidences.tolist(), faces.boxes, strict=True)):
        colour = "rgb({},{},{})".format(*COLOURS[label])
        full, empty = ("#", ".") if out.options.ascii_only else ("█", "░")
        filled = round(share * _BAR)
        bar = Text.assemble((full * filled, colour), (empty * (_BAR - filled), "dim"), f" {share:4.0%}")
        place = " ".join(f"{round(v)}" for v in box.tolist())
        table.add_row(name if i == 0 else "", str(i + 1), Text(label, colour), bar, place)


def _print(table: Table) -> None:
    if out.is_terminal:
        out.print(table)
    else:  # a file or a pipe has no width to keep to
        natural = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
        Console(file=out.file, width=natural).print(table)


def _name(path: str | Path) -> Text:
    # A file name need not be text; its stray bytes are shown as escapes.
    return Text(str(path).encode("utf-8", "backslashreplace").decode())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
