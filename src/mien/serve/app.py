"""The server: the routes, the page, the documentation and the guard around them, put together."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema

from mien import __version__
from mien.analyzer import Analyzer
from mien.labels import LABELS
from mien.serve import films, live, rest
from mien.serve.connections import Config, Connections, Server
from mien.serve.docs import docs_page
from mien.serve.guard import Guard
from mien.serve.live import HEADER
from mien.serve.problems import Problem, add_handlers
from mien.serve.service import Service
from mien.serve.settings import Settings
from mien.serve.wire import ViewerSettings, recordings, stream_answers

PAGE = Path(__file__).parent / "page"

_ABOUT = """Reads facial expressions in pictures, films and live video. An expression is not a feeling: the answers say
what a face looks like, not what a person feels.

Live video goes over the WebSocket `/v1/stream` (subprotocol `mien.v1`), which OpenAPI cannot describe: binary messages
are a little-endian header of 16 bytes (uint32 sequence, uint32 zero, float64 time in seconds), then a JPEG, WebP or
PNG; answers are JSON with `type` ready, faces (StreamAnswer), dropped or error. Text messages set what follows
(ViewerSettings). Where the server has a token, browsers offer the subprotocol `bearer.TOKEN` too.

A face has the same keys everywhere: in pictures, streams and recordings, and in `mien predict --json`. `schema` is the
version of that shape.
"""


def create_app(analyzer: Analyzer, settings: Settings | None = None) -> FastAPI:
    """The ASGI application. It shares `analyzer` between all viewers; films are read in processes of their own."""
    settings = settings or Settings()
    service = Service(analyzer, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.open()
        try:
            yield
        finally:
            await service.close()

    app = _App(
        title="mien", version=__version__, summary="Facial expressions in pictures, films and live video.",
        description=_ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan,
    )  # fmt: skip
    app.state.service = service
    for part in (live, rest, films):
        app.include_router(part.router)
    mimetypes.add_type("text/javascript", ".js")  # some Windows registries say text/plain, which browsers refuse
    app.mount("/page", StaticFiles(directory=PAGE))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    add_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    return app


def make_server(app: FastAPI, settings: Settings) -> Server:
    """A server for the application, to be run with a socket that listens already."""
    return Server(
        Config(
            app,
            Connections(settings, app.state.service.metrics),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),  # else anybody could say to be anybody
            forwarded_allow_ips=list(settings.trusted_proxies),
            ws_max_size=settings.frame_bytes + HEADER.size,  # beyond, the connection ends with 1009
            ws_per_message_deflate=False,  # pictures are packed already, and a message cannot unfold into a huge one
            timeout_graceful_shutdown=3,
        )
    )


class _App(FastAPI):
    """Adds to OpenAPI what FastAPI does not know: the shapes of problems, recordings and the stream, and the token."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            labels = self.state.service.analyzer.label_names
            _, models = models_json_schema(
                [
                    (Problem, "validation"), (recordings(labels), "validation"),
                    (stream_answers(labels), "validation"), (ViewerSettings, "validation"),
                ],
                ref_template="#/components/schemas/{model}",
            )  # fmt: skip
            parts = schema.setdefault("components", {})
            parts["schemas"] = {**models["$defs"], **parts.get("schemas", {})}
            if labels != LABELS:  # which the routes' own shapes are for
                parts["schemas"]["Probabilities"] = models["$defs"]["Probabilities"]
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": "Where the server was started with one."}
            }
            schema["security"] = [{}, {"token": []}]
            for item in schema["paths"].values():
                for operation in item.values():
                    for status, answer in operation["responses"].items():
                        if answer["description"] == "Successful Response":  # FastAPI's own word for all of them
                            answer["description"] = HTTPStatus(int(status)).phrase
        return self.openapi_schema or {}
