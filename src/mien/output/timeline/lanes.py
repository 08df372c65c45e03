"""Lanes of a timeline: who gets one, and who shares one with people seen at other times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OWN_LANES = 6
"""Up to so many people have a lane each; more share lanes where they were not seen at the same time."""
MAX_LANES = 12


@dataclass(frozen=True)
class Stay:
    """Somebody's time in a source, in seconds: from when they were first seen until they were last seen."""

    person: int
    start: float
    end: float


def assign_lanes(stays: Sequence[Stay]) -> list[list[Stay]]:
    """Lanes of stays that do not overlap, each in the order of time.

    `stays` come with the most important first: where `MAX_LANES` are too few, the first ones get a place. A film of
    many cuts, in which everybody is somebody new after each of them, thus needs as many lanes as there are people at
    one time.
    """
    if len(stays) <= OWN_LANES:
        return [[stay] for stay in sorted(stays, key=lambda stay: stay.person)]
    lanes = _first_fit(sorted(stays, key=lambda stay: (stay.start, stay.person)))
    if len(lanes) > MAX_LANES:
        lanes = _first_fit(stays, MAX_LANES)
    lanes = [sorted(lane, key=lambda stay: stay.start) for lane in lanes]
    return sorted(lanes, key=lambda lane: (lane[0].start, lane[0].person))


def _first_fit(stays: Iterable[Stay], most: int | None = None) -> list[list[Stay]]:
    """Each stay in the first lane with room for it; in the order of time that makes the fewest lanes there can be."""
    lanes: list[list[Stay]] = []
    for stay in stays:
        for lane in lanes:
            if all(stay.start >= other.end or other.start >= stay.end for other in reversed(lane)):
                lane.append(stay)
                break
        else:
            if most is None or len(lanes) < most:
                lanes.append([stay])
    return lanes
