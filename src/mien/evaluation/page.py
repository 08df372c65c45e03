"""The ground that all pages of results share: one environment for their templates, one sheet of styles."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mien.evaluation.charts import percent


def template(name: str) -> Template:
    """A template of this room; what it shows is escaped, and a name that it is not given is an error."""
    environment = Environment(
        loader=PackageLoader("mien.evaluation", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "points": lambda share: f"{100 * share:.0f}"}
    return environment.get_template(name)
