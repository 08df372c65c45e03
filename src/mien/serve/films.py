"""Films: upload, queue, progress and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from mien.serve.jobs import Job
from mien.serve.problems import Refused, documented
from mien.serve.rest import attachment, upload_document
from mien.serve.service import Service, Shared
from mien.serve.uploads import client_of, take
from mien.serve.wire import Film

router = APIRouter(prefix="/v1/videos", tags=["films"])

_MIME: Mapping[str, str] = {
    "table.csv": "text/csv",
    "frames.csv": "text/csv",
    "table.jsonl": "application/jsonl",
    "table.parquet": "application/vnd.apache.parquet",
    "episodes.csv": "text/csv",
    "episodes.json": "application/json",
    "episodes.vtt": "text/vtt",
    "episodes.tsv": "text/tab-separated-values",
    "timeline.png": "image/png",
    "timeline.html": "text/html",
}
Result = Literal[
    "table.csv", "table.jsonl", "table.parquet", "frames.csv", "episodes.csv", "episodes.json", "episodes.vtt",
    "episodes.tsv", "timeline.png", "timeline.html",
]  # fmt: skip
FilmId = Annotated[str, InPath(alias="id", max_length=64, description="As POST /v1/videos gave it.")]


@router.post(
    "",
    status_code=202,
    summary="Upload a film to be read",
    responses=documented(
        400,
        408,
        413,
        415,
        422,
        503,
        good={202: {"headers": {"Location": {"schema": {"type": "string"}, "description": "The film's address."}}}},
    ),
    openapi_extra=upload_document("video/mp4", "video/webm", "application/octet-stream"),
)
async def upload(
    request: Request,
    response: Response,
    service: Shared,
    every: Annotated[int, Query(ge=1, le=10_000, description="Look at every N-th frame only.")] = 1,
    max_fps: Annotated[
        float | None, Query(gt=0, le=1000, allow_inf_nan=False, description="Look at no more frames in a second.")
    ] = None,
) -> Film:
    """The film is probed before the answer: a file that is no film, or has no picture, is refused. Its results are
    kept for an hour, the film itself only until it is read."""
    jobs, client = service.jobs, client_of(request)
    jobs.check_room(client)  # before a gigabyte has come in vain
    with jobs.new_folder() as folder:
        with (folder / "film").open("xb") as file:
            name = await take(request, file.write, service.settings.film_bytes, service.films)
        job = await jobs.start(folder, client, name, every, max_fps)
    response.headers["Location"] = f"/v1/videos/{job.id}"
    return job.document()


@router.get("/{id}", summary="How far a film is read", responses=documented(404, 422))
async def status(id: FilmId, service: Shared) -> Film:
    return _job(service, id).document()


@router.delete(
    "/{id}",
    status_code=204,
    summary="Stop reading a film, and remove it",
    responses=documented(404, 422),
)
async def remove(id: FilmId, service: Shared) -> None:
    await _job(service, id).remove()


@router.get(
    "/{id}/{result}",
    response_class=FileResponse,
    summary="A film's results",
    responses=documented(
        404,
        409,
        422,
        501,
        good={
            200: {
                "description": "A row per face and frame, a row per frame, everybody's episodes, or a drawing of them.",
                "content": {kind: {} for kind in sorted(set(_MIME.values()))},
            }
        },
    ),
)
async def fetch(id: FilmId, result: Result, service: Shared) -> FileResponse:
    """Not before the film is done."""
    job = _job(service, id)
    if job.state != "done":
        raise Refused(409, f"there are no results: the film is {job.state}")
    path = job.results / result
    if not path.is_file():
        raise Refused(501, 'the server makes no such file: it needs pip install "mien[table]"')
    # A picture may be shown; everything else is a file to keep, and never a page of this server.
    name = f"{job.name.rpartition('.')[0] or job.name}-{result}"
    headers = {} if result == "timeline.png" else attachment(name)
    return FileResponse(path, media_type=_MIME[result], headers=headers)


def _job(service: Service, id: str) -> Job:
    job = service.jobs.find(id)
    if job is None:
        raise Refused(404, "there is no such film; results are kept for a while only")
    return job
