"""The `mien` command as tests run it: in this process, all that it writes caught, its exit code kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, TextIO
from unittest.mock import patch

from mien.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The output, one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[str]:
        """The sentences that say what failed."""
        assert "Traceback" not in self.err
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


Predict = Callable[..., Done]
"""What the fixture `predict` gives."""


def mien(*arguments: object) -> Done:
    """`mien ARGUMENTS...`; an exception that the command does not catch fails the test."""
    words = ["mien", *map(str, arguments)]
    with _caught("stdout") as out, _caught("stderr") as err, patch.object(sys, "argv", words):
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, _content(out), _content(err))


@contextmanager
def _caught(name: str) -> Iterator[IO[str]]:
    """A file that takes what is written to `sys.NAME`, and by libraries in C to its descriptor."""
    real: TextIO = getattr(sys, f"__{name}__")
    kept = os.dup(real.fileno())
    try:
        with TemporaryFile("w+", encoding="utf-8", errors=real.errors) as file, patch.object(sys, name, file):
            os.dup2(file.fileno(), real.fileno())
            yield file
    finally:
        os.dup2(kept, real.fileno())
        os.close(kept)


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
