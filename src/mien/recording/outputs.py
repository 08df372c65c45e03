"""`Outputs`: files that are being written, of which one that fails takes no other with it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

from mien.errors import MienError

Output = TypeVar("Output")


class Outputs:
    """`close` completes them all: those that are whole are in `written` then, why others are not in `problems`."""

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.problems: list[MienError] = []
        self._stacks: list[tuple[ExitStack, Path]] = []

    def open(self, output: AbstractContextManager[Output], path: Path) -> Output:
        """Begin one. Raises as it does, after those before it have been given up."""
        stack = ExitStack()
        try:
            opened = stack.enter_context(output)
        except BaseException:
            for begun, _ in self._stacks:
                begun.__exit__(*sys.exc_info())
            self._stacks = []
            raise
        self._stacks.append((stack, path))
        return opened

    def close(self) -> None:
        stacks, self._stacks = self._stacks, []
        for stack, path in stacks:
            try:
                stack.close()
            except MienError as error:
                self.problems.append(error)
            else:
                self.written += [path] if path.exists() else []
