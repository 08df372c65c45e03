"""A disk that fails at the n-th write, for n = 1, 2, 3 ... of every command that writes."""

from __future__ import annotations

from collections.abc import Iterator

from abuse.trial import Bench, Fault, Trial, judged
from abuse.writers import Scene, Stage, digest, gone_on

_MOST = 60
"""Failing writes of one command; where it writes more often, they are spread."""


def trials(stage: Stage) -> Iterator[Trial]:
    """Each write fails once (EIO); and from each write on, the disk is full (ENOSPC)."""
    if not stage.shim:
        stage.note("left out: to fail a write takes Linux and a C compiler, which is not here")
        return
    for writer in stage.writers():
        scene = stage.scene(writer)
        step = max(1, scene.writes // _MOST)
        for at in range(1, scene.writes + 1, step):
            for deed in ("full", "once"):
                yield Trial(f"{writer.name}-{deed}-{at}", lambda b, s=scene, n=at, d=deed: _attempt(b, s, n, d))


def _attempt(bench: Bench, scene: Scene, at: int, deed: str) -> list[Fault]:
    scene.set_up(bench.folder)
    inputs = digest(bench.folder / "inputs")
    ended = bench.mien(*scene.writer.words, at=at, deed=deed, under=bench.folder / "out")
    found = judged(ended)
    found += [Fault("lost data", sentence) for sentence in scene.lost(bench.folder, done=not ended.code)]
    left = [path.name for path in (bench.folder / "out").rglob("*.part*")]
    if left and not found:
        found.append(Fault("wrong exit", f"left behind: {', '.join(left)}"))
    if digest(bench.folder / "inputs") != inputs:
        found.append(Fault("lost data", "what was only to be read has changed"))
    if scene.writer.again and not found:
        found += judged(gone_on(bench, scene.writer), "well", "going on afterwards")
    return found
