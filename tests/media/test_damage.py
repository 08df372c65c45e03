"""A film that is cut short or damaged says so, also where its decoder hides it, and gives all that is left."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from films import NTSC, make_film, number, packets
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media.frames import Frame
from mien.media.lengths import is_cut
from mien.media.opening import open_frames


@pytest.fixture
def moving(astronaut: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """90 frames with something in every part of them."""
    return [np.ascontiguousarray(np.roll(astronaut[40:280, 100:420], 2 * i, axis=1)) for i in range(90)]


def problem(path: Path) -> tuple[list[Frame], str]:
    """All frames, and what is said after them."""
    seen = []
    with pytest.raises(InputError) as caught:
        for frame in open_frames(path):
            seen.append(frame)  # noqa: PERF402
    return seen, str(caught.value)


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [("a.avi", "mjpeg", None), ("b.avi", "mpeg4", "libmp3lame"), ("c.avi", "rawvideo", None), ("d.wmv", "mpeg4", None),
     ("e.ts", "mpeg2video", "mp2"), ("f.ts", "libx264", "aac"), ("g.ts", "libx265", None)],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_cut_short(tmp_path: Path, name: str, codec: str, sound: str | None, share: float) -> None:
    base = Fraction(1, 30000) if codec == "libx264" else NTSC
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else None
    path = make_film(tmp_path / name, count=120, codec=codec, sound=sound, time_base=base, options=quiet)
    assert len(list(open_frames(path))) == 120
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share) // 188 * 188 + 100])
    seen, sentence = problem(path)
    assert len(seen) > 90 * share
    assert [number(frame.image) for frame in seen[:40]] == list(range(40))
    assert sentence.startswith(f"{path} is cut short: it ends after ")


def test_films_with_larger_packets(tmp_path: Path) -> None:
    """As cameras and discs write them: each packet with four bytes of time before it."""
    content = make_film(tmp_path / "film.ts", count=60).read_bytes()
    path = tmp_path / "film.m2ts"
    path.write_bytes(b"".join(b"TIME" + content[i : i + 188] for i in range(0, len(content), 188)))
    assert len(list(open_frames(path))) == 60
    assert not is_cut(path, "mpegts")
    path.write_bytes(path.read_bytes()[:-20])
    assert is_cut(path, "mpegts")
    path.write_bytes(content[100:])  # the beginning is gone, which nobody can know
    assert not is_cut(path, "mpegts")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.ts", "mpeg2video"), ("d.avi", "mpeg4")]
)
def test_what_the_decoder_hides_is_counted(
    moving: list[NDArray[np.uint8]], tmp_path: Path, name: str, codec: str
) -> None:
    base = Fraction(1, 30000) if codec == "libx264" else NTSC
    path = make_film(tmp_path / name, moving, codec=codec, time_base=base, options={"g": "90"})
    assert len(list(open_frames(path))) == 90
    content = bytearray(path.read_bytes())
    largest = max((packet for _, packet in packets(path, "video")[1:]), key=len)
    place = content.index(largest[40:80]) + 40
    content[place : place + 40] = bytes(range(100, 140))
    path.write_bytes(content)
    seen, sentence = problem(path)
    assert len(seen) >= 89
    assert "is damaged: " in sentence
    assert "of its frames" in sentence


def test_a_picture_that_is_not_whole_is_shown_and_counted(moving: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    """Motion JPEG, whose decoder leaves the rest of such a picture grey without a word; also when it lies on its side,
    which only the container knows."""
    path = make_film(tmp_path / "film.mov", moving[:12], codec="mjpeg", rotation=90)
    whole = list(open_frames(path))
    content = bytearray(path.read_bytes())
    for index in (3, 7):
        packet = packets(path, "video")[index][1]
        at = content.index(packet) + len(packet) // 2
        content[at : at + len(packet) // 2] = bytes(len(packet) // 2)
    path.write_bytes(content)
    seen, sentence = problem(path)
    assert "2 of its packets could not be read whole" in sentence
    assert [frame.time for frame in seen] == [frame.time for frame in whole]
    same = [bool((a.image == b.image).all()) for a, b in zip(seen, whole, strict=True)]
    assert same == [index not in {3, 7} for index in range(12)]
    assert all((a.image == b.image).mean() > 0.3 for a, b in zip(seen, whole, strict=True))  # as far as they go


def test_the_same_damage_gives_the_same_frames(moving: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", moving)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    for place in rng.integers(len(content) // 4, len(content) * 3 // 4, 4).tolist():
        content[place : place + 20] = rng.bytes(20)
    path.write_bytes(content)
    once, said = problem(path)
    again, said_again = problem(path)
    assert said == said_again
    assert all((a.image == b.image).all() for a, b in zip(once, again, strict=True))


def test_a_broken_picture_in_the_middle_is_no_end(tmp_path: Path) -> None:
    """Whatever kind of error the decoder has for it."""
    path = make_film(tmp_path / "film.mov", codec="png", count=30)
    content = bytearray(path.read_bytes())
    eleventh = content.index(packets(path, "video")[10][1])
    content[eleventh + 60 : eleventh + 90] = bytes(30)
    path.write_bytes(content)
    seen, sentence = problem(path)
    assert [number(frame.image) for frame in seen] == [i for i in range(30) if i != 10]
    assert "1 of its packets could not be read whole" in sentence


def test_packets_that_were_lost_on_the_way(moving: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    """H.265, whose decoder would keep back all frames after them."""
    path = make_film(tmp_path / "film.ts", moving, codec="libx265", options={"x265-params": "log-level=none"})
    content = path.read_bytes()
    place = len(content) // 188 // 2 * 188
    path.write_bytes(content[:place] + content[place + 188 * 2 :])
    seen, sentence = problem(path)
    assert len(seen) > 70
    assert "of its frames are incomplete" in sentence
