"""kill -9 in the middle of every command that writes: at random moments, and at its n-th write."""

from __future__ import annotations

from collections.abc import Iterator

from abuse.trial import Bench, Fault, Trial, judged
from abuse.writers import Scene, Stage, digest, gone_on

MOMENTS = 6
"""By the clock, of each command; and so many writes."""


def trials(stage: Stage) -> Iterator[Trial]:
    """Twelve ends for each command."""
    if not stage.shim:
        stage.note("only by the clock: to end a command at a certain write takes Linux and a C compiler")
    for writer in stage.writers():
        scene = stage.scene(writer)
        for k in range(MOMENTS):
            yield Trial(f"{writer.name}-moment-{k}", lambda b, s=scene: _at_a_moment(b, s))
        for k in range(MOMENTS if stage.shim else 0):
            yield Trial(f"{writer.name}-write-{k}", lambda b, s=scene: _at_a_write(b, s))


def _at_a_moment(bench: Bench, scene: Scene) -> list[Fault]:
    return _attempt(bench, scene, kill_after=float(bench.random.uniform(0.02, 1.1 * scene.seconds)))


def _at_a_write(bench: Bench, scene: Scene) -> list[Fault]:
    at = int(bench.random.integers(1, scene.writes + 1))
    return _attempt(bench, scene, at=at, deed="kill", under=bench.folder / "out")


def _attempt(bench: Bench, scene: Scene, **how: object) -> list[Fault]:
    scene.set_up(bench.folder)
    inputs = digest(bench.folder / "inputs")
    ended = bench.mien(*scene.writer.words, **how)
    killed = ended.signal == 9
    found = [] if killed else judged(ended)
    about = ", ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in how.items()
        if name in {"kill_after", "at"}
    )
    done = not killed and not ended.code
    found += [Fault("lost data", f"{sentence} ({about})") for sentence in scene.lost(bench.folder, done=done)]
    if digest(bench.folder / "inputs") != inputs:
        found.append(Fault("lost data", "what was only to be read has changed"))
    # Whatever was left must not stand in the way of the next run.
    if not found:
        found += judged(gone_on(bench, scene.writer), "well", f"once more, {about}")
        found += [
            Fault("lost data", f"{sentence} (once more, {about})") for sentence in scene.lost(bench.folder, done=True)
        ]
    return found
