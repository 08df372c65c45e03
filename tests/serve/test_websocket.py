"""Frames over the WebSocket: everybody's own stream, the newest frame, turns, settings, errors one by one."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from serving import Gate, Server, asked, heard, jpeg, packed, serving, wait_until
from websockets.exceptions import ConnectionClosed

import mien
from mien.analyzer import Analyzer
from mien.faces import SCHEMA
from mien.labels import LABELS
from mien.media.frames import Frame
from mien.serve.wire import StreamAnswer


@pytest.fixture(scope="module")
def face(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The face alone, `(150, 150, 3)`."""
    return np.ascontiguousarray(astronaut[40:190, 150:300])


def by_place(faces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(faces, key=lambda row: tuple(row["box"]))


def test_people_keep_their_ids(server: Server, face: NDArray[np.uint8]) -> None:
    picture = jpeg(face)
    with server.viewer() as viewer:
        assert viewer.subprotocol == "mien.v1"
        hello = heard(viewer)
        assert (hello["type"], hello["detector"], hello["labels"]) == ("ready", "haar", list(LABELS))
        assert hello["model"] == server.service.analyzer.classifier.card.name
        for k in range(4):
            answer = asked(viewer, 7 + k, 0.2 * k, picture)
            assert (answer["type"], answer["sequence"], answer["time"]) == ("faces", 7 + k, 0.2 * k)
            assert (answer["width"], answer["height"], answer["dropped"]) == (150, 150, 0)
            assert set(answer["milliseconds"]) == {"wait", "decode", "analyze"}
            (row,) = answer["faces"]
            assert (row["id"], row["label"]) == (1, "happy")
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3)
            assert set(row["raw_probabilities"]) == set(LABELS)
            assert answer["schema"] == SCHEMA
            StreamAnswer.model_validate(answer)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats(server: Server, face: NDArray[np.uint8], kind: str) -> None:
    with server.viewer() as viewer:
        heard(viewer)
        assert len(asked(viewer, 0, 0, jpeg(face, kind))["faces"]) == 1


def test_viewers_do_not_disturb_each_other(server: Server, analyzer: Analyzer, face: NDArray[np.uint8]) -> None:
    """Two viewers, frame by frame in turn, get what streams of their own would give."""
    grey = np.full_like(face, 90)
    films = [
        [jpeg(np.hstack([face, face[:, ::-1]])), jpeg(np.hstack([grey, face[:, ::-1]]))] * 2,
        [jpeg(np.hstack([grey, face]))] * 4,
    ]
    got: list[list[Any]] = [[], []]
    with server.viewer() as one, server.viewer() as other:
        for viewer in (one, other):
            heard(viewer)
        for k in range(4):
            for which, viewer in enumerate((one, other)):
                got[which].append(by_place(asked(viewer, k, k / 5, films[which][k])["faces"]))
    for which, film in enumerate(films):
        alone = analyzer.stream()
        for k, picture in enumerate(film):
            image = np.array(Image.open(BytesIO(picture)).convert("RGB"))
            assert got[which][k] == by_place(list(alone.push(Frame(image, k, k / 5, "film")).rows()))
    assert {row["id"] for row in got[0][0]} == {1, 2}


def test_the_newest_frame_wins(analyzer: Analyzer, face: NDArray[np.uint8]) -> None:
    gate, picture = Gate(analyzer), jpeg(face)
    with serving(Analyzer(gate, analyzer.classifier), workers=1) as server, server.viewer() as viewer:
        heard(viewer)
        viewer.send(packed(0, 0.0, picture))
        wait_until(lambda: gate.widths)
        for k in range(1, 5):
            viewer.send(packed(k, k / 5, picture))
        assert [heard(viewer) for _ in range(3)] == [{"type": "dropped", "sequence": k} for k in (1, 2, 3)]
        gate.open.set()
        answers = [heard(viewer), heard(viewer)]
        assert [(a["type"], a["sequence"]) for a in answers] == [("faces", 0), ("faces", 4)]
        assert answers[-1]["dropped"] == 3
        assert answers[-1]["milliseconds"]["wait"] > 0


def test_turns_go_round(analyzer: Analyzer, face: NDArray[np.uint8]) -> None:
    """Somebody who always has a next frame does not keep others from theirs."""
    gate = Gate(analyzer)
    wide, narrow = jpeg(face), jpeg(np.ascontiguousarray(face[:, 10:140]))
    with serving(Analyzer(gate, analyzer.classifier), workers=1) as server, server.viewer() as a, server.viewer() as b:
        heard(a), heard(b)
        a.send(packed(0, 0.0, wide))
        wait_until(lambda: gate.widths)
        a.send(packed(1, 0.1, wide))
        a.send(packed(2, 0.2, wide))
        assert heard(a) == {"type": "dropped", "sequence": 1}
        b.send(packed(0, 0.0, narrow))
        assert asked_settings_are_taken(b)
        gate.open.set()
        assert [heard(a)["sequence"], heard(b)["sequence"], heard(a)["sequence"]] == [0, 0, 2]
        assert gate.widths == [150, 130, 150]


def asked_settings_are_taken(viewer: Any) -> bool:
    """Messages are taken in order: when this one is answered, the frame before it is in its slot."""
    viewer.send('{"type": "nothing"}')
    return bool(heard(viewer)["type"] == "error")


def test_settings_and_reset(server: Server, face: NDArray[np.uint8]) -> None:
    picture = jpeg(face)
    with server.viewer() as viewer:
        heard(viewer)
        assert asked(viewer, 0, 0.0, picture)["faces"][0]["label"] == "happy"
        viewer.send('{"type": "settings", "smoothing": false, "min_confidence": 1.0}')
        (row,) = asked(viewer, 1, 0.1, picture)["faces"]
        assert (row["label"], row["id"]) == ("uncertain", 1)
        assert "raw_probabilities" not in row
        viewer.send('{"type": "settings", "smoothing": true}')
        (row,) = asked(viewer, 2, 0.2, picture)["faces"]
        assert row["label"] == "uncertain"
        assert "raw_probabilities" in row
        assert asked(viewer, 3, 3.0, jpeg(np.full_like(face, 90)))["faces"] == []
        # Unseen for too long, so somebody else, who gets a number when confirmed.
        ids = [asked(viewer, 4 + k, 3.1 + k / 10, picture)["faces"][0]["id"] for k in range(6)]
        assert ids[-1] == 2
        assert 1 not in ids
        viewer.send('{"type": "reset"}')
        assert asked(viewer, 10, 3.8, picture)["faces"][0]["id"] == 1


def test_errors_one_by_one(server: Server, face: NDArray[np.uint8]) -> None:
    picture = jpeg(face)
    bad: list[tuple[bytes | str, int, int | None]] = [
        (b"short", 400, None),
        (packed(1, 0.0, b""), 400, None),
        (packed(2, 0.0, b"this is no picture"), 415, 2),
        (packed(3, 0.0, jpeg(face, "GIF")), 415, 3),
        (packed(4, 0.0, picture[: len(picture) // 2]), 422, 4),
        (packed(5, float("nan"), picture), 422, 5),
        (packed(6, -1.0, picture), 422, 6),
        (packed(7, 1e300, picture), 422, 7),
        ("{", 422, None),
        ('{"type": "settings", "smoothing": "perhaps"}', 422, None),
        ('{"type": "settings", "volume": 11}', 422, None),
        ('{"type": "settings", "min_confidence": 2}', 422, None),
        ('{"type": "' + "x" * 5000 + '"}', 413, None),
    ]
    with server.viewer() as viewer:
        heard(viewer)
        for message, status, sequence in bad:
            viewer.send(message)
            answer = heard(viewer)
            assert (answer["type"], answer["status"], answer["sequence"]) == ("error", status, sequence), answer
            assert answer["title"]
            assert answer["detail"]
        assert asked(viewer, 99, 0.0, picture)["type"] == "faces"


def test_too_many_viewers(analyzer: Analyzer) -> None:
    with serving(analyzer, max_viewers=1) as server, server.viewer() as first:
        heard(first)
        with server.viewer() as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        first.close()
        wait_until(lambda: not server.service.viewers)
        with server.viewer() as third:
            assert heard(third)["type"] == "ready"


def test_too_large_a_message(analyzer: Analyzer) -> None:
    with serving(analyzer, frame_bytes=1000) as server, server.viewer() as viewer:
        assert heard(viewer)["max_bytes"] == 1000
        viewer.send(packed(0, 0.0, bytes(2000)))
        with pytest.raises(ConnectionClosed) as closed:
            viewer.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_text_that_is_none(analyzer: Analyzer, caplog: pytest.LogCaptureFixture) -> None:
    """The standard asks for the code; the log is no place for a client's fault."""
    with serving(analyzer) as server, server.viewer() as viewer:
        heard(viewer)
        with viewer.send_context():
            viewer.protocol.send_text(b"\xff\xfe\xfd")
        with pytest.raises(ConnectionClosed) as closed:
            viewer.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    assert "Traceback" not in caplog.text


def test_too_many_messages(analyzer: Analyzer) -> None:
    with serving(analyzer, frames_per_second=0.01) as server, server.viewer() as viewer:
        heard(viewer)
        viewer.send('{"type": "reset"}')
        with pytest.raises(ConnectionClosed) as closed:
            viewer.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_fault_is_told_without_its_text(
    analyzer: Analyzer, face: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name, note = "broken", ""

        def detect(self, image: NDArray[np.uint8]) -> mien.Faces:
            raise ZeroDivisionError("/secret/place")

    with serving(Analyzer(Broken(), analyzer.classifier)) as server:
        with server.viewer() as viewer:
            heard(viewer)
            viewer.send(packed(0, 0.0, jpeg(face)))
            with pytest.raises(ConnectionClosed) as closed:
                viewer.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert "secret" not in closed.value.rcvd.reason
        with server.client() as client:
            answer = client.post("/v1/analyze", content=jpeg(face))
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "secret" not in answer.text
            assert "Zero" not in answer.text
    assert "/secret/place" in caplog.text


@pytest.mark.parametrize("whole", [False, True])
@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_any_bytes(server: Server, face: NDArray[np.uint8], whole: bool, data: st.DataObject) -> None:
    """Whatever is sent gets one answer, and the connection goes on."""
    picture = jpeg(face[::3, ::3])
    if whole:
        message = data.draw(st.binary(max_size=200))
    else:
        spoilt = bytearray(picture)
        for _ in range(data.draw(st.integers(1, 6))):
            spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
        moment = data.draw(st.floats(width=64))
        message = packed(data.draw(st.integers(0, 2**32 - 1)), moment, bytes(spoilt))
    with server.viewer() as viewer:
        heard(viewer)
        viewer.send(message)
        assert heard(viewer)["type"] in {"faces", "error"}
        assert asked(viewer, 1, 1e6, picture)["type"] == "faces"
