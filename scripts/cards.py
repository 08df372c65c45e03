"""Writes model cards as pages, from templates and scores."""

from __future__ import annotations

from pathlib import Path

import jinja2


def write_card(template: str, path: Path, **values: object) -> None:
    """Fill a template of this folder, which has the filter `percent`, and write the page; a name that is missing is an
    error."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f}"
    text = environment.from_string((Path(__file__).parent / template).read_text("utf-8")).render(**values)
    path.write_text(text, encoding="utf-8")
