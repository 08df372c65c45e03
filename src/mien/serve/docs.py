"""`/docs`: the API's documentation as one page, made from the OpenAPI document, with nothing from other hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

_TEMPLATE = Path(__file__).parent / "docs.html.jinja"
_REFERENCE = "#/components/schemas/"
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Operation:
    """One request of the API, as its section of the page shows it."""

    method: str
    path: str
    content: Mapping[str, Any]

    @property
    def anchor(self) -> str:
        """Its name in the page's address."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.method} {self.path}".lower()).strip("-")


def docs_page(document: Mapping[str, Any]) -> str:
    """The HTML page of an OpenAPI 3.1 document."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"prose": _prose, "kind": _kind, "pretty": _pretty}
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        info=document["info"],
        operations=list(_operations(document)),
        schemas=document.get("components", {}).get("schemas", {}),
    )


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, content in item.items():
            yield Operation(method.upper(), path, content)


def _prose(text: str) -> Markup:
    """Paragraphs, with what stands between backticks as code."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    marked = (_CODE.sub(r"<code>\1</code>", str(escape(paragraph))) for paragraph in paragraphs)
    return Markup("\n").join(Markup(f"<p>{paragraph}</p>") for paragraph in marked)


def _kind(schema: Mapping[str, Any]) -> Markup:
    """A schema in a few words: its type, or a link to the schema that it names."""
    if reference := schema.get("$ref"):
        name = escape(reference.removeprefix(_REFERENCE))
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return Markup(" or ").join(_kind(option) for option in options)
    if "const" in schema:
        return Markup("<code>{}</code>").format(json.dumps(schema["const"]))
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(value) for value in schema["enum"])
    if places := schema.get("prefixItems"):
        return Markup("array of {}: {}").format(len(places), Markup(", ").join(_kind(place) for place in places))
    if "items" in schema:
        return Markup("array of {}").format(_kind(schema["items"]))
    if "contentMediaType" in schema:
        return Markup("file")
    limits = [f"{sign} {schema[key]:g}" for key, sign in _LIMITS.items() if key in schema]
    return escape(", ".join([str(schema.get("type", "any")), *limits]))


_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
