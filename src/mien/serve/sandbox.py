"""The sandbox of a process that decodes untrusted files: no network, no other program, no file but those it needs.

It needs no rights and nothing installed: Linux' Landlock keeps files, a seccomp filter keeps system calls. Both hold
for threads that are started later, so a process has to lock itself in before it loads anything that starts some.

    https://docs.kernel.org/userspace-api/landlock.html and /seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_AND_REMOVE = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13  # folders and files, and to rename them
_FILES_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files a version of Landlock knows; 16 since the fifth."""

#: Numbers of system calls that a decoder has no use for, on both kinds of processor: to open sockets (io_uring can,
#: too), start programs, send signals, look into other processes, and make new namespaces or load code into the kernel.
_DENIED = {
    "x86_64": (0xC000003E, (41, 425, 59, 322, 62, 200, 129, 297, 424, 101, 310, 311, 438, 272, 308, 165, 321, 298, 323,
                            304, 248, 249, 250)),
    "aarch64": (0xC00000B7, (198, 425, 221, 281, 129, 130, 138, 240, 424, 117, 270, 271, 438, 97, 268, 40, 280, 241,
                             282, 265, 217, 218, 219)),
}  # fmt: skip
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000
_OTHER_ABI = 0x40000000

#: What programs read to start at all, where it exists; of a machine's settings nothing that may hold a secret.
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/fonts", "/etc/nsswitch.conf", "/etc/passwd", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/sys/devices", "/sys/bus/pci", "/sys/fs/cgroup", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip


def missing() -> list[str]:
    """What of the sandbox this system does not offer, each as a sentence; empty where all of it is there."""
    gaps = []
    if _landlock() < 1:
        gaps.append("no Landlock here (Linux 5.13 or later): who reads films could write wherever this user can")
    if not _has_seccomp():
        gaps.append("no seccomp here (Linux on x86_64 or aarch64): who reads films could use the network")
    return gaps


def lock_in(folder: Path, readable: Iterable[Path] = ()) -> None:
    """Lock this process in for good, as far as the system offers it: from now on it writes below `folder` alone, and
    reads that, what Python is made of and `readable`.

    Raises OSError where the system offers it and then refuses.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if _landlock() > 0 or _has_seccomp():
        _done(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    if abi := max(0, _landlock()):
        _keep_files(libc, abi, folder, [*map(Path, _SYSTEM), *_python(), *readable])
    if _has_seccomp():
        _keep_calls(libc)


def _python() -> list[Path]:
    """Where this Python and its packages lie, and the libraries it was told to take."""
    places = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sys.path]
    places += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [Path(place) for place in places if place] + [Path(__file__).parents[1]]


def _landlock() -> int:
    """The version of Landlock's interface, or -1."""
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def _has_seccomp() -> bool:
    if sys.platform != "linux" or platform.machine() not in _DENIED or sys.maxsize < 2**32:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_SECCOMP, _FILTER, None, 0, 0)  # without a filter: a bad address where filters are known
    return ctypes.get_errno() == errno.EFAULT


def _keep_files(libc: ctypes.CDLL, abi: int, folder: Path, readable: Iterable[Path]) -> None:
    every = (1 << _FILES_BY_ABI.get(abi, 16)) - 1
    network = 3 if abi >= 4 else 0  # TCP, to bind and to connect
    scoped = 3 if abi >= 6 else 0  # sockets without a file, and signals
    attributes = struct.pack("=QQQ", every, network, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    rules = _done(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    try:
        reading = _READ_FILE | _READ_FOLDER
        for path in readable:
            _allow(libc, rules, path, reading & every)
        _allow(libc, rules, Path("/dev/null"), (_READ_FILE | _WRITE_FILE | _TRUNCATE) & every)
        _allow(libc, rules, folder, (reading | _WRITE_FILE | _TRUNCATE | _MAKE_AND_REMOVE) & every)
        _done(libc.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)))
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what is not there needs no rule
        return
    try:
        if not path.is_dir():
            rights &= ~(_READ_FOLDER | _MAKE_AND_REMOVE)
        rule = struct.pack("=Qi", rights, place)
        _done(libc.syscall(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_BENEATH), rule, ctypes.c_uint32(0)))
    finally:
        os.close(place)


def _keep_calls(libc: ctypes.CDLL) -> None:
    """Denied calls fail like those for which one lacks the right; those of another processor end the process."""
    architecture, denied = _DENIED[platform.machine()]
    refuse = len(denied) + 1
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, refuse, 0, _OTHER_ABI),
        *((_EQUAL, refuse - 1 - k, 0, number) for k, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _done(libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0))


def _done(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
