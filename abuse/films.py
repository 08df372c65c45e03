"""Odd films: codecs, containers, pixel formats, rotations, odd times, damage, playlists, and what is no film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from abuse.trial import Bench, Expected, Fault, Skipped, Trial, judged, photograph

COUNT = 12
"""Frames of a film, at 12 a second."""
DAMAGES = 12
"""Places at which each kind of film is damaged in each way."""
_OUTPUTS = (
    ("--table", "faces.csv"),
    ("--save", "out"),
    ("--episodes", "episodes.vtt"),
    ("--timeline", "timeline.png"),
    ("--frames", "frames.jsonl"),
    ("--max-fps", "5"),
    ("--start", "0.3", "--end", "0.8"),
    ("--every", "3"),
)
"""What else is asked of a film, in turn."""

Make = Callable[..., object]


def trials(_: object = None) -> Iterator[Trial]:
    """Some 300 films."""
    yield from _codecs()
    yield from _shapes()
    yield from _times()
    yield from _contents()
    yield from _damaged()
    yield from _no_films()
    yield from _playlists()
    yield from _addresses()


def film(
    path: Path,
    images: Iterable[NDArray[np.uint8]] | None = None,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[Fraction | float] | None = None,
    time_base: Fraction = Fraction(1, 12_000),
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    container: str | None = None,
    rotation: int = 0,
    shape: Fraction | None = None,
    sound: str | None = None,
    pictures: int = 1,
) -> Path:
    """Write a film; raises Skipped where this build of FFmpeg cannot."""
    shown = list(_drifting() if images is None else images)
    moments = [Fraction(k, 12) for k in range(len(shown))] if times is None else times
    try:
        with av.open(str(path), "w", format=container, options=muxing or {}) as out:
            streams = []
            for _ in range(pictures):
                stream: Any = out.add_stream(codec, rate=Fraction(12), options=options or {})
                stream.height, stream.width = shown[0].shape[:2]
                stream.pix_fmt = pixels
                if times is not None:
                    stream.time_base = stream.codec_context.time_base = time_base
                if rotation:
                    stream.set_display_rotation(rotation)
                if shape is not None:
                    stream.codec_context.sample_aspect_ratio = shape
                streams.append(stream)
            audio: Any = out.add_stream(sound, rate=44100, layout="mono") if sound else None
            for image, moment in zip(shown, moments, strict=True):
                for stream in streams:
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                    base = time_base if times is not None else Fraction(1, 12)
                    frame.pts, frame.time_base = round(moment / base), base
                    out.mux(stream.encode(frame))
            if audio is not None:
                for k in range(0, 44100, 1024):
                    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
                    silence.sample_rate, silence.pts, silence.time_base = 44100, k, Fraction(1, 44100)
                    out.mux(audio.encode(silence))
                out.mux(audio.encode(None))
            for stream in streams:
                out.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise Skipped(f"cannot be written here: {error}") from None
    return path


@cache
def _drifting(side: int = 192, count: int = COUNT) -> tuple[NDArray[np.uint8], ...]:
    photo = photograph(side)
    return tuple(np.ascontiguousarray(np.roll(photo, 2 * k, 1)) for k in range(count))


def reading(name: str, file: str, make: Make, expected: Expected = "either", frames: int | None = None) -> Trial:
    """`mien predict` reads a film; where it went well, it has so many frames."""
    turn = sum(map(ord, name)) % len(_OUTPUTS)

    def attempt(bench: Bench) -> list[Fault]:
        path = bench.folder / file
        make(bench, path)
        ended = bench.mien("predict", path, "--json")
        found = judged(ended, expected)
        seen = ended.out.count('"schema"')
        if not found and frames is not None and not ended.code and seen != frames:
            found = [Fault("wrong exit", f"exit code 0, but {seen} of {frames} frames")]
        if not found:  # a short film may end before the part that is asked for
            short = frames is not None and frames < COUNT
            found = judged(bench.mien("predict", path, *_OUTPUTS[turn]), "either" if short else expected)
        return found

    return Trial(name, attempt)


_CODECS = (
    ("libx264", ".mp4 .mov .mkv .avi .flv .ts .mpg .wmv .mxf .nut .3gp .m4v .h264 .f4v .m2ts .ismv", "yuv420p"),
    ("libx264", ".mp4", "yuv422p yuv444p yuvj420p yuv420p10le yuv422p10le yuv444p10le nv12 nv16 gray gray10le"),
    ("libx264rgb", ".mkv", "rgb24 bgr24 bgr0"),
    ("libx265", ".mp4 .mkv .ts .hevc", "yuv420p"),
    ("libx265", ".mkv", "yuv422p yuv444p yuv420p10le yuv422p12le gray gray12le gbrp"),
    ("libvpx", ".webm .mkv .ivf", "yuv420p"),
    ("libvpx-vp9", ".webm .mp4 .ivf", "yuv420p"),
    ("libvpx-vp9", ".webm", "yuva420p yuv422p yuv440p yuv444p yuv420p10le gbrp"),
    ("libsvtav1", ".mp4 .webm .ivf .obu", "yuv420p"),
    ("libsvtav1", ".mkv", "yuv420p10le"),
    ("mpeg4", ".mp4 .avi .mkv .mov .3gp", "yuv420p"),
    ("msmpeg4", ".avi", "yuv420p"),
    ("msmpeg4v2", ".avi", "yuv420p"),
    ("mpeg1video", ".mpg .m1v", "yuv420p"),
    ("mpeg2video", ".mpg .ts .mxf .m2v .vob", "yuv420p"),
    ("mjpeg", ".avi .mov .mkv .mjpeg", "yuvj420p"),
    ("mjpeg", ".avi", "yuvj422p yuvj444p"),
    ("png", ".mov .avi", "rgb24"),
    ("png", ".mov", "rgba gray rgb48be ya8 monob pal8"),
    ("gif", ".gif", "rgb8 pal8 gray"),
    ("apng", ".apng", "rgb24 rgba"),
    ("libwebp_anim", ".webp", "yuv420p bgra"),
    ("ffv1", ".mkv .avi .nut", "yuv420p"),
    ("ffv1", ".mkv", "yuv410p yuv411p yuv444p16le rgb48le bgra gray16le gbrp12le"),
    ("huffyuv", ".avi", "yuv422p rgb24 bgra"),
    ("ffvhuff", ".avi", "yuv420p"),
    ("utvideo", ".avi", "yuv420p gbrp"),
    ("prores_ks", ".mov", "yuv422p10le yuv444p10le yuva444p10le"),
    ("dnxhd", ".mxf", "yuv422p"),
    ("rawvideo", ".avi .mov .nut .y4m", "yuv420p"),
    ("rawvideo", ".nut", "rgb24 gray bgr0 rgb565le nv21 yuyv422 p010le monow"),
    ("wmv1", ".wmv .asf", "yuv420p"),
    ("wmv2", ".wmv .avi", "yuv420p"),
    ("flv", ".flv", "yuv420p"),
    ("h263p", ".3gp .avi", "yuv420p"),
    ("qtrle", ".mov", "rgb24 argb gray"),
    ("cinepak", ".mov .avi", "rgb24"),
    ("svq1", ".mov", "yuv410p"),
    ("rpza", ".mov", "rgb555be"),
    ("jpeg2000", ".mov .mkv", "yuv420p"),
    ("tiff", ".mov", "rgb24"),
    ("qoi", ".mkv", "rgb24"),
    ("magicyuv", ".avi", "yuv420p"),
    ("zmbv", ".avi", "bgr0"),
    ("flashsv", ".flv", "bgr24"),
    ("snow", ".avi", "yuv420p"),
    ("dirac", ".ogv", "yuv420p"),
    ("cfhd", ".mov", "yuv422p10le"),
    ("dxv", ".mov", "rgba"),
    ("roqvideo", ".roq", "yuvj444p"),
    ("amv", ".amv", "yuvj420p"),
    ("rv20", ".rm", "yuv420p"),
    ("asv2", ".avi", "yuv420p"),
    ("zlib", ".avi", "bgr24"),
    ("msrle", ".avi", "pal8"),
)


_DOUBTFUL = {("rawvideo", ".mov"), ("apng", ".apng")}
"""FFmpeg itself cannot read the one again; the other is a picture, and has no timeline."""


def _codecs() -> Iterator[Trial]:
    for codec, endings, formats in _CODECS:
        for ending in endings.split():
            for pixels in formats.split():
                yield reading(
                    f"codec-{codec}-{pixels}{ending}",
                    f"a{ending}",
                    lambda b, p, c=codec, x=pixels: film(p, codec=c, pixels=x),
                    "either" if (codec, ending) in _DOUBTFUL else "well",
                )


def _sized(width: int, height: int) -> list[NDArray[np.uint8]]:
    return [np.asarray(cv2.resize(image, (width, height)), np.uint8) for image in _drifting()[:4]]


def _shapes() -> Iterator[Trial]:
    """Sizes, rotations, shapes of pixels, and streams besides the one that is looked at."""
    for width, height in ((2, 2), (16, 16), (16, 2000), (2000, 16), (1920, 1080), (4096, 64), (130, 74), (8192, 4320)):
        yield reading(
            f"size-{width}x{height}", "a.mp4", lambda b, p, w=width, h=height: film(p, _sized(w, h)), "well", 4
        )
    for width, height in ((1, 1), (1, 99), (99, 1), (3, 5), (161, 121)):
        for codec, ending in (("ffv1", ".mkv"), ("png", ".mov"), ("rawvideo", ".nut")):
            pixels = "rgb24" if codec != "ffv1" else "bgr0"
            yield reading(
                f"size-{codec}-{width}x{height}",
                f"a{ending}",
                lambda b, p, w=width, h=height, c=codec, x=pixels: film(p, _sized(w, h), codec=c, pixels=x),
                "either",
            )
    for rotation in (90, 180, 270, -90, 45, 1, 359):
        for ending in (".mp4", ".mov", ".mkv"):
            yield reading(
                f"rotation-{rotation}{ending}",
                f"a{ending}",
                lambda b, p, r=rotation: film(p, rotation=r),
                "well",
                COUNT,
            )
    for shape in ("2/1", "1/2", "64/45", "1/1000", "1000/1", "65535/65534", "255/1"):
        yield reading(f"pixels-{shape.replace('/', '-')}", "a.mp4", lambda b, p, s=shape: film(p, shape=Fraction(s)))
    yield reading("pixels-and-rotation", "a.mov", lambda b, p: film(p, shape=Fraction(2), rotation=90), "well", COUNT)
    for ending in (".mp4", ".mkv", ".mov", ".ts"):
        yield reading(f"two-pictures{ending}", f"a{ending}", lambda b, p: film(p, pictures=2), "well", COUNT)
    for sound, ending in (
        ("aac", ".mp4"),
        ("libmp3lame", ".mkv"),
        ("pcm_s16le", ".avi"),
        ("libopus", ".webm"),
        ("flac", ".mkv"),
        ("ac3", ".ts"),
        ("mp2", ".mpg"),
        ("libvorbis", ".mkv"),
        ("adpcm_ms", ".avi"),
        ("wmav2", ".wmv"),
    ):
        codec = (
            "libvpx"
            if ending == ".webm"
            else "mpeg4"
            if ending in {".avi", ".wmv"}
            else "mpeg2video"
            if ending == ".mpg"
            else "libx264"
        )
        yield reading(
            f"sound-{sound}{ending}",
            f"a{ending}",
            lambda b, p, s=sound, c=codec: film(p, sound=s, codec=c),
            "well",
            COUNT,
        )
    for name, muxing in {
        "fragments": {"movflags": "frag_keyframe+empty_moov"},
        "faststart": {"movflags": "faststart"},
        "fragment-frames": {"movflags": "frag_every_frame+empty_moov+default_base_moof"},
    }.items():
        yield reading(f"muxed-{name}", "a.mp4", lambda b, p, m=muxing: film(p, muxing=m), "well", COUNT)
    yield reading("muxed-live", "a.mkv", lambda b, p: film(p, muxing={"live": "1"}), "well", COUNT)
    for name, options in {
        "no-b": {"bf": "0"},
        "many-b": {"bf": "8"},
        "intra": {"g": "1"},
        "one-key": {"g": "9999"},
        "open-gop": {"x264-params": "open-gop=1:bframes=3"},
        "lossless": {"qp": "0"},
        "interlaced": {"x264-params": "tff=1"},
        "slices": {"slices": "8"},
        "worst": {"crf": "51"},
        "refresh": {"x264-params": "intra-refresh=1"},
        "range": {"color_range": "pc"},
        "bt2020": {"colorspace": "bt2020nc", "color_trc": "smpte2084"},
    }.items():
        yield reading(f"coded-{name}", "a.mp4", lambda b, p, o=options: film(p, options=o), "well", COUNT)

    def joined(bench: Bench, path: Path, ending: str, sizes: Sequence[int]) -> None:
        parts = [
            film(bench.folder / f"part{k}{ending}", _drifting(side)[:6]).read_bytes() for k, side in enumerate(sizes)
        ]
        path.write_bytes(b"".join(parts))

    for ending in (".ts", ".h264", ".mpg", ".flv"):
        yield reading(f"joined{ending}", f"a{ending}", lambda b, p, e=ending: joined(b, p, e, (192, 192)))
        yield reading(f"joined-sizes{ending}", f"a{ending}", lambda b, p, e=ending: joined(b, p, e, (192, 128, 256)))


def _times() -> Iterator[Trial]:
    regular = [Fraction(k, 12) for k in range(COUNT)]
    for name, times in {
        "late": [4000 + t for t in regular],
        "hours": [90_000 + t for t in regular],
        "gap": [t + 50 * (k > 5) for k, t in enumerate(regular)],
        "slow": [20 * t for t in regular],
        "fast": [t / 100 for t in regular],
        "variable": [t * t * 3 for t in regular],
        "negative": [t - 1 for t in regular],
        "far": [t + 2**31 for t in regular],
        "bursts": [Fraction(k // 3) + Fraction(k, 1000) for k in range(COUNT)],
        "odd": [Fraction(k * 7919, 90_001) for k in range(COUNT)],
    }.items():
        for ending in (".mp4", ".mkv", ".ts", ".avi", ".mov", ".flv", ".wmv", ".nut"):
            expected: Expected = (
                "either"
                if name in {"far", "hours", "bursts", "negative"} or ending in {".avi", ".flv", ".wmv", ".ts"}
                else "well"
            )
            codec = "wmv2" if ending == ".wmv" else "libx264"
            yield reading(
                f"times-{name}{ending}",
                f"a{ending}",
                lambda b, p, t=times, c=codec: film(p, times=t, codec=c, options={} if c == "wmv2" else {"bf": "0"}),
                expected,
            )
    for base in ((1, 1), (1, 1_000_000), (1, 90_000), (1001, 30_000), (1, 3), (7, 11)):
        yield reading(
            f"base-{base[0]}-{base[1]}",
            "a.mkv",
            lambda b, p, x=base: film(
                p, times=[k * max(Fraction(*x), Fraction(1, 12)) for k in range(COUNT)], time_base=Fraction(*x)
            ),
        )

    def raw(bench: Bench, path: Path, change: Callable[[int, int], int | None], ending: str) -> None:
        """The packets of a film with other times."""
        source = film(bench.folder / f"source{ending}", options={"bf": "0"})
        with av.open(str(source)) as given, av.open(str(path), "w") as out:
            target = out.add_stream_from_template(given.streams.video[0])
            for k, packet in enumerate(given.demux(video=0)):
                if packet.dts is None:
                    continue
                stamp = change(k, packet.pts or 0)
                packet.pts = packet.dts = stamp
                packet.stream = target
                try:
                    out.mux(packet)
                except av.error.FFmpegError:
                    continue

    for name, change in {
        "same": lambda k, t: 1000,
        "falling": lambda k, t: 100_000 - 1000 * k,
        "none": lambda k, t: None,
        "jump": lambda k, t: t if k < 6 else t + 2**40,
        "back": lambda k, t: t if k < 6 else t - 10**7,
        "first-late": lambda k, t: 10**9 if not k else t,
    }.items():
        for ending in (".ts", ".mkv", ".avi", ".flv", ".mp4"):
            yield reading(f"packets-{name}{ending}", f"a{ending}", lambda b, p, c=change, e=ending: raw(b, p, c, e))


def _contents() -> Iterator[Trial]:
    """Films that lack something."""

    def without_frames(_: Bench, path: Path) -> None:
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=12)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            out.start_encoding()

    def sound_alone(_: Bench, path: Path, codec: str) -> None:
        with av.open(str(path), "w") as out:
            audio: Any = out.add_stream(codec, rate=44100, layout="mono")
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 44100, 0, Fraction(1, 44100)
            out.mux(audio.encode(silence))
            out.mux(audio.encode(None))

    for ending in (".mp4", ".mkv", ".avi", ".ts", ".mov", ".flv"):
        yield reading(f"no-frames{ending}", f"a{ending}", without_frames, "refused")
        yield reading(f"one-frame{ending}", f"a{ending}", lambda b, p: film(p, _drifting()[:1]), "well", 1)
        yield reading(f"two-frames{ending}", f"a{ending}", lambda b, p: film(p, _drifting()[:2]), "well", 2)
    for codec, ending in (
        ("aac", ".mp4"),
        ("pcm_s16le", ".wav"),
        ("libmp3lame", ".mp3"),
        ("flac", ".flac"),
        ("aac", ".m4a"),
        ("libopus", ".ogg"),
    ):
        yield reading(
            f"sound-alone-{codec}{ending}", f"a{ending}", lambda b, p, c=codec: sound_alone(b, p, c), "refused"
        )
    for name, content in {
        "srt": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "vtt": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
        "text": b"hello\n" * 50,
        "empty": b"",
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "ftyp": b"\0\0\0\x14ftypisom\0\0\2\0isom",
        "moov": b"\0\0\0\x08moov",
        "huge-box": b"\0\0\0\x14ftypisom\0\0\2\0isom\xff\xff\xff\xffmoov",
        "box-64": b"\0\0\0\x14ftypisom\0\0\2\0isom\0\0\0\1mdat" + b"\x7f" + b"\xff" * 7,
        "ebml": b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff",
        "riff": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl",
        "flv": b"FLV\1\5\0\0\0\x09\0\0\0\0",
        "ts": b"G" + bytes(187),
        "ogg": b"OggS" + bytes(60),
        "y4m": b"YUV4MPEG2 W99999 H99999 F1:0 A0:0\nFRAME\n",
        "y4m-negative": b"YUV4MPEG2 W-5 H-5 F25:1\nFRAME\n",
        "y4m-none": b"YUV4MPEG2\nFRAME\n" + bytes(100),
        "nut": b"nut/multimedia container\0",
        "jpeg": bytes.fromhex("ffd8ffe000104a464946"),
        "swf": b"FWS\5" + bytes(40),
        "rm": b".RMF" + bytes(40),
        "wtv": bytes.fromhex("b7d800203749da11a64e0007e95ead8d"),
    }.items():
        for ending in (".mp4", ".avi"):
            yield reading(f"content-{name}{ending}", f"a{ending}", lambda b, p, c=content: p.write_bytes(c), "refused")
    for ending, other in (
        (".mp4", ".avi"),
        (".mkv", ".mp4"),
        (".ts", ".mkv"),
        (".avi", ".mov"),
        (".flv", ".mpg"),
        (".mp4", ""),
    ):
        yield reading(
            f"ending{ending}-as{other}",
            f"b{other}",
            lambda b, p, e=ending: film(b.folder / f"source{e}").rename(p),
            "well",
            COUNT,
        )


@cache
def _sample(ending: str, folder: Path) -> bytes:
    codec = {
        ".webm": "libvpx",
        ".mpg": "mpeg2video",
        ".wmv": "wmv2",
        ".mjpeg": "mjpeg",
        ".ogv": "dirac",
        ".gif": "gif",
    }.get(ending, "libx264")
    pixels = {".mjpeg": "yuvj420p", ".gif": "rgb8"}.get(ending, "yuv420p")
    return film(
        folder / f"sample{ending}", codec=codec, pixels=pixels, sound="aac" if ending in {".mp4", ".mkv"} else None
    ).read_bytes()


def _damaged() -> Iterator[Trial]:
    """Films cut short, with bytes changed, set to zero, left out or doubled at random places."""

    def cut(b: Bench, content: bytes) -> bytes:
        return content[: int(b.random.integers(len(content)))]

    def flipped(b: Bench, content: bytes) -> bytes:
        changed = bytearray(content)
        reach = len(content) if b.random.random() < 0.6 else 1500
        for place in b.random.integers(0, reach, int(b.random.integers(1, 200))):
            changed[place % len(content)] = int(b.random.integers(256))
        return bytes(changed)

    def spliced(b: Bench, content: bytes) -> bytes:
        first, second = sorted(b.random.integers(0, len(content), 2).tolist())
        extra = [b"", b.random.bytes(500), bytes(second - first), content[first:second] * 2][int(b.random.integers(4))]
        return content[:first] + extra + content[second:]

    for ending in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".flv", ".wmv", ".h264", ".mjpeg", ".gif"):
        for name, damage in (("cut", cut), ("flipped", flipped), ("spliced", spliced)):
            for k in range(DAMAGES):
                yield reading(
                    f"{name}{ending}-{k}",
                    f"a{ending}",
                    lambda b, p, d=damage, e=ending: p.write_bytes(d(b, _sample(e, b.folder))),
                )


def _no_films() -> Iterator[Trial]:
    """Names of films with something else behind them."""

    def loop(_: Bench, path: Path) -> None:
        path.symlink_to(path)

    def broken(_: Bench, path: Path) -> None:
        path.symlink_to("nothing")

    def pipe(_: Bench, path: Path) -> None:
        import os

        os.mkfifo(path)

    def folder(_: Bench, path: Path) -> None:
        path.mkdir()

    for make in (loop, broken, pipe, folder):
        yield reading(f"no-film-{make.__name__}", "a.mp4", make, "refused")
    for device in ("/dev/null", "/dev/zero", "/dev/video9", "/dev/video99", "/proc/self/mem"):
        yield Trial(
            f"device-{device.strip('/').replace('/', '-')}", lambda b, d=device: judged(b.mien("predict", d), "refused")
        )


def _playlists() -> Iterator[Trial]:
    """Texts that name other films: they must not be followed unasked."""
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    for name, text in {
        "concat": "ffconcat version 1.0\nfile other.mp4\n",
        "concat-away": "ffconcat version 1.0\nfile /etc/passwd\n",
        "concat-itself": "ffconcat version 1.0\nfile a.mp4\n",
        "m3u8": hls.format("other.ts"),
        "m3u8-itself": hls.format("a.m3u8"),
        "m3u8-passwd": hls.format("/etc/passwd"),
        "m3u8-concat": hls.format("concat:other.ts|other.ts"),
        "m3u8-file": hls.format("file:other.ts"),
        "m3u8-remote": hls.format("http://127.0.0.1:9/a.ts"),
        "m3u": "other.mp4\n",
        "pls": "[playlist]\nFile1=other.mp4\nNumberOfEntries=1\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet><Representation id="1">'
        "<BaseURL>other.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "ram": "other.mp4",
        "asx": '<asx><entry><ref href="other.mp4"/></entry></asx>',
    }.items():
        for ending in (".mp4", ".m3u8"):

            def make(bench: Bench, path: Path, text: str = text) -> None:
                for other in (".mp4", ".ts"):
                    film(bench.folder / f"other{other}")
                path.write_text(text)

            yield reading(f"playlist-{name}{ending}", f"a{ending}", make, "refused")


def _addresses() -> Iterator[Trial]:
    """URLs that lead nowhere, or to what is no film of the network."""
    for k, url in enumerate(
        (
            "rtsp://127.0.0.1:9/stream",
            "http://127.0.0.1:9/a.mp4",
            "https://127.0.0.1:9/a.m3u8",
            "rtmp://127.0.0.1:9/live",
            "tcp://127.0.0.1:9",
            "http://",
            "http://[",
            "http://[::1",
            "rtsp://:99999/",
            "ftp://127.0.0.1:9/a.mp4",
            "concat:a.mp4|b.mp4",
            "lavfi:testsrc",
            "data:video/mp4;base64,AAAA",
            "pipe:0",
            "fd:0",
            "subfile,,start,0,end,9,,:a.mp4",
            "crypto:a.mp4",
            "cache:a.mp4",
            "async:a.mp4",
            "tee:a",
            "unix:/tmp/nothing",
            "gopher://127.0.0.1:9/",
            "srt://127.0.0.1:9",
            "file://nowhere/a.mp4",
            "file:///etc/passwd",
            "://",
            "a://b",
            "http://127.0.0.1:9/\x00".replace("\x00", "%00"),
            "mailto:a@example.org",
            "rtsp://user:secret@127.0.0.1:9/a",
            "99",
            "-1",
            "99999999999999999999",
            "-",
        )
    ):
        yield Trial(f"address-{k}", lambda b, u=url: judged(b.mien("predict", "--", u), "refused"))
    for k, options in enumerate(
        (
            ("--size", "160x120", "--fps", "10"),
            ("--size", "1x1", "--fps", "1000"),
            ("--size", "99999x99999", "--fps", "1"),
            ("--size", "160x120", "--fps", "nan"),
            ("--size", "160x120", "--fps", "0"),
            ("--size", "0x0", "--fps", "5"),
            ("--size", "160X120", "--fps", "5"),
            ("--fps", "5"),
        )
    ):
        for length in (0, 100, 160 * 120 * 3 * 3, 160 * 120 * 3 * 2 + 5):

            def attempt(bench: Bench, options: tuple[str, ...] = options, length: int = length) -> list[Fault]:
                # Of single pixels there would be more frames than a minute is enough for.
                length = min(length, 5000) if "1x1" in options else length
                frames = bench.folder / "frames.rgb"
                frames.write_bytes(bytes(length))
                return judged(bench.mien("predict", "-", *options, stdin=frames, limit=120.0))

            yield Trial(f"raw-{k}-{length}", attempt)
