"""What numbers are given of: whole variants, and of the plain photographs those of a kind, crowds, and turned faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mien.data.photographs import Photograph
from mien.evaluation.detection.views import PLAIN, Group, Variant

CROWD = 5
"""Faces in a photograph that make a crowd."""
_YAWS = (("yaw under 30°", 0, 30), ("yaw 30 to 60°", 30, 60), ("yaw above 60°", 60, 91))


@dataclass(frozen=True)
class Part:
    """Some photographs by their rows, as the variant of that index shows them, and which of their faces: those turned
    aside by `yaw` degrees, from the first to below the second, or where that is None all."""

    group: Group
    name: str
    about: str
    variant: int
    rows: Sequence[int]
    yaw: tuple[float, float] | None = None


def parts(variants: Sequence[Variant], photographs: Sequence[Photograph]) -> Iterator[Part]:
    """All of them in the order in which they are shown."""
    everything = range(len(photographs))
    for v, variant in enumerate(variants):
        yield Part(variant.group, variant.name, variant.about, v, everything)
        if variant != PLAIN:
            continue
        kinds = sorted({photograph.kind for photograph in photographs})
        for kind in kinds if len(kinds) > 1 else ():
            rows = [i for i in everything if photographs[i].kind == kind]
            yield Part("kind", f"{kind or 'other'} photographs", f"the plain ones of kind {kind!r}", v, rows)
        crowds = [i for i in everything if len(photographs[i].boxes) >= CROWD]
        if crowds:
            yield Part("kind", f"{CROWD} faces and more", "plain photographs with as many faces of any size", v, crowds)
        for name, low, high in _YAWS:
            about = "faces of plain photographs by the turn of the head aside, estimated from the marked landmarks"
            yield Part("yaw", name, about, v, everything, (low, high))
