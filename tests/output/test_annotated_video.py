"""An annotated film keeps its original's times and sound, and plays anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import make_film, number, numbered, packets

from mien.errors import InputError, OutputError
from mien.media.opening import open_frames
from mien.output import video
from mien.output.video import open_video


def copied(original: Path, start: float | None = None, end: float | None = None) -> Path:
    """The film, written again without annotations."""
    target = original.parent / "new" / "out.mp4"
    with open_video(target, original, end) as film:
        for frame in open_frames(original, start=start, end=end):
            film.write(frame.image, frame.time)
    assert [p.name for p in target.parent.iterdir()] == ["out.mp4"]
    return target


def test_times_and_sound_are_the_originals(tmp_path: Path) -> None:
    original = make_film(tmp_path / "film.mp4", count=75, sound="aac")
    copy = copied(original)
    before, after = list(open_frames(original)), list(open_frames(copy))
    assert [f.time for f in after] == [f.time for f in before]
    assert [number(f.image) for f in after] == list(range(75))
    assert packets(copy, "audio") == packets(original, "audio")
    with av.open(str(copy)) as film:
        video = film.streams.video[0].codec_context
        assert (video.name, video.pix_fmt) == ("h264", "yuv420p")
        assert film.duration is not None
        assert film.duration / 1e6 == pytest.approx(75 * 1001 / 30000, abs=0.02)


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [Fraction(t, 1000) for t in (0, 33, 66, 400, 410, 1500, 1533, 2999)]
    copy = copied(make_film(tmp_path / "film.mkv", times=times, count=8, time_base=Fraction(1, 1000)))
    assert [f.time for f in open_frames(copy)] == pytest.approx([float(t) for t in times], abs=1e-9)


@pytest.mark.parametrize(("ending", "codec"), [("ts", "aac"), ("mkv", "pcm_s16le"), ("mkv", "libmp3lame")])
def test_sound_of_other_containers_stays_in_step(tmp_path: Path, ending: str, codec: str) -> None:
    copy = copied(make_film(tmp_path / f"film.{ending}", count=75, sound=codec))
    sound = packets(copy, "audio")
    with av.open(str(copy)) as film:
        name = film.streams.audio[0].codec_context.name
    assert name in ({"mp3", "mp3float"} if codec == "libmp3lame" else {"aac"})
    assert float(sound[0][0]) == pytest.approx(0, abs=0.06)
    assert float(sound[-1][0]) == pytest.approx(75 * 1001 / 30000, abs=0.06)


def test_a_part_begins_at_zero_with_its_own_sound(tmp_path: Path) -> None:
    original = make_film(tmp_path / "film.mp4", count=150, sound="aac")
    copy = copied(original, start=3.0, end=4.0)
    frames = list(open_frames(copy))
    assert frames[0].time == 0
    assert [number(f.image) for f in frames] == list(range(90, 120))
    sound = packets(copy, "audio")
    assert {content for _, content in sound} <= {content for _, content in packets(original, "audio")}
    assert float(sound[0][0]) == pytest.approx(0, abs=0.03)
    assert float(sound[-1][0]) == pytest.approx(1, abs=0.05)


def test_ended_early(tmp_path: Path) -> None:
    original = make_film(tmp_path / "film.mp4", count=90, sound="aac")
    with open_video(tmp_path / "out.mp4", original) as film:
        for frame in open_frames(original, end=1.0):
            film.write(frame.image, frame.time)
        film.cut()
    assert float(packets(tmp_path / "out.mp4", "audio")[-1][0]) < 1


def test_odd_sizes_and_changing_ones(tmp_path: Path) -> None:
    with open_video(tmp_path / "out.mp4") as film:
        film.write(numbered(1, (161, 121)), 0.0)
        film.write(numbered(2, (161, 121)), 0.04)
        film.write(np.repeat(np.repeat(numbered(3, (161, 121)), 2, 0), 2, 1), 0.08)
    frames = list(open_frames(tmp_path / "out.mp4"))
    assert [f.image.shape for f in frames] == [(122, 162, 3)] * 3
    assert [number(f.image) for f in frames] == [1, 2, 3]
    assert [f.time for f in frames] == pytest.approx([0, 0.04, 0.08], abs=1e-4)


def test_a_rotated_film_comes_out_upright(tmp_path: Path) -> None:
    copy = copied(make_film(tmp_path / "film.mp4", count=3, rotation=90, sound="aac"))
    with av.open(str(copy)) as film:
        frame = next(film.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (120, 160, 0)


def test_a_failed_run_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("before")
    with pytest.raises(RuntimeError), open_video(target) as film:
        film.write(numbered(1), 0.0)
        raise RuntimeError
    assert target.read_text() == "before"
    with open_video(target):
        pass  # no frame
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_without_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyAV was built without x264."""
    monkeypatch.setattr("mien.output.video._ENCODER", "libx263")
    with pytest.raises(OutputError, match="this build of FFmpeg has no libx263"):  # noqa: SIM117
        with open_video(tmp_path / "film.mp4") as film:
            film.write(numbered(0), 0.0)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the film"), open_video(tmp_path / "file" / "out.mp4"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr("mien.files._reserved", lambda path: tmp_path / "full")
    with pytest.raises(OutputError, match="no space left"), open_video(tmp_path / "out.mp4") as film:
        for i in range(60):
            film.write(np.random.default_rng(i).integers(0, 255, (120, 160, 3), np.uint8), i / 25)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_leaves_a_film_that_opens(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    random = np.random.default_rng(0)
    written = 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))  # as a full disk, to a program that writes
    try:
        told = pytest.raises(OutputError, match=r"cannot write the film .*what could be written is in")
        with told as error, open_video(tmp_path / "film.mp4") as film:
            for written in range(200):
                film.write(random.integers(0, 256, (120, 160, 3), np.uint8), written / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = tmp_path / "film.cut.mp4"
    assert str(kept) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]
    frames = 0
    with suppress(InputError):  # its last packet may be cut
        for _ in open_frames(kept):
            frames += 1
    assert 10 < frames < written


def test_sound_whose_times_are_irregular(tmp_path: Path) -> None:
    """An AVI's sound has times that are estimates: it is coded anew, and the film is whole."""
    film = make_film(tmp_path / "film.avi", count=60, sound="mp3")
    with av.open(str(copied(film))) as copy:
        assert copy.streams.audio[0].codec_context.name == "aac"
        assert sum(1 for _ in copy.decode(video=0)) == 60


@pytest.mark.parametrize("damage", ["repeats", "falls"])
def test_sound_that_repeats_or_falls_does_not_stop_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    whole = video._Sound._demuxed

    def spoilt(self: video._Sound, container: Any) -> Iterator[Any]:
        for i, packet in enumerate(whole(self, container)):
            if i > 20:
                packet.pts = packet.pts // 3 if damage == "falls" else packet.pts // 4096 * 4096
            yield packet

    monkeypatch.setattr(video._Sound, "_demuxed", spoilt)
    film = make_film(tmp_path / "film.mkv", count=60, sound="aac")
    assert len(list(open_frames(copied(film)))) == 60


def test_sound_that_no_mp4_takes_is_left_out_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: video._Sound, packet: Any) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(video._Sound, "_write", refused)
    film = make_film(tmp_path / "film.mkv", count=60, sound="aac")
    with open_video(tmp_path / "out.mp4", film) as copy:
        for frame in open_frames(film):
            copy.write(frame.image, frame.time)
    assert copy.note == "its sound could be neither copied nor re-encoded, and is missing from 0.0 s on"
    assert len(list(open_frames(tmp_path / "out.mp4"))) == 60
