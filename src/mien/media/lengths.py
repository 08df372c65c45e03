"""Whether a film file has all the bytes that it should have, for containers that open although they are cut short."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEAD = 1 << 16


def is_cut(path: Path, container: str) -> bool:
    """Whether a file of this container, by FFmpeg's name, ends before it says; False where that cannot be told."""
    check = {"avi": _avi, "asf": _asf, "mpegts": _transport_stream}.get(container)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, path.stat().st_size)


def _avi(file: BinaryIO, size: int) -> bool:
    """RIFF chunks follow each other, each with its length; a recorder that was stopped leaves a length of 0."""
    start = 0
    while start + 12 <= size:
        file.seek(start)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or not length:
            return False
        start += 8 + length
    return start > size + 1  # the last chunk may lack the byte that makes its length even


def _asf(file: BinaryIO, size: int) -> bool:
    """The header says how long the file is, unless it is a broadcast."""
    head = file.read(_HEAD)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92 or head[at + 88] & 1:
        return False
    return int.from_bytes(head[at + 40 : at + 48], "little") > size


def _transport_stream(file: BinaryIO, size: int) -> bool:
    """It consists of packets of equal length, each of which begins with the same byte."""
    head = file.read(_HEAD)
    for length in (188, 192, 204):
        for first in range(length):
            if len(marks := head[first::length]) > 4 and set(marks) == {0x47}:
                before = 4 if length == 192 else 0  # a time stamp
                return (size - (first - before)) % length != 0
    return False
