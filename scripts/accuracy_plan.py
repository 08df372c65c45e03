"""Large teachers and the small network that they teach, for a GPU that is at hand for a quarter of an hour.

    python scripts/accuracy_plan.py --data sets/fer2013 --minutes 6      # twice: teachers, then the student

How many epochs fit into a stage's minutes is measured first, in one epoch, so a plan that was meant for a large card
ends in time on a smaller one. Called again, it goes on where it stopped, in the first stage that is not finished, until
the minutes are over. The set and ImageNet's weights are all that has to be carried (`scripts/pack_reader.py`, 58 MiB);
with `--recropped`, a set that `mien data recrop` made, a share of the images is framed as in use. Afterwards:
mien export runs/student, and runs/large.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mien.training.device import find_device
from mien.training.fit import fit
from mien.training.reading import read
from mien.training.recipe import Plan
from mien.training.run_folder import Epoch, RunFolder, best


@dataclass(frozen=True)
class Stage:
    """A run folder's name, the recipe, and its minutes in all."""

    name: str
    recipe: str
    minutes: float


STAGES = (
    Stage("large", "large", 2.7),
    Stage("teacher", "teacher", 2.7),
    Stage("student", "student", 5.4),
)
"""Two teachers, of whom one has seen ImageNet, so that they differ in their mistakes, and whom they teach."""
_SHARE = 0.85
"""Of a stage's minutes for its epochs; the rest is for loading, writing, and epochs that take longer than the first."""
_LEAST, _MOST = 2, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared set")
    parser.add_argument("--recropped", type=Path, help="the same set, cropped again as in use")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders lie")
    parser.add_argument("--minutes", type=float, default=6, help="time for this call")
    parser.add_argument("--scale", type=float, default=1, help="factor to the minutes of each stage")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a recipe; STAGE:KEY=VALUE that of one stage",
    )
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    console, deadline = Console(), time.monotonic() + args.minutes * 60
    device = find_device(args.device)
    for stage in STAGES:
        run = RunFolder(args.runs / stage.name)
        if run.finished:
            continue
        if run.checkpoint.exists():
            plan = run.plan()
        else:
            settings = [*_found(stage, args.runs, args.recropped), *_asked(stage, args.set)]
            epochs = _fitting(stage, settings, args, device)
            warmup = f"optim.warmup_epochs={min(5, 0.05 * epochs):.2f}"
            plan = read(stage.recipe, [*settings, f"optim.epochs={epochs}", warmup])
            console.print(f"{stage.name}: {epochs} epochs fit into {stage.minutes * args.scale:g} minutes")

        def say(epoch: int, done: int, of: int, line: Epoch | None, name: str = stage.name) -> None:
            if line and (epoch % 10 == 0 or epoch == 1):
                console.print(f"{name} {epoch} {line.validation_accuracy:.2%} {line.images_per_second:.0f} images/s")

        history = fit(
            plan, args.data, run.path, device=device, progress=say, resume=run.checkpoint.exists(),
            minutes=(deadline - time.monotonic()) / 60,
        )  # fmt: skip
        if history:
            console.print(f"{stage.name}: {len(history)} epochs, best {best(history).validation_accuracy:.2%}")
        if not run.finished:
            console.print("the next epoch would not end in time; the same command goes on")
            return
    console.print("all stages are finished")


def _asked(stage: Stage, settings: list[str]) -> list[str]:
    """What was asked for in all stages and in this one."""
    names = [other.name for other in STAGES]
    pairs = [setting.split(":", 1) if setting.split(":")[0] in names else ["", setting] for setting in settings]
    return [setting for name, setting in pairs if name in ("", stage.name)]


def _found(stage: Stage, runs: Path, recropped: Path | None) -> list[str]:
    """Where a stage finds data and teachers."""
    share = [] if recropped else ["data.recropped_share=0"]
    found = [f'data.recropped="{recropped or ""}"', *share]
    if stage.recipe == "student":
        teachers = [str(runs / other.name) for other in STAGES if other is not stage]
        found.append(f"optim.teachers={teachers}".replace("'", '"'))
    return found


def _fitting(stage: Stage, settings: list[str], args: argparse.Namespace, device: str) -> int:
    """How many epochs fit into a stage's minutes, by the second of two: the first one warms up."""
    scratch = args.runs / f".{stage.name}.speed"
    shutil.rmtree(scratch, ignore_errors=True)
    trial: Plan = read(stage.recipe, [*settings, "optim.epochs=2", "optim.warmup_epochs=0"])
    seconds = fit(trial, args.data, scratch, device=device)[-1].seconds
    shutil.rmtree(scratch)
    return max(_LEAST, min(_MOST, int(_SHARE * 60 * stage.minutes * args.scale / max(seconds, 1e-3))))


if __name__ == "__main__":
    main()
