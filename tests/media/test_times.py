"""Times of frames never fall and are those of the film, whatever its container knows of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from films import NTSC, make_film, number

from mien.errors import InputError
from mien.media.clock import Clock
from mien.media.frames import Frame
from mien.media.opening import open_frames

REORDERED = {"bf": "3", "g": "12", "x264-params": "b-adapt=0"}


def read(path: Path, **options: float) -> list[Frame]:
    return list(open_frames(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["asf", "wmv", "mxf", "avi", "mkv", "flv", "nut"])
def test_frames_that_are_coded_in_another_order(tmp_path: Path, ending: str) -> None:
    """ASF and MXF keep when a frame of H.264 is decoded, not when it is shown."""
    base = NTSC if ending in {"mxf", "avi"} else Fraction(1, 30000)
    frames = read(make_film(tmp_path / f"film.{ending}", count=40, options=REORDERED, time_base=base))
    assert [number(frame.image) for frame in frames] == list(range(40))
    np.testing.assert_allclose([frame.time for frame in frames], [float(i * NTSC) for i in range(40)], atol=2.1e-3)


@pytest.mark.parametrize("ending", ["asf", "mxf"])
def test_from_a_start_on(tmp_path: Path, ending: str) -> None:
    base = NTSC if ending == "mxf" else Fraction(1, 30000)
    path = make_film(tmp_path / f"film.{ending}", count=150, options=REORDERED, time_base=base)
    frames = read(path, start=3, end=3.5)
    numbers = [number(frame.image) for frame in frames]
    assert numbers == [frame.index for frame in frames] == list(range(90, 105))


@pytest.mark.parametrize("ending", ["mkv", "flv", "ts", "asf", "mp4", "nut"])
def test_a_film_that_begins_late_is_whole(tmp_path: Path, ending: str) -> None:
    path = make_film(tmp_path / f"film.{ending}", times=[4000 + i * NTSC for i in range(60)], count=60)
    frames = read(path, start=1)
    assert [number(frame.image) for frame in frames] == list(range(30, 60))
    assert frames[0].time == pytest.approx(1.001, abs=2e-3)


def test_a_late_film_that_is_cut_says_so(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", times=[100 + i * NTSC for i in range(90)], count=90, options={"g": "10"})
    with open_frames(path) as frames:
        assert frames.duration == pytest.approx(3, abs=0.1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut short or damaged: it should last 3\.0 s and ends after 1"):
        read(path)


def test_films_that_were_joined_go_on(tmp_path: Path) -> None:
    """As by `cat`: each begins to count anew."""
    both = tmp_path / "both.ts"
    both.write_bytes(make_film(tmp_path / "one.ts", count=90, options=REORDERED).read_bytes() * 2)
    frames = read(both)
    times = np.array([frame.time for frame in frames])
    assert len(frames) > 170
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(len(frames) / 29.97, abs=0.2)
    late = read(both, start=4)
    assert [frame.time for frame in late] == pytest.approx(times[times >= 4].tolist())
    assert [number(frame.image) for frame in late][:20] == [number(f.image) for f in frames if f.time >= 4][:20]


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([5, 6, 7, 9], [0, 1, 2, 4]),
        ([5, None, None, 8], [0, 1, 2, 3]),
        ([None, None], [0, 1]),
        ([0, 3, 1, 2, 4], [0, 3, 4, 5, 6]),
        ([100, 101, 102, 0, 1, 2], [0, 1, 2, 3, 4, 5]),
        ([7, 7, 8], [0, 1, 2]),
    ],
)
def test_the_clock_never_falls(stamps: list[int | None], times: list[float]) -> None:
    clock = Clock(stamps[0], Fraction(1), Fraction(1))
    assert [clock.time(stamp) for stamp in stamps] == times


def test_a_range_without_a_frame_says_so(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", count=30)
    with pytest.raises(InputError, match=r"film\.mp4 has no frame from 0\.51 s to before 0\.52 s$"):
        read(path, start=0.51, end=0.52)
    with pytest.raises(InputError, match=r"has no frame from 0\.5 s on whose number 40 divides$"):
        read(path, start=0.5, every=40)
    with pytest.raises(InputError, match="end should be above 0, not -1"):
        read(path, end=-1)


@pytest.mark.parametrize("rate", [1e308, 1e-308])
def test_any_rate_that_is_a_number(tmp_path: Path, rate: float) -> None:
    path = make_film(tmp_path / "film.mp4", count=10)
    assert len(read(path, max_fps=rate)) == (10 if rate > 1 else 1)
