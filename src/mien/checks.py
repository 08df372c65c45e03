"""Numbers that callers give, checked where they come in."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

from mien.errors import InputError


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number, `least` or greater. Raises InputError on anything else."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(f"{name} should be a whole number, {least} or greater, not {value!r}")
    return number


def number(
    name: str, value: Any, *, least: float | None = None, above: float = -float("inf"), most: float = float("inf")
) -> float:
    """A finite number, `least` or greater or `above` a limit, and no greater than `most`. Raises InputError on anything
    else."""
    known = isinstance(value, Real) and not isinstance(value, bool)
    if known and (value > above if least is None else value >= least) and value <= most and abs(value) != float("inf"):
        return float(value)
    if least is not None and most < float("inf"):
        wanted = f"{least:g} to {most:g}"
    else:
        wanted = f"above {above:g}" if least is None else f"{least:g} or more"
    raise InputError(f"{name} should be {wanted}, not {value!r}")
