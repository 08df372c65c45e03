"""The workshop from Python: train, evaluate, export, report, with the defaults of the commands of the same names.

`mien.train`, `mien.evaluate`, `mien.export` and `mien.report`; `mien.data.prepare` makes the data sets. Every function
takes plain paths, returns what it made, and raises MienError with one sentence. A long call can be followed by
`progress`; `note` is called with what is worth knowing, by default as a Python warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from warnings import warn

from mien.errors import DataError, MienError, MissingExtraError, ModelError, RecipeError, did_you_mean
from mien.files import printable

if TYPE_CHECKING:
    from mien.evaluation.detection.scores import DetectionReport
    from mien.evaluation.expression.compare import Comparison
    from mien.evaluation.expression.origins import Origins
    from mien.evaluation.expression.scores import Scores
    from mien.training.detector.export import ExportedDetector
    from mien.training.expression.export import Exported
    from mien.training.fit import Progress as EpochProgress
    from mien.training.recipe import Plan
    from mien.training.run_folder import Epoch

AnyPath = str | Path
Progress = Callable[[str, int, int | None], object]
"""Called with a stage in words, how much of it is done, and how much it is in all or None while that is not known."""
Note = Callable[[str], object]
"""Called with one sentence that is worth knowing."""


Word = TypeVar("Word", bound=str)


def _silent(stage: str, done: int, of: int | None) -> None:
    """Progress that nobody follows."""


def _warn(sentence: str) -> None:
    """A Python warning that names the line of the caller of `train`, `evaluate` or `report`."""
    warn(sentence, stacklevel=3)


@dataclass(frozen=True)
class TrainingRun:
    """What `train` leaves: the run `folder`, its resolved `recipe`, the lines of all `epochs` so far, how many of them
    this call trained, and whether the run is `finished`; one that is not goes on by `resume=True`.

    `majority` is the most frequent label of the validation split and its share there, 0..1, the accuracy of a network
    that always names it; None for a detector.
    """

    folder: Path
    recipe: Plan
    epochs: tuple[Epoch, ...]
    trained: int
    finished: bool
    majority: tuple[str, float] | None

    @property
    def best(self) -> Epoch | None:
        """The epoch of the best validation accuracy, whose weights are kept; None before the first."""
        from mien.training.run_folder import best

        return best(self.epochs) if self.epochs else None

    @property
    def weights(self) -> Path:
        """The averaged weights of the best epoch (safetensors); `mien.export` makes a model of them."""
        return self.folder / "best.safetensors"

    @property
    def curves(self) -> Path:
        """Accuracy and loss over the epochs, a PNG."""
        return self.folder / "curves.png"

    @property
    def learned(self) -> bool:
        """Whether the best epoch is better than always naming the most frequent label."""
        return self.best is not None and not at_majority(self.best, self.majority)


def at_majority(line: Epoch, majority: tuple[str, float] | None) -> bool:
    """Whether an epoch's validation accuracy is no better than that of always naming the most frequent label."""
    return majority is not None and line.validation_accuracy <= majority[1] + 1e-6


def majority_rate(recipe: Plan, data: AnyPath | Sequence[AnyPath]) -> tuple[str, float] | None:
    """The most frequent label of the split that `recipe` validates on and its share, 0..1; None for a detector."""
    from mien.data.prepared import load_counts
    from mien.labels import split
    from mien.training.recipe import Recipe

    if not isinstance(recipe, Recipe):
        return None
    counts = load_counts(_single(_paths(data)))[split(recipe.data.validation_split)]
    label, most = max(counts.items(), key=lambda entry: entry[1])
    return (label, most / sum(counts.values())) if most else None


def train(
    recipe: AnyPath | Plan, data: AnyPath | Sequence[AnyPath], *, out: AnyPath | None = None,
    set: Mapping[str, Any] | Iterable[str] = (),
    resume: bool = False, minutes: float | None = None, device: str = "auto", threads: int | None = None,
    progress: EpochProgress | None = None, note: Note = _warn,
) -> TrainingRun:  # fmt: skip
    """Train a network as a recipe says: a shipped one by name, or the path of a .toml.

    `data` is a prepared set, for a detector a Parquet file of photographs or several; `out` the run folder (runs/NAME).
    `set` changes the recipe, as `{"optim.epochs": 20}` or `["optim.epochs=20"]`. `resume` goes on with the run there.
    `minutes` stops before the epoch that would take longer. `device` is auto (the first there is of cuda, mps, cpu) or
    one of these; `threads` is the number of CPU threads (torch's own choice). `progress` is called every few steps with
    the epoch from 1, the images done in it, the images in it and None, and after each epoch with its line in place of
    None. Raises RecipeError, DataError or ModelError where recipe, data or folder do not fit.
    """
    need_training("training")
    from mien.data.prepared import few_images_note, load_counts, load_labels
    from mien.training.device import find_device
    from mien.training.fit import fit
    from mien.training.reading import read
    from mien.training.recipe import Recipe
    from mien.training.run_folder import RunFolder
    from mien.training.start import head_note

    if minutes is not None and not minutes >= 0:
        raise MienError(f"minutes should be 0 or more, not {minutes:g}")
    if threads is not None and threads < 1:
        raise MienError(f"threads should be 1 or more, not {threads}")
    if isinstance(recipe, str | Path):
        plan = read(recipe, set)
    elif set:
        raise RecipeError("settings change a recipe that is named; this one is resolved already")
    else:
        plan = recipe
    folder, files = Path(out) if out else Path("runs") / plan.name, _paths(data)
    run, chosen = RunFolder(folder), find_device(device)
    if isinstance(plan, Recipe):
        prepared_set = _single(files)
        sentences = [few_images_note(load_counts(prepared_set)["test"], "test")]
        if not resume:
            sentences.insert(0, head_note(plan, load_labels(prepared_set)))
        for sentence in filter(None, sentences):
            note(sentence)
    majority = majority_rate(plan, files)
    before = len(run.history()) if run.checkpoint.exists() else 0
    epochs = fit(
        plan, files, folder, device=chosen, threads=threads, resume=resume,
        minutes=inf if minutes is None else minutes, progress=progress or (lambda epoch, done, of, line: None),
    )  # fmt: skip
    result = TrainingRun(folder, plan, tuple(epochs), len(epochs) - before, run.finished, majority)
    if result.best and majority and not result.learned:
        note(
            f"the best validation accuracy, {result.best.validation_accuracy:.2%}, is no better than always naming the "
            f"most frequent label ({majority[0]}, {majority[1]:.2%}): nothing was learned yet"
        )
    return result


@overload
def evaluate(  # type: ignore[overload-overlap]  # a str is a sequence, too
    models: AnyPath, data: AnyPath, *, task: Literal["expression"] = ..., split: str = ..., tta: str = ...,
    robustness: bool = ..., out: AnyPath | None = ..., progress: Progress = ..., note: Note = ...,
) -> Scores: ...  # fmt: skip
@overload
def evaluate(
    models: Sequence[AnyPath], data: AnyPath, *, task: Literal["expression"] = ..., split: str = ..., tta: str = ...,
    robustness: bool = ..., out: AnyPath | None = ..., progress: Progress = ..., note: Note = ...,
) -> Comparison: ...  # fmt: skip
@overload
def evaluate(
    models: AnyPath | Sequence[AnyPath], data: Sequence[AnyPath], *, task: Literal["expression"] = ...,
    split: str = ..., tta: str = ..., robustness: bool = ..., out: AnyPath | None = ..., progress: Progress = ...,
    note: Note = ...,
) -> Scores | Comparison | Origins: ...  # fmt: skip
@overload
def evaluate(
    models: AnyPath | Sequence[AnyPath], data: AnyPath | Sequence[AnyPath], *, task: Literal["detect"],
    split: str = ..., tta: str = ..., robustness: bool = ..., every: int = ..., out: AnyPath | None = ...,
    progress: Progress = ..., note: Note = ...,
) -> DetectionReport: ...  # fmt: skip
def evaluate(
    models: AnyPath | Sequence[AnyPath], data: AnyPath | Sequence[AnyPath], *, task: str = "expression",
    split: str = "validation", tta: str = "none", robustness: bool = False, every: int = 1, out: AnyPath | None = None,
    progress: Progress = _silent, note: Note = _warn,
) -> Scores | Comparison | Origins | DetectionReport:  # fmt: skip
    """Measure a model (Scores) or a list of models on the same images (Comparison), or either on several prepared sets
    (Origins); choose on validation, keep test.

    `models` are names of shipped ones or paths of .onnx files, `data` one prepared set or several of different origin:
    the mean over these says what a model is worth on pictures unlike its training data. A set with images in one split
    only is measured there. `tta` averages test-time augmentations: none, mirror or crops. `robustness` also measures
    under eight corruptions at five strengths. Into the folder `out` go scores.json, confusion.png and reliability.png,
    of several sets or models in a folder for each, and of several sets origins.json and origins.png.

    With `task="detect"` the models are detectors (an empty list: all that are available), and a DetectionReport is
    returned. `data` is then one data set or several, measured one by one: a Parquet file of photographs with marked
    faces, whose held-out part is used, or a folder of pictures with its boxes.csv. `every` takes every Nth photograph
    of each, for slow detectors. Raises DataError, ModelError or FetchError.
    """
    names = [str(name) for name in ([models] if isinstance(models, str | Path) else models)]
    target = None if out is None else Path(out)
    if _one_of("task", task, ("expression", "detect")) == "detect":
        from mien.evaluation.detection.measure import measure_detectors

        if split != "validation" or tta != "none" or robustness:
            raise DataError("split, tta and robustness are for expressions; leave them out to measure detectors")
        if every < 1:
            raise DataError(f"every should be 1 or more, not {every}")
        return measure_detectors(names, _paths(data), every, target, progress, note)
    from mien import models as shelf
    from mien.evaluation.expression.measure import measure, save_scores
    from mien.evaluation.expression.origins import measure_origins, save_origins
    from mien.evaluation.expression.report import few_images
    from mien.evaluation.expression.scores import TTA_WORDS

    if every != 1:
        raise DataError("every is for detectors; leave it out to measure expressions")
    if not names:
        raise ModelError("name a model to measure: a shipped one, or the path of an .onnx file")
    folders = _paths(data)
    loaded = {_unique(names, i): shelf.load(name) for i, name in enumerate(names)}
    views = _one_of("tta", tta, tuple(TTA_WORDS))
    if len(folders) > 1:
        sets = [str(folder) for folder in folders]
        if len(set(sets)) < len(sets):
            raise DataError("a data set is given twice; name each once")
        named = {_unique(sets, i): folder for i, folder in enumerate(folders)}
        origins = measure_origins(loaded, named, split, views, robustness, progress, note)
        if target is not None:
            save_origins(origins, target)
        return origins
    found = measure(loaded, folders[0], split, views, robustness, progress)
    if sentence := few_images(found.scores[0]):
        note(sentence)
    if target is not None:
        save_scores(found, target)
    return found.scores[0] if isinstance(models, str | Path) else found


def export(
    runs: AnyPath | Sequence[AnyPath], data: AnyPath | Sequence[AnyPath], *, out: AnyPath | None = None,
    name: str | None = None, balance: float = 0.0, adjust: Mapping[str, float] | None = None, int8: bool = False,
    progress: Progress = _silent,
) -> Exported | ExportedDetector:  # fmt: skip
    """Write a run's best network, or the mean of several runs', as ONNX with its card, compared with torch and
    calibrated on the validation split of `data`, which it was trained on (a detector perhaps on several files).

    `out` is the .onnx file (RUN/NAME.onnx), `name` the model's name (of `out`, else of the recipe). `balance`, 0..1,
    raises rare labels: log-odds gain log(1 / share in training) times it. `adjust` adds nats to the log-odds of labels.
    `int8` also writes NAME-int8.onnx, calibrated on training images, and measures it. Raises ModelError where torch and
    ONNX Runtime disagree or `adjust` names no label, DataError where runs and data do not belong together.
    """
    need_training("exporting")
    from mien.training.detector.export import export_detector
    from mien.training.expression.export import export as export_runs
    from mien.training.expression.quantize import export_int8
    from mien.training.recipe import DetectorRecipe
    from mien.training.run_folder import RunFolder

    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not folders:
        raise ModelError("name a run to export")
    files = _paths(data)
    if not 0 <= balance <= 1:
        raise ModelError(f"balance should be 0 to 1, not {balance:g}")
    for label, nats in (adjust or {}).items():
        if not isfinite(nats):
            raise ModelError(f"the adjustment of {label} should be a number of nats, not {nats}")
    plan = RunFolder(folders[0]).plan()
    detects = isinstance(plan, DetectorRecipe)
    if detects and (len(folders) > 1 or balance or adjust):
        raise ModelError("a detector is exported from one run, and has no labels to balance or adjust")
    name = name or (Path(out).stem if out else "detector" if detects else plan.name)
    target, name = Path(out) if out else folders[0] / f"{name}.onnx", printable(name)

    def tell(stage: str) -> None:
        progress(stage, 0, None)

    if isinstance(plan, DetectorRecipe):
        return export_detector(folders[0], files, target, name, tell, int8=int8)
    prepared_set = _single(files)
    made = export_runs(folders, prepared_set, target, name, tell, balance, adjust or {})
    return replace(made, int8=export_int8(made.weights, prepared_set, plan, tell)) if int8 else made


def report(
    sources: AnyPath | Sequence[AnyPath], out: AnyPath = "report.html", *, data: AnyPath | None = None,
    model: AnyPath | None = None, faces: Sequence[int] = (), progress: Progress = _silent, note: Note = _warn,
) -> Path:  # fmt: skip
    """Write one HTML page that holds all it shows, and return its path.

    `sources` are run folders, scores.json files and their folders. `data`, the prepared set that the scores were
    measured on, adds pictures of faces, and `faces` more rows of its manifest; `model` is the network measured, for
    occlusion maps, where it is neither shipped nor beside the scores. Raises DataError where these do not belong
    together.
    """
    from mien.evaluation.expression.illustrate import illustrate, read_sources
    from mien.evaluation.expression.report import Measured, few_images, render
    from mien.files import replacing

    target = Path(out)
    if data is None and (len(faces) or model):
        raise DataError("faces and model need the pictures: name the prepared set as data")
    given = read_sources([Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)])
    if data is not None and not given.scores:
        raise DataError("data is for the pictures of scores, and none are named; measure a model first")
    measured = [Measured(scores) for scores in given.scores]
    if data is not None:
        measured = illustrate(given, Path(data), model, list(faces), progress, note)
    elif measured:
        note("there are no pictures of faces in it; name the prepared set as data to add them")
    for sentence in dict.fromkeys(filter(None, map(few_images, given.scores))):
        note(sentence)
    with replacing(target, str(target)) as part:
        part.write_text(render(given.runs, measured), encoding="utf-8")
    return target


def _paths(data: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """The data sets given, one or several."""
    if paths := [Path(path) for path in ([data] if isinstance(data, str | Path) else data)]:
        return paths
    raise DataError("name a data set")


def _single(paths: Sequence[Path]) -> Path:
    """The one data set that an expression network is trained on."""
    if len(paths) > 1:
        raise DataError(f"an expression network takes one prepared set, not {len(paths)}; only detectors take several")
    return paths[0]


def _one_of(name: str, value: str, valid: tuple[Word, ...]) -> Word:
    for known in valid:
        if value == known:
            return known
    raise DataError(f"{name} is {value!r}, which is none of {', '.join(valid)}{did_you_mean(value, valid)}")


def _unique(names: Sequence[str], index: int) -> str:
    """A name that no other model of the call has: its file's stem, or its path where several share that."""
    name = names[index]
    alike = {other for other in names if Path(other).stem == Path(name).stem}
    short = Path(name).stem if len(alike) == 1 else name
    return short if names.count(name) == 1 else f"{short}-{names[: index + 1].count(name)}"


def need_training(feature: str) -> None:
    """Raises MissingExtraError where the packages for training are not installed."""
    if not all(find_spec(module) for module in ("torch", "safetensors", "onnxscript", "sklearn", "matplotlib")):
        raise MissingExtraError(feature, "train")
