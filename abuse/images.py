"""Odd images: formats, modes, depths and sizes, nonsense in headers, damage, and names that say something else."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abuse.trial import Bench, Expected, Fault, Skipped, Trial, judged, photograph

Make = Callable[..., bytes]
DAMAGES = 16
"""Places at which a file of each format is damaged in each way."""


def trials(_: object = None) -> Iterator[Trial]:
    """Some 500 pictures."""
    yield from _formats()
    yield from _tiffs()
    yield from _sizes()
    yield from _headers()
    yield from _exif()
    yield from _damaged()
    yield from _wrong_endings()
    yield from _names()
    yield from _no_files()


def picture(name: str, file: str, make: Make, expected: Expected = "either", faces: bool = False) -> Trial:
    """`mien predict` reads one file; with `faces` the face that is in it is found, too."""

    def attempt(bench: Bench) -> list[Fault]:
        try:
            content = make(bench)
        except (OSError, ValueError, KeyError) as error:  # an encoder that this machine lacks
            raise Skipped(str(error)) from None
        path = bench.folder / file
        path.write_bytes(content)
        return _read(bench, path, expected, faces)

    return Trial(name, attempt)


def _read(bench: Bench, path: Path | str, expected: Expected, faces: bool = False) -> list[Fault]:
    ended = bench.mien("predict", path, "--json")
    found = judged(ended, expected)
    if not found and faces and not ended.code and '"box"' not in ended.out:
        found = [Fault("wrong exit", "exit code 0, but the face in it was not found")]
    return found


def saved(kind: str, image: NDArray[Any] | Image.Image, **options: Any) -> bytes:
    """A picture as a file of that kind."""
    content = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(content, kind, **options)
    return content.getvalue()


def _photo(mode: str = "RGB") -> Image.Image:
    photo = Image.fromarray(photograph())
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
    if mode == "P":
        return photo.quantize(64)
    if mode == "PA":
        return photo.quantize(64).convert("PA")
    if mode in {"LA", "RGBA", "La", "RGBa"}:
        alpha = photo.copy()
        alpha.putalpha(Image.linear_gradient("L").point(lambda v: 128 + v // 2))
        return alpha.convert("RGBA").convert(mode)
    return photo.convert(mode)


_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "PNG": (".png", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    "JPEG": (".jpg", ("L", "RGB", "CMYK", "YCbCr")),
    "WEBP": (".webp", ("L", "RGB", "RGBA", "LA")),
    "GIF": (".gif", ("L", "P", "RGB", "RGBA", "LA")),
    "BMP": (".bmp", ("1", "L", "P", "RGB", "RGBA")),
    "TIFF": (".tif", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")),
    "PPM": (".ppm", ("1", "L", "RGB", "RGBA", "I;16")),
    "JPEG2000": (".jp2", ("L", "LA", "RGB", "RGBA", "I;16")),
    "AVIF": (".avif", ("L", "LA", "RGB", "RGBA")),
}
"""What mien reads: the ending, and modes that can be saved."""
_UNREAD = {
    "ICO": ".ico",
    "TGA": ".tga",
    "PCX": ".pcx",
    "SGI": ".sgi",
    "PDF": ".pdf",
    "EPS": ".eps",
    "DDS": ".dds",
    "IM": ".im",
}
"""What Pillow can write, and mien does not read as a picture; some FFmpeg takes for a film of one frame."""


def _formats() -> Iterator[Trial]:
    for kind, (ending, modes) in _FILES.items():
        for mode in modes:
            faces = (mode not in {"1", "LAB", "I"} and kind != "JPEG2000") or mode == "RGB"
            name = f"mode-{kind}-{mode.replace(';', '')}"
            yield picture(name, f"a{ending}", lambda b, k=kind, m=mode: saved(k, _photo(m)), "well", faces)
    variants: list[tuple[str, str, str, dict[str, Any]]] = [
        *(("JPEG", f"quality-{q}", "RGB", {"quality": q}) for q in (1, 5, 20, 50, 95, 100)),
        *(("JPEG", f"subsampling-{s}", "RGB", {"subsampling": s}) for s in (0, 1, 2)),
        ("JPEG", "progressive", "RGB", {"progressive": True}),
        ("JPEG", "progressive-grey", "L", {"progressive": True}),
        ("JPEG", "restarts", "RGB", {"restart_marker_blocks": 1}),
        ("JPEG", "rgb", "RGB", {"keep_rgb": True}),
        ("JPEG", "comment", "RGB", {"comment": b"\xff" * 60_000}),
        ("PNG", "level-0", "RGB", {"compress_level": 0}),
        ("PNG", "bits-1", "P", {"bits": 1}),
        ("PNG", "bits-4", "P", {"bits": 4}),
        ("PNG", "transparent-palette", "P", {"transparency": bytes(range(64))}),
        ("PNG", "transparent-colour", "RGB", {"transparency": (0, 0, 0)}),
        ("PNG", "transparent-grey", "L", {"transparency": 0}),
        ("WEBP", "lossless", "RGB", {"lossless": True}),
        ("WEBP", "lossless-alpha", "RGBA", {"lossless": True, "exact": True}),
        ("WEBP", "quality-0", "RGB", {"quality": 0}),
        ("GIF", "transparent", "P", {"transparency": 0}),
        ("GIF", "no-interlace", "P", {"interlace": 0}),
        *(
            ("TIFF", f"compressed-{c}", "RGB", {"compression": c})
            for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "raw", "zstd", "webp")
        ),
        *(("TIFF", f"fax-{c}", "1", {"compression": c}) for c in ("group3", "group4", "tiff_ccitt")),
        ("TIFF", "big", "RGB", {"big_tiff": True}),
        ("JPEG2000", "lossy", "RGB", {"quality_mode": "rates", "quality_layers": [60]}),
        ("JPEG2000", "tiles", "RGB", {"tile_size": (64, 64)}),
        ("JPEG2000", "codestream", "RGB", {"no_jp2": True}),
        ("AVIF", "quality-0", "RGB", {"quality": 0}),
        ("AVIF", "444", "RGB", {"subsampling": "4:4:4"}),
    ]
    for kind, what, mode, how in variants:
        sure = what not in {"quality-1", "quality-0", "bits-1", "group3"} and mode != "1"
        yield picture(
            f"saved-{kind}-{what}",
            f"a{_FILES[kind][0]}",
            lambda b, k=kind, m=mode, h=how: saved(k, _photo(m), **h),
            "well" if sure else "either",
        )
    for kind in ("PNG", "GIF", "WEBP", "TIFF", "AVIF"):

        def frames(b: Bench, k: str = kind) -> bytes:
            others = [Image.fromarray(np.roll(photograph(), 9 * i, 1)) for i in range(4)]
            return saved(k, others[0], save_all=True, append_images=others[1:], duration=40)

        yield picture(f"animated-{kind}", f"a{_FILES[kind][0]}", frames, "well", True)
    for kind, ending in _UNREAD.items():
        yield picture(f"unread-{kind}", f"a{ending}", lambda b, k=kind: saved(k, _photo()), "either")
    for depth, top in ((1, 1), (2, 3), (16, 1000), (16, 65535), (8, 100)):
        yield picture(f"ppm-largest-{depth}-{top}", "a.pgm", lambda b, d=depth, t=top: _pgm(d, t), "well")


def _pgm(depth: int, top: int) -> bytes:
    grey = np.asarray(_photo("L"), np.float64) / 255 * top
    return b"P5\n256 256\n%d\n" % top + grey.astype(">u2" if depth == 16 else "u1").tobytes()


def _tiffs() -> Iterator[Trial]:
    """What cameras, microscopes and satellites write."""

    def tiff(b: Bench, dtype: str, scale: float, **options: Any) -> bytes:
        import tifffile

        content, grey = BytesIO(), np.asarray(_photo("L"), np.float64) / 255
        image = grey if options.get("photometric", "minisblack") == "minisblack" else np.stack([grey] * 3, -1)
        if options.get("planarconfig") == "separate":
            image = np.moveaxis(image, -1, 0)
        tifffile.imwrite(content, (image * scale).astype(dtype), **options)
        return content.getvalue()

    for dtype, scales in {
        "u1": (255, 1),
        "u2": (65535, 4095, 255),
        "u4": (2**32 - 1, 2**31 - 1, 65535, 255),
        "u8": (2.0**63, 255),
        "i1": (127,),
        "i2": (32767, 255),
        "i4": (2**31 - 1, 255),
        "i8": (2.0**62, 255),
        "f2": (1, 255),
        "f4": (1, 255, 65535, 1e30),
        "f8": (1, 255, 1e300),
    }.items():
        for k, scale in enumerate(scales):
            for photometric in ("minisblack", "rgb"):
                yield picture(
                    f"tiff-{dtype}-{photometric}-{k}",
                    "a.tif",
                    lambda b, d=dtype, s=scale, p=photometric: tiff(b, d, s, photometric=p),
                    faces=not k,  # the first scale fills the type; what is read at all should be seen
                )
    for name, options in {
        "tiles": {"tile": (64, 64)},
        "big-endian": {"byteorder": ">"},
        "bigtiff": {"bigtiff": True},
        "planes": {"photometric": "rgb", "planarconfig": "separate"},
        "strips": {"rowsperstrip": 1},
        "white-is-zero": {"photometric": "miniswhite"},
        "deflate": {"compression": "zlib"},
        "predictor": {"compression": "zlib", "predictor": True},
    }.items():
        yield picture(
            f"tiff-{name}", "a.tif", lambda b, o=options: tiff(b, "u1", 255, **{"photometric": "minisblack", **o})
        )
    for name, values in {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf, "zero": 0.0, "negative": -5.0}.items():

        def floats(b: Bench, v: float = values) -> bytes:
            import tifffile

            content, image = BytesIO(), np.asarray(_photo("L"), np.float32) / 255
            image[:40] = v
            tifffile.imwrite(content, image)
            return content.getvalue()

        yield picture(f"tiff-float-{name}", "a.tif", floats)


def _sizes() -> Iterator[Trial]:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"):
        for width, height in ((1, 1), (1, 7), (7, 1), (2, 2), (1, 2000), (2000, 1), (3, 5)):
            yield picture(
                f"size-{kind}-{width}x{height}",
                f"a{_FILES[kind][0]}",
                lambda b, k=kind, w=width, h=height: saved(k, np.full((h, w, 3), 99, np.uint8)),
            )
    larges: dict[tuple[int, int], Expected] = {
        (32768, 1): "well",
        (1, 32768): "well",
        (32769, 1): "refused",
        (65500, 3): "refused",
        (10_000, 10_000): "well",
        (10_001, 10_000): "refused",
        (20_000, 20_000): "refused",
    }
    for size, expected in larges.items():
        yield picture(
            f"large-{size[0]}x{size[1]}", "a.png", lambda b, s=size: saved("PNG", Image.new("1", s)), expected
        )


def _chunk(kind: bytes, content: bytes, right: bool = True) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) * right)


def _png(width: int, height: int, depth: int, colour: int, pixels: bytes, *between: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(between) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _headers() -> Iterator[Trial]:
    """Headers that promise what does not follow, and little files that unfold into much."""
    nothing = zlib.compress(bytes(1000))
    for width, height in (
        (0, 0),
        (0, 5),
        (5, 0),
        (2**31 - 1, 2**31 - 1),
        (2**32 - 1, 1),
        (30_000, 3_000),
        (32_768, 3_051),
    ):
        for depth, colour in ((8, 2), (16, 6), (1, 0)):
            yield picture(
                f"png-{width}x{height}-{depth}",
                "a.png",
                lambda b, w=width, h=height, d=depth, c=colour: _png(w, h, d, c, nothing),
                "refused",
            )
    for depth, colour in ((3, 2), (8, 1), (8, 5), (16, 3), (0, 0), (255, 255)):
        yield picture(
            f"png-depth-{depth}-colour-{colour}",
            "a.png",
            lambda b, d=depth, c=colour: _png(9, 9, d, c, nothing),
            "refused",
        )
    bomb = zlib.compress(bytes(200_000_000), 9)
    rows = zlib.compress(b"".join(b"\0" + bytes(96) for _ in range(32)))
    for name, between in {
        "text-bomb": _chunk(b"zTXt", b"a\0\0" + bomb),
        "itxt-bomb": _chunk(b"iTXt", b"a\0\1\0\0\0" + bomb),
        "profile-bomb": _chunk(b"iCCP", b"a\0\0" + bomb),
        "texts": _chunk(b"tEXt", b"a\0" + b"b" * 900) * 5000,
        "unknown": _chunk(b"abCD", bytes(100_000)),
        "wrong-sum": _chunk(b"tEXt", b"a\0b", right=False),
        "critical": _chunk(b"ABCD", b"x"),
        "empty-palette": _chunk(b"PLTE", b""),
        "odd-palette": _chunk(b"PLTE", b"12345"),
        "resolution": _chunk(b"pHYs", struct.pack(">IIB", 0, 0, 1)),
        "gamma": _chunk(b"gAMA", bytes(4)),
        "exif": _chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        "actl": _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        "fctl": _chunk(b"acTL", struct.pack(">II", 2, 0)) + _chunk(b"fcTL", bytes(26)),
        "short-srgb": _chunk(b"sRGB", b""),
    }.items():
        yield picture(f"png-{name}", "a.png", lambda b, c=between: _png(32, 32, 8, 2, rows, c))
    yield picture("png-bomb", "a.png", lambda b: _png(30_000, 3_300, 8, 2, zlib.compress(bytes(297_003_300), 9)))
    yield picture("png-too-much", "a.png", lambda b: _png(32, 32, 8, 2, bomb))
    sof = bytes.fromhex("ffd8ffc0001108ffffffff03012200021101031101")
    yield picture("jpeg-65535", "a.jpg", lambda b: sof + bytes(500), "refused")
    yield picture("gif-65535", "a.gif", lambda b: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(60), "refused")
    yield picture(
        "gif-frame-outside", "a.gif", lambda b: saved("GIF", _photo("P")).replace(b",\0\0\0\0", b",\xff\xff\xff\xff", 1)
    )
    for width, height in ((-5, 5), (5, -5), (0, 0), (2**31 - 1, 2**31 - 1), (40_000, 40_000), (5, -(2**31))):
        head = b"BM" + struct.pack("<IIIIiiHHIIiiII", 1000, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        yield picture(f"bmp-{width}x{height}", "a.bmp", lambda b, h=head: h + bytes(100))
    for text in (
        "P6 99999999 99999999 255",
        "P6 5 5 0",
        "P6 5 5 70000",
        "P6 -5 5 255",
        "P5 5",
        "P6 5 5 255",
        "P3 2 2 255 1 2 x",
        "P1 3 3 0 1 2 0 1 0 0 0 0",
        "P6 " + "9" * 5000,
        "P7\nWIDTH 5\nENDHDR\n",
        "PF 5 5 -1.0 ",
        "P6 # no end",
    ):
        yield picture(f"ppm-{zlib.crc32(text.encode())}", "a.ppm", lambda b, t=text: t.encode() + b"\n" + bytes(20))
    for tag, value in (
        (256, 0),
        (256, 2**32 - 1),
        (257, 2**32 - 1),
        (258, 255),
        (259, 9999),
        (262, 9999),
        (273, 2**32 - 1),
        (277, 0),
        (277, 65535),
        (278, 0),
        (279, 2**32 - 1),
    ):
        yield picture(f"tiff-tag-{tag}-{value}", "a.tif", lambda b, t=tag, v=value: _tiff({t: v}))
    yield picture("tiff-loop", "a.tif", lambda b: _tiff({}, following=8))
    yield picture("tiff-no-tags", "a.tif", lambda b: b"II*\0\x08\0\0\0\0\0\0\0\0\0", "refused")


def _tiff(changed: dict[int, int], following: int = 0) -> bytes:
    """A grey TIFF of 16x16 with some tags changed, and the next directory somewhere."""
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 16, 279: 256} | changed
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return head.ljust(200, b"\0") + bytes(range(256))


def _exif() -> Iterator[Trial]:
    def with_exif(b: Bench, kind: str, content: bytes) -> bytes:
        return saved(kind, _photo(), exif=b"Exif\0\0" + content)

    for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65535):
        one = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
        yield picture(f"exif-orientation-{orientation}", "a.jpg", lambda b, c=one: with_exif(b, "JPEG", c), "well")
    for name, content in {
        "text": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 2, 4, 0x41414141) + bytes(4),
        "many": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 3, 2**32 - 1, 0) + bytes(4),
        "fraction": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 5, 1, 0xFFFFFFF0) + bytes(4),
        "loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "outside": b"MM\0*\xff\xff\xff\xff",
        "empty": b"",
        "no-order": b"XX*\0\x08\0\0\0",
        "short": b"II*",
        "many-tags": b"II*\0\x08\0\0\0\xff\xff" + bytes(200),
        "large": b"II*\0\x08\0\0\0" + bytes(60_000),
        "big-order": b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, 6, 0) + bytes(4),
    }.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            yield picture(
                f"exif-{name}-{kind}", f"a{_FILES[kind][0]}", lambda b, k=kind, c=content: with_exif(b, k, c), "well"
            )
    for k in range(12):
        yield picture(
            f"exif-random-{k}",
            "a.jpg",
            lambda b: with_exif(b, "JPEG", b"II*\0\x08\0\0\0" + b.random.bytes(200)),
            "well",
        )
        yield picture(
            f"profile-random-{k}", "a.png", lambda b: saved("PNG", _photo(), icc_profile=b.random.bytes(500)), "well"
        )


def _damaged() -> Iterator[Trial]:
    """Files cut short, with bytes changed, left out, put in, set to zero, or ends of other files."""

    def cut(b: Bench, content: bytes) -> bytes:
        return content[: int(b.random.integers(len(content)))]

    def flipped(b: Bench, content: bytes) -> bytes:
        changed = bytearray(content)
        # Half of the damage goes where formats keep what matters.
        reach = len(content) if b.random.random() < 0.5 else min(200, len(content))
        for place in b.random.integers(0, reach, int(b.random.integers(1, 33))):
            changed[place] = int(b.random.integers(256))
        return bytes(changed)

    def spliced(b: Bench, content: bytes) -> bytes:
        first, second = sorted(b.random.integers(0, len(content), 2).tolist())
        extra = [b"", b.random.bytes(50), bytes(second - first), content[first:second] * 2][int(b.random.integers(4))]
        return content[:first] + extra + content[second:]

    for kind, (ending, _) in _FILES.items():
        content = saved(kind, photograph())
        for name, damage in (("cut", cut), ("flipped", flipped), ("spliced", spliced)):
            for k in range(DAMAGES):
                yield picture(f"{name}-{kind}-{k}", f"a{ending}", lambda b, d=damage, c=content: d(b, c))


def _wrong_endings() -> Iterator[Trial]:
    kinds = list(_FILES)
    for k, kind in enumerate(kinds):
        other = _FILES[kinds[(k + 4) % len(kinds)]][0]
        yield picture(f"ending-{kind}{other}", f"a{other}", lambda b, k=kind: saved(k, _photo()), "well", True)
        yield picture(f"no-ending-{kind}", "picture", lambda b, k=kind: saved(k, _photo()))
    for name, content in {
        "empty": b"",
        "zeros": bytes(1000),
        "text": b"hello\n",
        "html": b"<!doctype html><p>hello",
        "json": b"{}",
        "newline": b"\n",
        "zip": b"PK\3\4" + bytes(60),
        "gzip": b"\x1f\x8b\x08" + bytes(60),
        "elf": b"\x7fELF" + bytes(60),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(%s) run\n",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "png-head": b"\x89PNG\r\n\x1a\n",
        "jpeg-head": b"\xff\xd8\xff",
        "webp-head": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "avif-head": b"\0\0\0\x1cftypavif" + bytes(16),
        "heic": b"\0\0\0\x1cftypheic" + bytes(16),
        "jxl": b"\xff\x0a" + bytes(20),
        "jp2-head": b"\0\0\0\x0cjP  \r\n\x87\n",
        "two": b"\xff\xd8\xff\xd9" * 2,
        "utf16": "hello".encode("utf-16"),
    }.items():
        for ending in (".jpg", ".png"):
            yield picture(f"content-{name}{ending}", f"a{ending}", lambda b, c=content: c, "refused")


def _names() -> Iterator[Trial]:
    for k, name in enumerate(
        (
            "with space.jpg",
            "two\nlines.jpg",
            "tab\t.jpg",
            "quote'\".jpg",
            "[brackets].jpg",
            "star*.jpg",
            "what?.jpg",
            "emoji😀.jpg",
            "käse.jpg",
            "caf\u0065\u0301.jpg",
            "[bold]red[bold].jpg",
            "%s%n.jpg",
            "=1+1.jpg",
            "a" * 250 + ".jpg",
            "\x1b[31mred.jpg",
            "\udcff\udcfe.jpg",
            "\u202egnp.jpg",
            "..jpg",
            ".jpg",
            "a.jpg.",
            "http:a.jpg",
            "C:\\a.jpg",
            "0",
            "-",
            "a;b&c|d$(e).jpg",
            "A.JPG",
        )
    ):

        def attempt(bench: Bench, name: str = name, k: int = k) -> list[Fault]:
            (bench.folder / name).write_bytes(saved("JPEG", _photo()))
            table = ("--table", bench.folder / "faces.csv") if k % 2 else ("--save", bench.folder / "out")
            one = judged(bench.mien("predict", bench.folder / name, *table), "well", "named by itself")
            return one + judged(bench.mien("predict", bench.folder, "--json"), "either", "in a folder")

        yield Trial(f"name-{k}", attempt)


def _no_files() -> Iterator[Trial]:
    """What has a name like a picture's, and is no file."""

    def folder(path: Path) -> None:
        path.mkdir()

    def loop(path: Path) -> None:
        path.symlink_to(path)

    def broken(path: Path) -> None:
        path.symlink_to("nothing")

    def pipe(path: Path) -> None:
        os.mkfifo(path)

    def endpoint(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))

    def sparse(path: Path) -> None:
        path.touch()
        os.truncate(path, 20 << 30)

    def huge(path: Path) -> None:
        path.write_bytes(saved("PNG", _photo()))
        os.truncate(path, 20 << 30)

    for make, expected in (
        (folder, "refused"),
        (loop, "refused"),
        (broken, "refused"),
        (pipe, "refused"),
        (endpoint, "refused"),
        (sparse, "refused"),
        (huge, "either"),
    ):

        def attempt(bench: Bench, make: Callable[[Path], None] = make, expected: Any = expected) -> list[Fault]:
            path = bench.folder / "a.png"
            make(path)
            return _read(bench, path, expected) + _read(bench, bench.folder, "either")

        yield Trial(f"no-file-{make.__name__}", attempt)
    for device in (
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/tty",
        "/proc/self/mem",
        "/proc/kmsg",
        "/sys",
    ):
        yield Trial(f"device-{device.strip('/').replace('/', '-')}", lambda b, d=device: _read(b, d, "refused"))
