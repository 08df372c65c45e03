"""Pictures, recordings, and what the server says about itself."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from pydantic import ValidationError

from mien import __version__
from mien.drawing.annotate import annotate
from mien.errors import InputError
from mien.models import Card
from mien.output.episodes import save_episodes
from mien.recording.recorder import Recorder
from mien.serve.pictures import PICTURES, decode_measured, measure
from mien.serve.problems import Refused, documented, listed
from mien.serve.service import Service, Shared
from mien.serve.uploads import client_of, safe_name, take_bytes
from mien.serve.wire import Analysis, Films, Health, analysis, recordings

router = APIRouter()

_MIME = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "vtt": "text/vtt"}
_FILE: dict[str, Any] = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def upload_document(*kinds: str) -> dict[str, Any]:
    """An upload, for OpenAPI: a form with the part `file`, or the bare file."""
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    }
    content = {"multipart/form-data": {"schema": form}} | dict.fromkeys(kinds, _FILE)
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/v1/analyze",
    tags=["pictures"],
    summary="Find and read the faces in a picture",
    responses=documented(
        400, 408, 413, 415, 422, 503, good={200: {"model": Analysis, "content": {"image/png": _FILE}}}
    ),
    openapi_extra=upload_document("image/jpeg", "image/png", "image/webp"),
)
async def analyze(
    request: Request,
    service: Shared,
    kind: Annotated[
        Literal["json", "image"], Query(alias="as", description="The faces, or the picture with them drawn in, as PNG.")
    ] = "json",
    min_confidence: Annotated[
        float, Query(ge=0, le=1, description="Below this probability an expression is called uncertain.")
    ] = 0.0,
) -> Response:
    settings = service.settings
    content, name = await take_bytes(request, settings.picture_bytes, service.pictures)
    with service.admit(client_of(request)):

        def work() -> Response:
            image = decode_measured(content, name)
            faces = service.analyzer.analyze(image)
            service.metrics.faces.inc(len(faces))
            if kind == "json":
                return JSONResponse(analysis(faces, min_confidence))
            drawn = BytesIO()
            Image.fromarray(annotate(image, faces, min_confidence)).save(drawn, "PNG", compress_level=1)
            return Response(drawn.getvalue(), media_type="image/png")

        pixels = await asyncio.to_thread(measure, content, name, PICTURES, settings.picture_pixels)
        async with service.slots.turn(client_of(request), large=pixels > settings.frame_pixels):
            return await service.slots.run(work)


@router.post(
    "/v1/recordings",
    tags=["recordings"],
    summary="Make a file of what a stream has answered",
    responses=documented(400, 408, 413, 422, 501, 503, good={200: {"content": dict.fromkeys(_MIME.values(), _FILE)}}),
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Recording"}}},
        }
    },
)
async def record(
    request: Request,
    service: Shared,
    kind: Annotated[
        Literal["csv", "parquet", "vtt"],
        Query(alias="format", description="A row per face and frame, or captions with everybody's episodes."),
    ] = "csv",
) -> Response:
    """The same files as the command line writes. Times count from the first frame."""
    content, _ = await take_bytes(request, service.settings.recording_bytes, service.pictures)
    with service.admit(client_of(request)):
        return await asyncio.to_thread(_recorded, content, kind, service)


def _recorded(content: bytes, kind: str, service: Service) -> Response:
    labels = service.analyzer.label_names
    try:
        recording = recordings(labels).model_validate_json(content)
    except ValidationError as error:
        raise Refused(422, listed(error.errors())) from None
    name = safe_name(recording.name)
    start = min((frame.time for frame in recording.frames), default=0.0)
    about = {
        "source": name,
        "detector": service.analyzer.detector.name,
        "model": service.analyzer.classifier.card.name,
    }
    try:
        frames = [frame.as_faces(start, labels, **about) for frame in recording.frames]
    except InputError as error:
        raise Refused(422, str(error)) from None
    with TemporaryDirectory(dir=service.folder) as folder:
        path = Path(folder) / f"recording.{kind}"
        recorder = Recorder(name, labels, tables=[] if kind == "vtt" else [path])
        for faces in frames:
            recorder.write(None, faces)
        record = recorder.finish()
        if kind == "vtt":
            save_episodes(path, name, record.episodes)
        for problem in recorder.problems:
            raise problem
        made = path.read_bytes()
    return Response(made, media_type=_MIME[kind], headers=attachment(f"{name}.{kind}"))


def attachment(name: str) -> dict[str, str]:
    """Headers that make a browser save the answer under that name."""
    return {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}


@router.get("/v1/health", tags=["server"], summary="Whether the server lives, and how busy it is")
async def health(service: Shared) -> Health:
    """Needs no token."""
    return Health(
        status="ok", version=__version__, viewers=service.viewing.taken, max_viewers=service.settings.max_viewers,
        films=Films(queued=service.jobs.count("queued"), running=service.jobs.count("running")),
    )  # fmt: skip


@router.get("/v1/model", tags=["server"], summary="The card of the network in use", responses=documented())
async def model(service: Shared) -> Card:
    return service.analyzer.classifier.card


@router.get(
    "/metrics",
    tags=["server"],
    summary="Counters for Prometheus",
    response_class=Response,
    responses=documented(good={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}),
)
async def metrics(service: Shared) -> Response:
    return Response(service.metrics.text(), media_type=service.metrics.content_type)
