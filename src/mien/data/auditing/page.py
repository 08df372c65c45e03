"""The audit as one HTML page with the pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.auditing.duplicates import MIN_LIKENESS, MIN_MIRRORED
from mien.data.auditing.findings import Audit, Leak
from mien.drawing.annotate import colours
from mien.files import replacing
from mien.labels import SPLITS
from mien.vision.crop import resize_crop

LIMIT = 28
"""Pairs, groups or single images shown of each finding."""
_IN_GROUP = 8
"""Images shown of each group of copies."""
_LARGEST = 96
"""Side in pixels above which pictures are reduced."""


@dataclass(frozen=True)
class Tile:
    """One picture with what is known of it."""

    picture: str
    row: int
    label: str
    split: str
    source: str


@dataclass(frozen=True)
class Card:
    """Pictures that are to be seen side by side, and a remark under them."""

    tiles: list[Tile]
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """One kind of finding: its name, how many there are of what, what it means, and some of them."""

    title: str
    total: int
    unit: str
    meaning: str
    cards: list[Card]


def save_page(path: Path, audit: Audit, name: str) -> None:
    """Write the page; `name` is what to call the set. Raises OutputError when the place cannot be written."""
    page = render(audit, name)
    with replacing(path, str(path)) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def render(audit: Audit, name: str) -> str:
    """The page as HTML, self-contained."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("audit.html").read_text(encoding="utf-8")
    )
    sections = _sections(audit)
    splits = [(split, row.sum(), row) for split, row in zip(SPLITS, audit.balance, strict=True) if row.any()]
    return template.render(
        name=name, audit=audit, sections=[section for section in sections if section.total],
        clean=[section.title.lower() for section in sections if not section.total], labels=audit.data.label_names,
        splits=splits,
        widest=max((row.max() / total for _, total, row in splits), default=1),
        colours={label: f"rgb{colour}" for label, colour in colours(audit.data.label_names).items()},
    )  # fmt: skip


def _sections(audit: Audit) -> list[Section]:
    sections = []
    for leak in audit.leaks:
        total, exact, turned = len(leak.pairs), int(leak.exact.sum()), int(leak.mirrored.sum())
        sections.append(
            Section(
                f"{leak.later.capitalize()} images also in {leak.earlier}",
                total,
                "images",
                f"{exact:,} of them are in {leak.earlier} pixel by pixel, {turned:,} mirrored, the others nearly. "
                f"Scores on {leak.later} come out too high where the network has memorised them.",
                [Card(_tiles(audit, leak.pairs[i]), _kinship(leak, i)) for i in _spread(total)],
            )
        )
    differing = np.flatnonzero(audit.near_conflicts)
    rising = np.argsort(audit.likeness, kind="stable")
    mirrored = audit.mirrored[rising]
    sections += [
        Section(
            "Copies with different labels", len(audit.conflicts), "pictures",
            "The same pixels under two names or more: at most one of them is right.",
            [_group(audit, audit.conflicts[i]) for i in _spread(len(audit.conflicts))],
        ),
        Section(
            "Near copies with different labels", len(differing), "pairs",
            "The same photograph, cut, compressed or mirrored, under two names.",
            [_pair(audit, int(differing[i])) for i in _spread(len(differing))],
        ),
        Section(
            "Exact copies", len(audit.copies), "pictures",
            f"{audit.spare:,} images repeat the pixels of another. The largest groups come first.",
            [_group(audit, group) for group in audit.copies[:LIMIT]],
        ),
        _near(audit, "Near copies", f"{MIN_LIKENESS:.0%} or more", rising[~mirrored]),
        _near(audit, "Mirrored copies", f"{MIN_MIRRORED:.0%} or more when one is mirrored", rising[mirrored]),
        _singles(audit, "Blank", audit.blank, "Images of one single grey."),
    ]  # fmt: skip
    if audit.voted_faceless is not None:
        meaning = "Most of the FER+ annotators saw no face here."
        sections.append(_singles(audit, "No face by votes", audit.voted_faceless, meaning))
    if audit.faceless is not None:
        meaning = (
            f"The detector {audit.detector} finds no face in the enlarged crop. Among them are faces that are hard to "
            "find, turned, covered or cut off: look before you remove them."
        )
        sections.append(_singles(audit, f"No face by {audit.detector}", audit.faceless, meaning))
    return sections


def _singles(audit: Audit, title: str, rows: NDArray[np.intp], meaning: str) -> Section:
    cards = [Card(_tiles(audit, [rows[i]])) for i in _spread(len(rows))]
    return Section(title, len(rows), "images", meaning, cards)


def _near(audit: Audit, title: str, much: str, rising: NDArray[np.intp]) -> Section:
    meaning = (
        f"Their pixels correlate by {much}. The least alike come first, so that you can judge how far to trust this."
    )
    return Section(title, len(rising), "pairs", meaning, [_pair(audit, int(i)) for i in rising[:LIMIT]])


def _pair(audit: Audit, number: int) -> Card:
    how = ", mirrored" if audit.mirrored[number] else ""
    return Card(_tiles(audit, audit.near[number]), f"correlation {audit.likeness[number]:.2f}{how}")


def _kinship(leak: Leak, number: int) -> str:
    if leak.exact[number]:
        return "the same pixels"
    return "mirrored" if leak.mirrored[number] else "nearly the same"


def _group(audit: Audit, rows: NDArray[np.intp]) -> Card:
    more = len(rows) - _IN_GROUP
    return Card(_tiles(audit, rows[:_IN_GROUP]), f"and {more:,} more" if more > 0 else "")


def _tiles(audit: Audit, rows: Iterable[int]) -> list[Tile]:
    data, names = audit.data, audit.data.label_names
    return [
        Tile(_picture(data.images[i]), int(i), names[data.labels[i]], str(data.splits[i]), str(data.sources[i]))
        for i in rows
    ]


def _picture(image: NDArray[np.uint8]) -> str:
    """A data URI."""
    small = resize_crop(image, _LARGEST) if len(image) > _LARGEST else image
    _, encoded = cv2.imencode(".png", small)
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def _spread(count: int) -> list[int]:
    """At most `LIMIT` numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, LIMIT)).round().astype(int)).tolist() if count else []
