"""Pictures, recordings, and what the server says about itself."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from serving import Gate, Server, asked, heard, jpeg, serving, wait_until

from mien.analyzer import Analyzer
from mien.faces import SCHEMA
from mien.labels import LABELS
from mien.output.tables import COLUMNS


@pytest.fixture(scope="module")
def frames(server: Server, astronaut: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Answers of a stream: two people, then a frame without anybody."""
    face = astronaut[40:190, 150:300]
    picture, nobody = jpeg(np.hstack([face, face[:, ::-1]])), jpeg(np.full((100, 100, 3), 90, np.uint8))
    with server.viewer() as viewer:
        heard(viewer)
        return [asked(viewer, k, 50 + k / 5, picture if k < 4 else nobody) for k in range(5)]


def recording(frames: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = ("sequence", "time", "width", "height", "faces")
    return {"name": "party", "frames": [{key: frame[key] for key in wanted} for frame in frames]}


def test_a_picture(server: Server, analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    photo = jpeg(astronaut, "PNG")
    expected: dict[str, Any] = {
        "schema": SCHEMA, "width": 512, "height": 512, "faces": list(analyzer.analyze(astronaut).rows()),
    }  # fmt: skip
    with server.client() as client:
        for answer in (
            client.post("/v1/analyze", content=photo),
            client.post("/v1/analyze", files={"file": ("photo.png", photo)}),
            client.post("/v1/analyze", files={"file": ("photo.png", photo)}, data={"note": "left out"}),
        ):
            assert answer.status_code == 200
            assert answer.json() == expected
        assert set(expected["faces"][0]) == {"box", "score", "landmarks", "label", "confidence", "probabilities"}
        uncertain = client.post("/v1/analyze", params={"min_confidence": 1}, content=photo).json()
        assert uncertain["faces"][0]["label"] == "uncertain"
        drawn = client.post("/v1/analyze", params={"as": "image"}, content=photo)
        assert drawn.headers["content-type"] == "image/png"
        image = np.array(Image.open(BytesIO(drawn.content)))
        assert image.shape == astronaut.shape
        assert 0.001 < (image != astronaut).any(2).mean() < 0.3


@pytest.mark.parametrize("query", [{"min_confidence": 2}, {"min_confidence": "much"}, {"as": "song"}])
def test_wrong_questions(server: Server, query: dict[str, str]) -> None:
    with server.client() as client:
        answer = client.post("/v1/analyze", params=query, content=b"x")
        assert answer.status_code == 422
        assert next(iter(query)) in answer.json()["detail"]


def test_a_busy_server_says_so(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    gate, photo = Gate(analyzer), jpeg(astronaut[40:190, 150:300])
    with (
        serving(Analyzer(gate, analyzer.classifier), workers=1, max_requests=1) as server,
        server.client() as client,
        ThreadPoolExecutor(1) as other,
    ):
        waits = other.submit(client.post, "/v1/analyze", content=photo)
        wait_until(lambda: gate.widths)
        answer = client.post("/v1/analyze", content=photo)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        gate.open.set()
        assert waits.result().status_code == 200
        assert client.post("/v1/analyze", content=photo).status_code == 200


def test_a_recording_as_a_table(server: Server, frames: list[dict[str, Any]]) -> None:
    with server.client() as client:
        answer = client.post("/v1/recordings", params={"format": "csv"}, json=recording(frames))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/csv")
        assert "party.csv" in answer.headers["content-disposition"]
        table = list(csv.DictReader(StringIO(answer.text)))
        assert tuple(table[0]) == COLUMNS
        sent = [(frame, face) for frame in frames for face in frame["faces"]]
        assert len(table) == len(sent) == 8
        for row, (frame, face) in zip(table, sent, strict=True):
            assert (row["source"], int(row["frame"]), int(row["id"])) == ("party", frame["sequence"], face["id"])
            assert float(row["time_s"]) == pytest.approx(frame["time"] - 50)
            assert [float(row[key]) for key in ("x1", "y1", "x2", "y2")] == face["box"]
            assert row["label"] == face["label"]
            assert {label: float(row[label]) for label in LABELS} == face["probabilities"]
            assert {label: float(row[f"raw_{label}"]) for label in LABELS} == face["raw_probabilities"]
            assert (row["detector"], row["model"]) == ("haar", "base")
        parquet = client.post("/v1/recordings", params={"format": "parquet"}, json=recording(frames))
        content = pl.read_parquet(BytesIO(parquet.content))
        assert content.columns == list(COLUMNS)
        assert content["id"].to_list() == [int(row["id"]) for row in table]
        assert list(server.service.folder.iterdir()) == []


def test_a_recording_as_captions(server: Server, frames: list[dict[str, Any]]) -> None:
    with server.client() as client:
        answer = client.post("/v1/recordings", params={"format": "vtt"}, json=recording(frames))
        assert answer.headers["content-type"].startswith("text/vtt")
        assert answer.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.600\nperson 1: happy\n")
        assert answer.text.count("happy") == 2


def test_what_is_wrong_with_a_long_recording_is_said_once(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/v1/recordings", json={"frames": [{}] * 100_000})
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) < 300
    assert "99999" not in answer.text


def test_recordings_without_smoothing_and_without_anybody(server: Server, frames: list[dict[str, Any]]) -> None:
    plain = recording(frames)
    for frame in plain["frames"]:
        frame["faces"] = [
            {key: value for key, value in face.items() if key not in {"raw_probabilities", "quality"}}
            | {"landmarks": None}
            for face in frame["faces"]
        ]
    with server.client() as client:
        (row, *_) = csv.DictReader(StringIO(client.post("/v1/recordings", json=plain).text))
        assert (row["raw_happy"], row["quality"], row["nose_x"]) == ("", "", "")
        for nothing in (recording([]), recording(frames[4:])):
            assert client.post("/v1/recordings", json=nothing).text.strip() == ",".join(COLUMNS)
            assert client.post("/v1/recordings", params={"format": "vtt"}, json=nothing).text == "WEBVTT\n"


def test_broken_recordings(server: Server, frames: list[dict[str, Any]]) -> None:
    half = deepcopy(recording(frames))
    del half["frames"][0]["faces"][0]["raw_probabilities"]
    old = deepcopy(recording(frames))
    for face in old["frames"][0]["faces"]:
        face["probs"], face["raw_probs"] = face.pop("probabilities"), face.pop("raw_probabilities")
    much = deepcopy(recording(frames))
    much["frames"][0]["faces"][0]["probabilities"] = dict.fromkeys(LABELS, 0.5)
    wrong: list[tuple[Any, str]] = [
        (much, "rows sum to 1, not to [3.5"),
        ({"frames": "none"}, "frames"),
        ({"frames": [{}]}, "frames.0"),
        (half, "either all faces of a frame have raw_probabilities, or none"),
        (old, "rename them to probabilities and raw_probabilities"),
        (recording(frames) | {"schema": 2}, "schema"),
        ([1, 2], "object"),
    ]
    with server.client() as client:
        for content, word in wrong:
            answer = client.post("/v1/recordings", json=content)
            assert answer.status_code == 422
            assert word in answer.json()["detail"]
        versioned = recording(frames) | {"schema": SCHEMA}
        assert client.post("/v1/recordings", json=versioned).status_code == 200
        assert client.post("/v1/recordings", content=b"{").status_code == 422
        assert client.post("/v1/recordings", content=b'{"frames": [], "name": 1e999}').status_code == 422


def test_health_and_model(server: Server, analyzer: Analyzer) -> None:
    with server.client() as client:
        health = client.get("/v1/health").json()
        assert health["status"] == "ok"
        assert health["viewers"] == 0
        assert health["films"] == {"queued": 0, "running": 0}
        with server.viewer() as viewer:
            heard(viewer)
            assert client.get("/v1/health").json()["viewers"] == 1
        wait_until(lambda: client.get("/v1/health").json()["viewers"] == 0)
        card = client.get("/v1/model").json()
        assert card["sha256"] == analyzer.classifier.card.sha256
        assert sorted(card["labels"]) == sorted(LABELS)


def test_counters(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    photo = jpeg(astronaut[40:190, 150:300])
    with serving(analyzer) as server, server.client() as client:
        client.post("/v1/analyze", content=b"x")
        with server.viewer() as viewer:
            heard(viewer)
            for k in range(3):
                asked(viewer, k, k / 5, photo)
            asked(viewer, 4, 1.0, b"nothing")
            text = client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["mien_viewers",] == 1
    assert values["mien_frames_total", "read"] == 3
    assert values["mien_frames_total", "failed"] == 1
    assert values["mien_faces_total",] == 3
    assert values["mien_frame_seconds_count", "decode"] == 3
    assert values["mien_requests_total", "415", "POST"] == 1
