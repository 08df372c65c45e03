"""`Outputs`: files that are being written, of which one that fails takes no other with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from mien.errors import MienError, OutputError

Output = TypeVar("Output")


class _GivenUp(Exception):
    """What an output sees that is not to be completed."""


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
            self.give_up()
            raise
        self._stacks.append((stack, path))
        return opened

    def give_up(self) -> None:
        """Leave what was there before as it is."""
        stacks, self._stacks = self._stacks, []
        for stack, _ in stacks:
            with suppress(_GivenUp, MienError), stack:  # on a full disk even that may fail, and others come after
                raise _GivenUp

    def close(self) -> None:
        """Complete them all."""
        stacks, self._stacks = self._stacks, []
        for stack, path in stacks:
            try:
                stack.close()
            except MienError as error:
                self.problems.append(error)
                if isinstance(error, OutputError) and error.whole is not None:
                    self.written.append(error.whole)
            else:
                self.written += [path] if path.exists() else []
