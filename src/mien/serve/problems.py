"""Errors as problem details (RFC 9457): one title, one sentence, never a path or a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mien.errors import MissingExtraError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What every answer from 400 on holds."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind of problem it is.")
    title: str = Field(description="The status in words.", examples=["Content Too Large"])
    status: int = Field(ge=400, le=599, examples=[413])
    detail: str = Field(description="One sentence: what failed, and what would be valid.")


class Refused(Exception):
    """The request is answered with a problem; the text is one sentence for people."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def response(self) -> JSONResponse:
        content = Problem(type="about:blank", title=self.title, status=self.status, detail=self.detail).model_dump()
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


_DOOR = (401, 403, 421, 429, 500)
_EXAMPLES = {
    400: "the form is broken or was cut short",
    401: "the token is missing or wrong; open the address that the server printed",
    403: "pages of other sites may not use this server",
    404: "there is no such film; results are kept for a while only",
    408: "the upload comes more slowly than 8 kB a second",
    409: "there are no results: the film is running",
    413: "the upload is too large: up to 32 MB are taken",
    415: "notes.txt is no picture of a known format (JPEG, PNG, WEBP, GIF, BMP)",
    421: "this server answers on its own address only; open the address that it printed",
    422: "query.min_confidence: input should be less than or equal to 1",
    429: "too many requests in a short time; wait a moment",
    500: "something went wrong in the server; its log says what",
    501: 'the server makes no such file: it needs pip install "mien[table]"',
    503: "the server is busy with other requests; try again in a moment",
}


def documented(*statuses: int, good: dict[int | str, dict[str, Any]] | None = None) -> dict[int | str, dict[str, Any]]:
    """What a route may answer, for OpenAPI: what is `good`, these problems, and those that any route has."""
    answers = dict(good or {})
    for status in sorted({*statuses, *_DOOR}):
        title = HTTPStatus(status).phrase
        example = {"type": "about:blank", "title": title, "status": status, "detail": _EXAMPLES[status]}
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
        answers[status] = {"description": title, "content": content}
    return answers


def listed(errors: Sequence[Any]) -> str:
    """What pydantic found wrong, in one sentence; of many only the first few, and a sentence of our own once."""
    found: dict[str, str] = {}
    for error in errors:
        place = ".".join(str(part) for part in error["loc"]) or "the whole"
        text = f"{place}: {_lower(str(error['msg']).removeprefix('Value error, '))}"
        found.setdefault(str(error["msg"]) if error["type"] == "value_error" else text, text)
        if len(found) == 3:
            break
    more = len(errors) - len(found)
    return "; ".join(found.values()) + (f"; and {more} more" if more > 0 else "")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def add_handlers(app: FastAPI) -> None:
    """Whatever goes wrong in a route becomes a problem."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        sentences = {404: "there is nothing at this address", 405: "this address does not take that method"}
        detail = sentences.get(error.status_code, str(error.detail))
        return Refused(error.status_code, detail, error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return Refused(422, listed(error.errors())).response()

    @app.exception_handler(MissingExtraError)
    async def missing(_: Request, error: MissingExtraError) -> JSONResponse:
        return Refused(501, f"{error} (on the server)").response()
