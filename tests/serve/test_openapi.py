"""The OpenAPI document: complete, valid, with examples, and true of the server."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import Server, serving

import mien
from mien.serve.problems import Problem
from mien.serve.wire import Face, Film

for kind in ("image/jpeg", "image/png", "image/webp", "video/mp4", "video/webm"):
    schemathesis.openapi.media_type(kind, st.binary(max_size=200))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(mien.load(detector="haar", threads=1), requests_per_second=1e6) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    with server.client() as client:
        content: dict[str, Any] = client.get("/openapi.json").json()
        return content


def test_operations(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    found = {(method, path) for path, item in document["paths"].items() for method in item}
    assert found == {
        ("post", "/v1/analyze"), ("post", "/v1/recordings"), ("post", "/v1/videos"), ("get", "/v1/videos/{id}"),
        ("delete", "/v1/videos/{id}"), ("get", "/v1/videos/{id}/{result}"), ("get", "/v1/health"),
        ("get", "/v1/model"), ("get", "/metrics"),
    }  # fmt: skip
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], path
            assert operation["tags"]
            assert ("requestBody" in operation) == (method == "post")
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (content,) = answer["content"].items()
                    assert content[0] == "application/problem+json"
                    Problem.model_validate(content[1]["example"], strict=True)
    assert "mien.v1" in document["info"]["description"]


def test_references_and_schemas(document: dict[str, Any]) -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    schemas = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= set(schemas)
    for schema in schemas.values():
        jsonschema_rs.meta.validate(schema)


def test_the_documentation_shows_all_of_it(server: Server, document: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    page = html.unescape(answer.text)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            assert operation["summary"] in page
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in page
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for name in document["components"]["schemas"]:
        assert f"schema-{name}" in ids
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids), "every link leads somewhere"
    # The page's own policy refuses what is inline, and nothing comes from other hosts.
    assert not re.search(r'<script(?![^>]*src=)|<style|\sstyle="|\son\w+="|(?:src|href)="(?:https?:)?//', page)
    assert "{#" not in page and "None" not in page


def test_examples_are_true() -> None:
    for model in (Face, Film):
        for name, field in model.model_fields.items():
            for example in field.examples or []:
                model.__pydantic_validator__.validate_assignment(model.model_construct(), name, example)


@pytest.mark.slow
def test_the_server_keeps_to_it(server: Server) -> None:
    """Schemathesis asks whatever the document allows, and some that it does not."""
    api = schemathesis.openapi.from_url(f"http://{server.host}/openapi.json")
    for result in api.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: schemathesis.Case[Any]) -> None:
            # No schema says of bytes that they are a picture, so not all that it allows is accepted.
            case.call_and_validate(timeout=300, excluded_checks=[positive_data_acceptance])

        ask()
