"""The run folder: what one training run leaves on disk, and all that resuming needs.

    RUN/recipe.json             the resolved recipe
    RUN/run.json                code, machine, software and data of the run; when it began and finished
    RUN/metrics.csv             one line per epoch
    RUN/checkpoint.safetensors  all that resuming needs, after the last complete epoch
    RUN/best.safetensors        averaged weights of the best validation accuracy so far
    RUN/last.safetensors        averaged weights after the last epoch
    RUN/curves.png              accuracy and loss over the epochs
    RUN/tensorboard/            the lines of metrics.csv for TensorBoard

Every file is written aside and renamed, so a killed run leaves only complete ones.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mien.errors import DataError, ModelError, RecipeError, reason
from mien.files import replacing
from mien.labels import LABELS
from mien.provenance import provenance
from mien.training.expression.net import Network, build
from mien.training.reading import without_retired_keys
from mien.training.recipe import DetectorRecipe, Plan, Recipe, parse


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.csv: losses in nats, accuracies in 0..1, learning rate at the epoch's end.

    Training figures are of the network as it changes, on augmented images; validation figures are of the
    averaged weights on plain ones. `seconds` and `images_per_second` count training and validation.
    """

    epoch: int
    size: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds: float


@dataclass
class State:
    """All that a run carries from one epoch to the next."""

    net: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    history: list[Epoch]


def environment(device: str) -> dict[str, Any]:
    """What this process runs on: when it started, code, software, machine and threads."""
    about = provenance()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    software = {"torch": torch.__version__, "device": name, "threads": torch.get_num_threads()}
    return {"started": about.pop("date"), **about, **software}


def best(history: Sequence[Epoch]) -> Epoch:
    """The line of the highest validation accuracy, of those that share it the likeliest, then the earliest."""
    return max(history, key=lambda line: (line.validation_accuracy, -line.validation_loss))


class RunFolder:
    """One run's folder; see the head of this file for what lies in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.weights = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.curves = path / "curves.png"
        self.tensorboard = path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether the last epoch is complete and saved."""
        return self.last.exists()

    def check(self, recipe: Plan, facts: dict[str, Any], *, resume: bool) -> None:
        """Raise DataError or RecipeError where the folder holds a run and `resume` is not set, holds none and
        it is, or holds one of another recipe or other data."""
        if not resume:
            if self.checkpoint.exists() or self.weights.exists():
                raise DataError(f"{self.path} holds a run already; resume it, or choose another folder")
            if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / "recipe.json").exists():
                raise DataError(f"{self.path} holds other things than a run; choose another folder")
            return
        if different := _difference(self.plan().model_dump(exclude={"about"}), recipe.model_dump()):
            key, then, today = different
            raise RecipeError(
                f"{self.path} was begun with {key} = {then}, the recipe now says {today}; resume with the recipe "
                "it was begun with, or choose another folder"
            )
        if different := _difference(self.about().get("data", {}), facts["data"]):
            key, then, today = different
            raise DataError(
                f"{self.path} was begun on other data ({key} was {then}, now it is {today}); resume with the same "
                "prepared set, or choose another folder"
            )

    def begin(self, recipe: Plan, device: str, facts: dict[str, Any]) -> None:
        """Write recipe.json and run.json; `facts` go into the latter. A resumed run keeps its first entry and
        gains one more under `resumed`."""
        if self.checkpoint.exists():
            about = self.about() | facts
            about["resumed"] = [*about.get("resumed", []), environment(device)]
        else:
            about = environment(device) | facts
        _write_text(self.path / "recipe.json", recipe.model_dump_json(indent=2) + "\n")
        self._write_about(about)

    def same_machine(self) -> bool:
        """Whether this call, begun already, runs on what the call before it did, so that epochs take as long."""
        about = self.about()
        calls = [about, *about.get("resumed", [])]
        return len(calls) > 1 and all(calls[-1].get(k) == calls[-2].get(k) for k in ("machine", "device", "threads"))

    def finish(self, state: State) -> None:
        """Write the last weights and the time."""
        _write_tensors(self.last, dict(state.average.state_dict()), {"epoch": str(len(state.history))})
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self._write_about(self.about() | {"finished": finished})

    def plan(self) -> Plan:
        """The run's resolved recipe, whatever it trains; raises DataError where the folder holds no run."""
        path = self.path / "recipe.json"
        try:
            return parse(without_retired_keys(json.loads(path.read_text(encoding="utf-8"))))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{self.path} holds no run (no recipe.json); train one with: mien train") from None
        except ValidationError as error:
            raise DataError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error}") from None

    def recipe(self) -> Recipe:
        """The recipe of a run that trains an expression network; raises DataError on any other."""
        plan = self.plan()
        if isinstance(plan, DetectorRecipe):
            raise DataError(f"{self.path} trains a face detector; name a run that trains an expression network")
        return plan

    def labels(self) -> tuple[str, ...]:
        """The run's label names, in the order of its network's outputs."""
        return tuple(self.about().get("data", {}).get("labels", LABELS))

    def about(self) -> dict[str, Any]:
        """run.json; empty where there is none."""
        path = self.path / "run.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); delete it to go on without") from None
        return content

    def history(self) -> list[Epoch]:
        """The lines of metrics.csv."""
        path = self.path / "metrics.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return [_epoch(row) for row in csv.DictReader(file)]
        except FileNotFoundError:
            raise DataError(f"{self.path} has no complete epoch yet (no metrics.csv)") from None
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {error}") from None

    def record(self, state: State) -> None:
        """Write what a complete epoch leaves: its weights if they are the best, metrics, and last, since it alone
        decides where a killed run goes on, the checkpoint."""
        line = state.history[-1]
        if line is best(state.history):
            _write_tensors(self.weights, dict(state.average.state_dict()), {"epoch": str(line.epoch)})
        tensors = {f"net.{k}": v for k, v in state.net.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
        for i, parameter in enumerate(_parameters(state.optimizer)):
            kept = state.optimizer.state[parameter].items()
            tensors |= {f"optimizer.{i}.{k}": v for k, v in kept if v is not None}  # SGD without momentum keeps None
        lines = [asdict(line) for line in state.history]
        self._write_metrics(lines)
        _write_tensors(self.checkpoint, tensors, {"history": json.dumps(lines)})

    def restore(self, state: State) -> None:
        """Load the checkpoint into `state`, in the memory format that it has there, which decides the order of
        summation and with it the last bit."""
        tensors, metadata = _read_tensors(self.checkpoint)
        _load(state.net, "net.", tensors, self.checkpoint)
        _load(state.average, "average.", tensors, self.checkpoint)
        parameters = list(_parameters(state.optimizer))
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                parameter = parameters[int(i)]
                like = parameter if value.shape == parameter.shape else value  # Adam also keeps a count of steps
                state.optimizer.state[parameter][name] = torch.empty_like(like).copy_(value)
        lines = json.loads(metadata["history"])
        self._write_metrics(lines)
        state.history[:] = [Epoch(**line) for line in lines]

    def best_net(self) -> tuple[Network, int]:
        """The averaged network of the best validation accuracy, in evaluation mode, and its epoch from 1."""
        net = build(self.recipe().model, self.labels()).eval()
        return net, self.load_best(net)

    def load_best(self, net: nn.Module) -> int:
        """Put the averaged weights of the best validation accuracy into `net`; returns their epoch from 1."""
        if not self.weights.exists():
            raise ModelError(f"{self.path} holds no weights: it is no run folder, or no epoch is complete")
        tensors, metadata = _read_tensors(self.weights)
        _load(net, "", tensors, self.weights)
        return int(metadata["epoch"])

    def _write_about(self, about: dict[str, Any]) -> None:
        _write_text(self.path / "run.json", json.dumps(about, indent=2) + "\n")

    def _write_metrics(self, lines: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in line.items()} for line in lines)
        _write_text(self.path / "metrics.csv", text.getvalue())


def _epoch(row: dict[str, str]) -> Epoch:
    values: dict[str, Any] = {k: int(v) if k in ("epoch", "size") else float(v) for k, v in row.items()}
    return Epoch(**values)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _load(net: nn.Module, prefix: str, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        net.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except RuntimeError:
        raise ModelError(f"{path} holds the weights of another network than the recipe describes") from None


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {reason(error)}") from None


def _write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata)
    with replacing(path, str(path)) as part:
        part.write_bytes(content)


def _write_text(path: Path, text: str) -> None:
    with replacing(path, str(path)) as part:
        part.write_text(text, encoding="utf-8")


def _difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key, dotted, of `one` whose value differs in `other`, with both values."""
    for key, value in one.items():
        if isinstance(value, dict):
            if found := _difference(value, other.get(key, {})):
                return f"{key}.{found[0]}", *found[1:]
        elif value != other.get(key):
            return key, value, other.get(key)
    return None
