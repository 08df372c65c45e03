"""Data sets: `prepare` makes a prepared set of raw pictures, `audit` looks for what is wrong with one.

Both take plain paths and have the defaults of `mien data prepare` and `mien data audit`. Everything else that knows of
data lies in the modules of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.data.auditing.findings import Audit
    from mien.data.preparation import Prepared

__all__ = ["audit", "prepare"]

AnyPath = str | Path
Progress = Callable[[str, int, int | None], object]
"""Called with a stage in words, how much of it is done, and how much it is in all or None while that is not known."""


def prepare(
    sources: AnyPath | Sequence[AnyPath], out: AnyPath, *, votes: AnyPath | None = None,
    labels: str | Sequence[str] | None = None, size: int = 48, faces: str = "auto",
    split: Sequence[float] | None = None, group: str | None = None, seed: int = 0, dedupe: bool = False,
    detector: str | None = None, detector_weights: AnyPath | None = None,
    progress: Progress = lambda stage, done, of: None,
) -> Prepared:  # fmt: skip
    """Read pictures in any usual layout and pack the face crops without loss into the folder `out`.

    `sources` are fer2013.csv(.gz) files, folders of folders named by label, Parquet files with `image` and `label`, and
    the folders of AffectNet, RAF-DB, ExpW, CK+, JAFFE and SFEW as their authors hand them out;
    `votes` is the FER+ file of the one CSV among them. `labels` are labels of your own instead of the seven
    expressions, or "folders", the names of the folders. Crops have a side of `size` pixels, 16 to 512. `faces` takes
    pictures whole ("crop"), crops their largest face ("photo"), or decides for each source ("auto"). `split` are shares
    of train, validation and test; without it only what has no split of its own is split, 0.8 : 0.1 : 0.1, by `seed`.
    `group`, a table's column or a pattern for paths, names the person, and nobody is in two splits. `dedupe` removes
    training images that repeat or are in another split. `detector` (mien, yunet, haar) finds the faces.

    Returns the set with a sentence for each image that could not be used and notes on how it was read. A call that was
    interrupted while it searched for faces continues there. Raises DataError where sources or arguments cannot be used.
    """
    from mien.data import prepared
    from mien.data.preparation import prepare as read_and_split
    from mien.data.readers.folders import folder_labels
    from mien.data.readers.pictures import Cropper
    from mien.data.splits import check_shares
    from mien.errors import DataError
    from mien.labels import LABELS, label_set
    from mien.vision.detect import load_detector

    paths = [Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    if not paths:
        raise DataError("name a source: a fer2013.csv(.gz), a folder of folders named by label, or a .parquet file")
    if not 16 <= size <= prepared.MAX_SIZE:
        raise DataError(f"size should be 16 to {prepared.MAX_SIZE} pixels, not {size}")
    if isinstance(labels, str) and labels != "folders":
        raise DataError(f"labels should be a list of names or 'folders', not {labels!r}")
    shares = None if split is None else check_shares(split)
    names = LABELS
    if labels is not None:
        names = folder_labels(paths) if labels == "folders" else label_set(labels)
    target = Path(out)
    prepared.check_target(target)
    place = target.resolve()
    cropper = Cropper(
        size, faces,
        lambda: load_detector(detector, Path(detector_weights) if detector_weights else None, threads=1),
        place.parent / f".{place.name}.faces",
    )  # fmt: skip
    result = read_and_split(
        paths, votes=Path(votes) if votes else None, cropper=cropper, seed=seed, shares=shares, group=group,
        dedupe=dedupe, labels=names, progress=lambda source, done, of: progress(f"reading {source.name}", done, of),
        comparing=lambda done, of: progress("comparing", done, of),
    )  # fmt: skip
    packed = 0

    def count(images: int) -> None:
        nonlocal packed
        packed += images
        progress("packing", packed, len(result.data))

    prepared.save(target, result.data, count, result.problems)
    cropper.done()
    return result


def audit(
    folder: AnyPath, *, faces: bool = False, html: AnyPath | None = None, json: AnyPath | None = None,
    detector: str | None = None, detector_weights: AnyPath | None = None,
    progress: Progress = lambda stage, done, of: None,
) -> Audit:  # fmt: skip
    """Find copies, leaks between splits, contradicting labels, blank images and images without a face in a set.

    `faces` also searches every image for a face, by `detector` (mien, yunet, haar), which takes a minute or more.
    `html` writes a page with the pictures there, `json` all findings with their rows. Raises DataError where `folder`
    holds no prepared set, and MienError where a file cannot be written.
    """
    from mien.data import prepared
    from mien.data.auditing.findings import audit as find
    from mien.data.auditing.findings import save_json
    from mien.data.auditing.page import save_page
    from mien.errors import DataError
    from mien.vision.detect import load_detector

    if not faces and (detector or detector_weights):
        raise DataError("a detector is used only with faces set; set it, or leave the detector out")
    place = Path(folder)
    finder = load_detector(detector, Path(detector_weights) if detector_weights else None, threads=1) if faces else None
    progress("reading the set", 0, None)
    data = prepared.load(place)
    searched = 0

    def count(images: int) -> None:
        nonlocal searched
        searched += images
        progress("looking for faces", searched, len(data))

    found = find(
        data, unusable=prepared.load_problems(place), detector=finder,
        comparing=lambda done, of: progress("comparing", done, of), searching=count,
    )  # fmt: skip
    name = place.resolve().name
    if html is not None:
        save_page(Path(html), found, name)
    if json is not None:
        save_json(Path(json), found, name, prepared.manifest_hash(place))
    return found
