"""Episodes as files: tables, captions for any player, and annotations for ELAN."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from mien.columns import to_cell
from mien.errors import InputError, did_you_mean
from mien.files import printable, replacing
from mien.tracking.episodes import Episode

COLUMNS = (
    "source", "id", "label", "onset_s", "apex_s", "offset_s", "duration_s", "mean_probability", "peak_probability",
)  # fmt: skip


def save_episodes(path: str | Path, source: str, episodes: Sequence[Episode]) -> None:
    """Write the episodes of one source, in the order of their onsets, in the way that the ending of `path` says:

    .csv    a table with the columns `COLUMNS`
    .json   one object: the source and a list of episodes with the same names
    .vtt    WebVTT: `person 1: happy` as a caption while it lasts
    .tsv    tab-delimited text as ELAN imports it: tier, begin, end, duration, annotation

    Raises InputError for another ending or a place that cannot be written.
    """
    path = Path(path)
    check_episodes(path)
    name = printable(source)
    text = _WRITERS[path.suffix.lower()](name, sorted(episodes, key=lambda e: (e.onset, e.id)))
    with replacing(path, f"the episodes {path}") as part:
        part.write_text(text, encoding="utf-8", newline="")


def check_episodes(path: Path) -> None:
    """Raises InputError when episodes cannot be written as files of that kind."""
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise InputError(
            f"{path} should end in {', '.join(_WRITERS)} to say how episodes are to be written"
            f"{did_you_mean(ending, _WRITERS)}"
        )


def _rows(source: str, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    return [
        dict(
            zip(
                COLUMNS,
                (source, e.id, e.label, round(e.onset, 3), round(e.apex, 3), round(e.offset, 3),
                 round(e.duration, 3), round(e.mean, 4), round(e.peak, 4)),
                strict=True,
            )
        )
        for e in episodes
    ]  # fmt: skip


def _csv(source: str, episodes: Sequence[Episode]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({**row, "source": to_cell(row["source"])} for row in _rows(source, episodes))
    return text.getvalue()


def _json(source: str, episodes: Sequence[Episode]) -> str:
    rows = [{key: value for key, value in row.items() if key != "source"} for row in _rows(source, episodes)]
    return json.dumps({"source": source, "episodes": rows}, indent=2) + "\n"


def _vtt(source: str, episodes: Sequence[Episode]) -> str:
    cues = [
        f"{_clock(e.onset)} --> {_clock(max(e.offset, e.onset + 0.001))}\nperson {e.id}: {e.label}\n" for e in episodes
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _tsv(source: str, episodes: Sequence[Episode]) -> str:
    lines = ["tier\tbegin\tend\tduration\tannotation"]
    lines += [
        f"person {e.id}\t{_clock(e.onset)}\t{_clock(e.offset)}\t{_clock(e.duration)}\t{e.label}" for e in episodes
    ]
    return "\n".join(lines) + "\n"


def _clock(seconds: float) -> str:
    """hh:mm:ss.mmm, which WebVTT and ELAN read alike."""
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


_WRITERS: dict[str, Callable[[str, Sequence[Episode]], str]] = {
    ".csv": _csv,
    ".json": _json,
    ".vtt": _vtt,
    ".tsv": _tsv,
}
