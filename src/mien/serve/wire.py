"""What goes over the wire: the documents of the API, and `Faces` to rows and back."""

from __future__ import annotations

from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, create_model, model_validator

from mien.faces import SCHEMA, Faces
from mien.labels import LABELS

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

_PROBS: dict[str, JsonValue] = {
    "angry": 0.01, "disgust": 0.0, "fear": 0.01, "happy": 0.95, "neutral": 0.02, "sad": 0.0, "surprise": 0.01,
}  # fmt: skip


SchemaVersion = Annotated[
    Literal[1], Field(alias="schema", description="Version of the shape; a change that breaks readers raises it.")
]


class Probabilities(BaseModel):
    """One for each expression; they sum to one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_PROBS]})
    angry: Share
    disgust: Share
    fear: Share
    happy: Share
    neutral: Share
    sad: Share
    surprise: Share


class Face(BaseModel):
    """A face in a picture."""

    model_config = ConfigDict(extra="forbid")
    box: tuple[Pixel, Pixel, Pixel, Pixel] = Field(
        description="x1, y1, x2, y2 in pixels of the picture.", examples=[[177.07, 66.13, 270.93, 160.0]]
    )
    score: Share = Field(description="The detector's confidence.", examples=[0.98])
    landmarks: Annotated[list[tuple[Pixel, Pixel]], Field(min_length=5, max_length=5)] | None = Field(
        description="Right eye, left eye, nose, right and left corner of the mouth, right and left as the person has "
        "them, in pixels.",
        examples=[[[203.4, 101.1], [244.7, 101.1], [224.0, 125.0], [206.2, 140.4], [241.8, 140.4]]],
    )
    label: str = Field(max_length=20, description="The most likely expression, or uncertain.", examples=["happy"])
    confidence: Share = Field(description="Its probability.", examples=[0.95])
    probabilities: Probabilities


class TrackedFace(Face):
    """A face in a stream."""

    id: int = Field(ge=0, le=2**53, description="The same for the same person; 0 for a face that is not followed yet.")
    raw_probabilities: Probabilities | None = Field(
        None, description="Of the frame alone, where probabilities are smoothed over time."
    )
    quality: Share | None = Field(None, description="How well the face can be read.")

    @model_validator(mode="before")
    @classmethod
    def _current(cls, face: Any) -> Any:
        if isinstance(face, dict) and not face.keys().isdisjoint(("probs", "raw_probs")):
            raise ValueError(
                "probs and raw_probs are the names of an earlier version; rename them to probabilities and "
                "raw_probabilities"
            )
        return face


class Analysis(BaseModel):
    """The faces in a picture."""

    schema_version: SchemaVersion
    width: int = Field(examples=[512])
    height: int = Field(examples=[512])
    faces: list[Face]


class RecordedFrame(BaseModel):
    """A frame as the stream's answers describe it."""

    sequence: int = Field(ge=0, le=2**53)
    time: Seconds
    width: int = Field(ge=1, le=32_768)
    height: int = Field(ge=1, le=32_768)
    faces: list[TrackedFace] = Field(max_length=1000)

    @model_validator(mode="after")
    def _alike(self) -> Self:
        for column in ("raw_probabilities", "quality"):
            if len({getattr(face, column) is None for face in self.faces}) > 1:
                raise ValueError(f"either all faces of a frame have {column}, or none")
        return self

    def as_faces(self, start: float, labels: tuple[str, ...], **about: Any) -> Faces:
        """With times that count from `start`; `about` are other fields of Faces."""
        faces = self.faces
        raw = [face.raw_probabilities for face in faces if face.raw_probabilities is not None]
        quality = [face.quality for face in faces if face.quality is not None]
        return Faces(
            np.array([face.box for face in faces], np.float32),
            np.array([face.score for face in faces], np.float32),
            np.array([face.landmarks or [(np.nan, np.nan)] * 5 for face in faces], np.float32),
            probs=np.array([_shares(face.probabilities) for face in faces], np.float32),
            ids=np.array([face.id for face in faces], np.int64),
            raw_probs=np.array([_shares(probs) for probs in raw], np.float32) if raw else None,
            quality=np.array(quality, np.float32) if quality else None,
            frame=self.sequence, time=self.time - start, width=self.width, height=self.height,
            label_names=labels, **about,
        )  # fmt: skip


class StreamAnswer(RecordedFrame):
    """What the WebSocket answers to a frame."""

    type: Literal["faces"]
    schema_version: SchemaVersion
    milliseconds: dict[Literal["wait", "decode", "analyze"], float] = Field(
        description="In the server: waiting for a thread, decoding, finding and reading faces."
    )
    dropped: int = Field(ge=0, description="Frames of this connection that gave way to newer ones so far.")


class Recording(BaseModel):
    """Answers of a stream, kept by a client that wants them as a file."""

    schema_version: SchemaVersion = 1
    name: str = Field("recording", max_length=200)
    frames: Annotated[list[RecordedFrame], FailFast()] = Field(max_length=500_000)


@cache
def recordings(labels: tuple[str, ...]) -> type[Recording]:
    """What a recording is where the network has these labels: `Recording` itself for the seven expressions."""
    if labels == LABELS:
        return Recording
    frame = create_model("RecordedFrame", __base__=RecordedFrame, faces=_tracked_faces(labels))
    frames: Any = Annotated[GenericAlias(list, frame), FailFast()]
    return create_model("Recording", __base__=Recording, frames=(frames, Field(max_length=500_000)))


@cache
def stream_answers(labels: tuple[str, ...]) -> type[StreamAnswer]:
    """What a stream answers where the network has these labels: `StreamAnswer` itself for the seven expressions."""
    if labels == LABELS:
        return StreamAnswer
    return create_model("StreamAnswer", __base__=StreamAnswer, faces=_tracked_faces(labels))


@cache
def _tracked_faces(labels: tuple[str, ...]) -> Any:
    """The field `faces` of a frame for other labels than the seven expressions."""
    # Labels are aliases, since not every word that is one can be the name of a field.
    fields: dict[str, Any] = {f"p{k}": (Share, Field(alias=label, title=label)) for k, label in enumerate(labels)}
    even: JsonValue = dict.fromkeys(labels, round(1 / len(labels), 4))
    about = ConfigDict(extra="forbid", json_schema_extra={"examples": [even]})
    shares = create_model("Probabilities", __config__=about, __doc__=Probabilities.__doc__, **fields)
    raw = Field(None, description=TrackedFace.model_fields["raw_probabilities"].description)
    face = create_model(
        "TrackedFace", __base__=TrackedFace, probabilities=(shares, ...), raw_probabilities=(shares | None, raw)
    )
    return GenericAlias(list, face), Field(max_length=1000)


def _shares(probs: BaseModel) -> list[float]:
    """In the order of the labels, which is that of the fields."""
    return list(dict(probs).values())


class Film(BaseModel):
    """A film that is being read, or was."""

    id: str = Field(examples=["mP4yGd3hQvSxkJ1nYc0w2Q"])
    name: str = Field(examples=["holiday.mp4"])
    state: Literal["queued", "running", "done", "failed"]
    progress: Share
    seconds_done: float = Field(description="How far it is read, in seconds of the film.")
    duration: float | None = Field(description="How long it says it is, in seconds.")
    frames_done: int
    detail: str = Field(description="Why it failed, or what was wrong with a film that was read nevertheless.")


class Films(BaseModel):
    """How many films there are."""

    queued: int
    running: int


class Health(BaseModel):
    """That the server lives, and how busy it is."""

    status: Literal["ok"]
    version: str
    viewers: int
    max_viewers: int
    films: Films


class ViewerSettings(BaseModel):
    """Text messages of a viewer: `{"type": "settings"}` with what is to change, or `{"type": "reset"}`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["settings", "reset"]
    smoothing: bool | None = None
    min_confidence: Share | None = None


def analysis(faces: Faces, min_confidence: float = 0.0) -> dict[str, Any]:
    """An `Analysis`, ready for JSON."""
    return {
        "schema": SCHEMA,
        "width": faces.width,
        "height": faces.height,
        "faces": list(faces.rows(min_confidence)),
    }
