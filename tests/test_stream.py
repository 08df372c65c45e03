"""People keep their ids over a film, streams do not know of each other, and pictures are left as they are."""

from __future__ import annotations

import gc
import importlib.util
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from films import make_faces_film
from numpy.typing import NDArray
from PIL import Image

import mien
from mien.errors import InputError
from mien.media.frames import Frame
from mien.vision.detect import MienDetector

ROOT = Path(__file__).parents[1]


def demo_film() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_demo_film", ROOT / "scripts" / "make_demo_film.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.load(detector="haar")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    return make_faces_film(tmp_path_factory.mktemp("film") / "film.mp4", astronaut)


def told(faces: mien.Faces) -> dict[str, Any]:
    """A frame's result, faces from left to right: OpenCV's cascade finds them in any order."""
    content = faces.to_dict()
    return content | {"faces": sorted(content["faces"], key=lambda face: face["box"])}


def test_ids_last_and_end_at_the_cut(analyzer: mien.Analyzer, film: Path) -> None:
    frames = list(analyzer.stream(film, every=2))
    assert [faces.frame for faces in frames] == list(range(0, 60, 2))
    assert [faces.time for faces in frames] == pytest.approx([i * 1001 / 30000 for i in range(0, 60, 2)], abs=1e-9)
    before = Counter(i for faces in frames[:20] if faces.ids is not None for i in faces.ids.tolist())
    after = Counter(i for faces in frames[20:] if faces.ids is not None for i in faces.ids.tolist())
    assert {i for i, n in before.items() if n >= 10} == {1, 2}
    assert not set(before) & set(after) - {0}
    assert max(after.values()) >= 7
    for faces in frames:
        assert faces.source == str(film)
        assert faces.raw_probs is not None
        assert faces.quality is not None
        assert faces.quality.shape == (len(faces),)


def test_smoothing(analyzer: mien.Analyzer, film: Path) -> None:
    smooth = list(analyzer.stream(film, every=5))
    plain = list(analyzer.stream(film, every=5, smoothing=False))
    assert all(faces.raw_probs is None for faces in plain)
    raw = [told(faces.replace(probs=faces.raw_probs, raw_probs=None)) for faces in smooth]
    assert raw == [told(faces) for faces in plain]
    assert [told(faces) for faces in smooth] != raw


def test_two_streams_do_not_disturb_each_other(analyzer: mien.Analyzer, film: Path) -> None:
    alone = [told(faces) for faces in analyzer.stream(film, every=4)]
    with analyzer.stream(film, every=4) as one, analyzer.stream(film, every=4, workers=2) as other:
        pairs = list(zip(one, other, strict=True))
    assert [told(a) for a, _ in pairs] == alone
    assert [told(b) for _, b in pairs] == alone


def test_pushed_frames_give_the_same(analyzer: mien.Analyzer, film: Path) -> None:
    pairs = list(analyzer.stream(film, every=6).pairs())
    stream = analyzer.stream()
    assert [told(stream.push(frame)) for frame, _ in pairs] == [told(faces) for _, faces in pairs]
    with pytest.raises(InputError, match="push"):
        next(iter(stream))


def test_pictures_are_nobody_in_particular(
    analyzer: mien.Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(astronaut).save(tmp_path / name)
    for faces, path in zip(analyzer.stream(tmp_path), sorted(tmp_path.iterdir()), strict=True):
        assert faces.to_dict() == analyzer.analyze(path).to_dict()
        assert (faces.ids, faces.raw_probs, faces.quality) == (None, None, None)


def test_another_source_begins_anew(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8]) -> None:
    stream = analyzer.stream()
    ids = [
        stream.push(Frame(astronaut, k, k / 25, name)).ids for name in ("first", "second") for k in range(3)
    ]  # fmt: skip
    assert [i.tolist() for i in ids if i is not None] == [[1]] * 6


def test_problems_come_after_the_frames(analyzer: mien.Analyzer, film: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(film.read_bytes())
    (tmp_path / "b.mp4").touch()
    seen = []
    with pytest.raises(InputError, match=r"b\.mp4"):
        for faces in analyzer.stream(tmp_path, every=20, workers=3):
            seen.append(faces.frame)  # noqa: PERF401 - an exception comes at the end
    assert seen == [0, 20, 40]
    with pytest.raises(InputError, match="nowhere"):
        analyzer.stream("nowhere.mp4")


def test_the_demo_film(tmp_path: Path) -> None:
    """Somebody passes in front of somebody, then there is a cut: three people, each with one id."""
    path = tmp_path / "demo.mp4"
    demo_film().write(path, (320, 240), 3.0)
    frames = list(mien.load().stream(path, every=2))
    assert len(frames) == 45
    seen = Counter(i for faces in frames if faces.ids is not None for i in faces.ids.tolist() if i)
    assert {i for i, n in seen.items() if n > 5} == {1, 2, 3}
    cut = 2 / 3 * 90
    for faces in frames:
        assert faces.ids is not None
        if faces.frame < cut:
            assert 3 not in faces.ids
        else:
            assert set(faces.ids.tolist()) <= {0, 3}


def test_arrays_are_pushed_with_their_times(analyzer: mien.Analyzer, astronaut: NDArray[np.uint8]) -> None:
    stream = analyzer.stream(fps=10, color="bgr")
    image = astronaut[..., ::-1]
    pushed = [stream.push(image), stream.push(image), stream.push(image, 0.5), stream.push(image, time=2)]
    assert [(faces.frame, faces.time) for faces in pushed] == [(0, 0.0), (1, 0.1), (2, 0.5), (3, 2.0)]
    assert [faces.label for faces in pushed] == ["happy"] * 4
    with pytest.raises(InputError, match=r"frames should come in order: 1 s is before 2 s"):
        stream.push(image, 1)
    with pytest.raises(InputError, match="time should be 0 or more, not nan"):
        stream.push(image, float("nan"))
    with pytest.raises(InputError, match=r"not \(3,\) uint8"):
        stream.push(np.zeros(3, np.uint8), 3)
    assert [faces.time for faces in analyzer.stream([image] * 3, fps=2, color="bgr")] == [0, 0.5, 1]


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1.0])
def test_times_that_are_none(analyzer: mien.Analyzer, moment: float) -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    stream = analyzer.stream()
    with pytest.raises(InputError, match="time should be 0 or more"):
        stream.push(black, moment)
    with pytest.raises(InputError, match="time should be 0 or more"):
        stream.push(mien.Frame(black, 0, moment))
    stream.push(mien.Frame(black, 0, 5.0, "film"))
    with pytest.raises(InputError, match="4 s is before 5 s"):
        stream.push(mien.Frame(black, 1, 4.0, "film"))
    assert stream.push(mien.Frame(black, 0, 1.0, "another film")).time == 1


def test_a_stream_that_nobody_reads_leaves_no_thread(analyzer: mien.Analyzer, film: Path) -> None:
    def readers() -> int:
        return sum(thread.name == "frames" for thread in threading.enumerate())

    before = readers()
    unread, begun = analyzer.stream(film), iter(analyzer.stream(film))
    next(begun)
    assert readers() == before + 2
    del unread, begun
    gc.collect()
    deadline = time.monotonic() + 5
    while readers() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert readers() == before


def test_any_number_of_workers(analyzer: mien.Analyzer) -> None:
    """No more are begun than can be of use, and no more frames taken than those need."""
    taken = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        for _ in range(3000):
            taken += 1
            yield np.zeros((8, 8, 3), np.uint8)

    with analyzer.stream(images(), workers=10**6) as stream:
        next(iter(stream))
        assert taken < 1000


def test_a_stream_is_read_once(analyzer: mien.Analyzer, film: Path) -> None:
    stream = analyzer.stream(film, every=30)
    assert len(list(stream)) == 2
    with pytest.raises(InputError, match="already been read or closed"):
        list(stream)
    with pytest.raises(InputError, match="workers should be a whole number, 1 or greater, not 0"):
        analyzer.stream(film, workers=0)


def test_who_is_followed_may_be_faint(astronaut: NDArray[np.uint8]) -> None:
    """Somebody seen well and then in the dark is followed on; somebody who was always in the dark is not found."""
    analyzer = mien.load()
    score = analyzer.analyze(astronaut).scores[0]
    assert isinstance(analyzer.detector, MienDetector)
    analyzer.detector.min_score = float(score) - 0.02
    dim = next(
        picture for share in np.linspace(0.9, 0.02, 45)
        if not len(analyzer.analyze(picture := (astronaut * share).astype(np.uint8)))
    )  # fmt: skip
    stream = analyzer.stream()
    ids = [stream.push(picture).ids for picture in (astronaut, astronaut, dim, dim)]
    assert [one.tolist() for one in ids if one is not None] == [[1]] * 4
    dark = analyzer.stream()
    assert [len(dark.push(dim)) for _ in range(4)] == [0] * 4
    chosen = mien.load(min_score=analyzer.detector.min_score).stream()
    assert [len(chosen.push(picture)) for picture in (astronaut, astronaut, dim)] == [1, 1, 0]
