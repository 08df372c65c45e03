"""The workshop from Python: what the functions return, what they refuse, and that they do what the commands do."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from command import mien as command
from numpy.typing import NDArray
from PIL import Image
from training_sets import saved, small_recipe, striped

import mien
from mien.data import prepared
from mien.errors import DataError, MienError, ModelError, RecipeError
from mien.evaluation.expression.compare import Comparison
from mien.evaluation.expression.scores import Scores, read_scores
from mien.labels import LABELS
from mien.training.expression.export import Exported
from mien.training.run_folder import Epoch
from mien.workshop import TrainingRun

torch.set_num_threads(1)


def pictures(folder: Path, each: int = 12, side: int = 48) -> Path:
    """Stripes whose direction is the label, in folders named by it."""
    data = striped(7 * each)
    for i, (image, label) in enumerate(zip(data.images[: 7 * each], data.labels, strict=False)):
        path = folder / LABELS[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((side, side)).save(path)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("workshop") / "set")


@pytest.fixture(scope="module")
def run(data: Path) -> TrainingRun:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mien.train(small_recipe(epochs=6), data, out=data.parent / "run", device="cpu", threads=1)


@pytest.fixture(scope="module")
def model(run: TrainingRun, data: Path) -> Exported:
    made = mien.export(run.folder, data)
    assert isinstance(made, Exported)
    return made


def test_prepare_returns_the_set_that_the_command_writes(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "faces", 10)
    (folder / "sad" / "broken.png").write_text("no picture")
    stages: list[tuple[str, int, int | None]] = []
    made = mien.data.prepare(
        str(folder), tmp_path / "set", split=(0.6, 0.2, 0.2), size=32, progress=lambda *seen: stages.append(seen)
    )
    assert made.data.images.shape == (70, 32, 32)
    assert [problem for problem in made.problems if "broken.png is not in a supported image format" in problem]
    assert any(note.startswith("few test images (2 of angry") for note in made.notes)
    assert stages[-1] == ("packing", 70, 70)
    assert {stage for stage, _, _ in stages} == {"reading faces", "packing"}
    command("data", "prepare", folder, "--out", tmp_path / "again", "--split", "0.6,0.2,0.2", "--size", 32)
    assert prepared.manifest_hash(tmp_path / "set") == prepared.manifest_hash(tmp_path / "again")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": 8}, "size should be 16 to 512 pixels, not 8"),
        ({"split": (0.5, 0.5)}, "split should be three shares"),
        ({"split": (0.5, 0.6, 0.1)}, "positive and sum to 1, not 0.5,0.6,0.1"),
        ({"labels": "calm"}, "labels should be a list of names or 'folders'"),
        ({"faces": "photos"}, "did you mean 'photo'"),
        ({"group": "("}, "is no regular expression"),
        ({"votes": "fer2013new.csv"}, "belong to the rows of one fer2013.csv"),
    ],
)
def test_prepare_refuses_in_one_sentence(tmp_path: Path, arguments: dict[str, object], sentence: str) -> None:
    folder = pictures(tmp_path / "faces", 1)
    with pytest.raises(DataError) as caught:
        mien.data.prepare([folder], tmp_path / "set", **arguments)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and "--" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_audit_returns_what_it_finds(data: Path, tmp_path: Path) -> None:
    rows = prepared.load(data)
    double = saved(tmp_path / "set", rows.take(np.array([0, 1, 2, 0])))
    found = mien.data.audit(double, html=str(tmp_path / "a.html"), json=tmp_path / "a.json")
    assert found.spare == 1
    assert (tmp_path / "a.html").stat().st_size > 1000
    assert '"copies": [[0, 3]]' in (tmp_path / "a.json").read_text()
    with pytest.raises(DataError, match="set it, or leave the detector out"):
        mien.data.audit(double, detector="haar")


def test_train_returns_the_run(run: TrainingRun, data: Path) -> None:
    assert (run.folder, run.finished, run.trained) == (data.parent / "run", True, 6)
    assert run.recipe == small_recipe(epochs=6)
    assert run.best is not None and run.best in run.epochs
    assert run.best.validation_accuracy == max(line.validation_accuracy for line in run.epochs)
    assert run.weights.exists() and run.curves.exists()
    assert run.majority == ("angry", 1 / 7)
    assert run.learned
    again = mien.train(small_recipe(epochs=6), data, out=run.folder, resume=True, device="cpu")
    assert (len(again.epochs), again.trained, again.finished) == (6, 0, True)


def test_a_network_that_always_says_one_label_is_told(data: Path, tmp_path: Path) -> None:
    rows = prepared.load(data)
    some = rows.take(np.flatnonzero((rows.labels == 3) | (np.arange(len(rows)) % 5 == 0)))
    folder = saved(tmp_path / "set", some)
    notes: list[str] = []
    recipe = small_recipe(epochs=1, lr=1e-6, sizes=[])
    result = mien.train(recipe, folder, out=tmp_path / "run", device="cpu", note=notes.append)
    assert not result.learned
    share = float((some.split("validation").labels == 3).mean())
    assert result.majority == ("happy", share)
    assert f"most frequent label (happy, {share:.2%}): nothing was learned yet" in notes[-1]
    with pytest.warns(UserWarning, match="nothing was learned"):
        mien.train(recipe, folder, out=tmp_path / "again", device="cpu")


def test_settings_come_as_a_mapping_or_as_texts(data: Path, tmp_path: Path) -> None:
    lines: list[Epoch] = []

    def follow(epoch: int, done: int, of: int, line: Epoch | None) -> None:
        if line:
            lines.append(line)

    result = mien.train(
        "tiny", data, out=tmp_path / "a", set={"optim.epochs": 2, "model": {"input_size": 28}}, device="cpu",
        progress=follow, note=lambda sentence: None,
    )  # fmt: skip
    assert [line.epoch for line in lines] == [1, 2]
    assert tuple(lines) == result.epochs
    texts = ["optim.epochs=2", "model.input_size=28"]
    stopped = mien.train("tiny", data, out=tmp_path / "b", set=texts, minutes=0, device="cpu", note=lambda text: None)
    assert stopped.recipe == result.recipe
    assert (stopped.epochs, stopped.finished, stopped.best, stopped.learned) == ((), False, None, False)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"recipe": "tniy"}, RecipeError, "did you mean 'tiny'"),
        ({"set": {"optim.epocs": 2}}, RecipeError, "did you mean 'epochs'"),
        ({"minutes": -1}, MienError, "minutes should be 0 or more, not -1"),
        ({"device": "gpu"}, MienError, "no device 'gpu'; use auto, cuda, mps, cpu"),
        ({"threads": 0}, MienError, "threads should be 1 or more"),
        ({"data": "nowhere"}, DataError, "nowhere is not a prepared set"),
        ({"set": ["seed=2"], "recipe": small_recipe()}, RecipeError, "this one is resolved already"),
    ],
)
def test_train_refuses_in_one_sentence(
    data: Path, tmp_path: Path, arguments: dict[str, object], error: type[MienError], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        mien.train(**{"recipe": "tiny", "data": data, "out": tmp_path / "run", **arguments})  # type: ignore[arg-type]
    assert sentence in str(caught.value) and "--" not in str(caught.value)


def test_a_run_in_the_way_is_kept(run: TrainingRun, data: Path) -> None:
    with pytest.raises(DataError, match="holds a run already; resume it, or choose another folder"):
        mien.train(small_recipe(epochs=6), data, out=run.folder, device="cpu")


def test_export_returns_the_model(model: Exported, run: TrainingRun, data: Path, tmp_path: Path) -> None:
    assert model.weights == run.folder / "small.onnx"
    assert model.card_path.exists() and model.int8 is None
    assert mien.load(model.weights, "haar").label_names == LABELS
    stages: list[str] = []
    other = mien.export(
        [run.folder], data, out=tmp_path / "b.onnx", name="named", adjust={"fear": 0.5}, int8=True,
        progress=lambda stage, done, of: stages.append(stage),
    )  # fmt: skip
    assert isinstance(other, Exported) and other.int8 is not None
    assert (other.card.name, other.card.logit_adjustment) == ("named", {"fear": 0.5})
    assert other.int8.weights == tmp_path / "b-int8.onnx"
    assert {"writing the network", "measuring int8"} <= set(stages)
    for arguments, sentence in (
        ({"balance": 2}, "balance should be 0 to 1, not 2"),
        ({"adjust": {"fera": 1}}, "did you mean 'fear'"),
        ({"adjust": {"fear": float("nan")}}, "should be a number of nats"),
        ({"out": tmp_path / "c.pt"}, "should end in .onnx"),
    ):
        with pytest.raises(ModelError, match=re.escape(sentence)):
            mien.export(run.folder, data, **{"out": tmp_path / "c.onnx", **arguments})  # type: ignore[arg-type]
    assert not (tmp_path / "c.onnx").exists()


def test_evaluate_returns_scores_or_a_comparison(model: Exported, data: Path, tmp_path: Path) -> None:
    scores = mien.evaluate(model.weights, data, out=tmp_path / "scores")
    assert isinstance(scores, Scores) and scores.split == "validation"
    assert read_scores(tmp_path / "scores" / "scores.json") == scores
    both = mien.evaluate([model.weights, "base"], data, out=tmp_path / "both", note=lambda text: None)
    assert isinstance(both, Comparison)
    assert [one.model for one in both.scores] == ["small", "base"]
    assert both.scores[0].accuracy == scores.accuracy
    assert both.differences[0].accuracy_difference == pytest.approx(both.scores[1].accuracy - scores.accuracy)
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"small", "base"}
    with pytest.raises(DataError, match="tta is 'miror', which is none of none, mirror, crops"):
        mien.evaluate(model.weights, data, tta="miror")
    with pytest.raises(DataError, match="leave them out to measure detectors"):
        mien.evaluate([], data, task="detect", robustness=True)
    with pytest.raises(DataError, match=r"is a folder without boxes\.csv"):
        mien.evaluate(["haar"], data, task="detect")
    with pytest.raises(DataError, match="every should be 1 or more, not 0"):
        mien.evaluate(["haar"], data, task="detect", every=0)
    with pytest.raises(DataError, match="name a data set"):
        mien.evaluate(["haar"], [], task="detect")


def test_only_detectors_are_trained_on_several_sets(
    model: Exported, run: TrainingRun, data: Path, tmp_path: Path
) -> None:
    several, sentence = [data, tmp_path], "an expression network takes one prepared set, not 2; only detectors"
    with pytest.raises(DataError, match=sentence):
        mien.train(small_recipe(), several, out=tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match=sentence):
        mien.export(run.folder, several)
    with pytest.raises(DataError, match="every is for detectors"):
        mien.evaluate(model.weights, data, every=2)  # type: ignore[call-overload]
    done = command("train", "tiny", "--data", data, "--data", tmp_path, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert sentence in done.err
    assert not (tmp_path / "run").exists()


def test_report_returns_its_path(model: Exported, run: TrainingRun, data: Path, tmp_path: Path) -> None:
    mien.evaluate(model.weights, data, out=tmp_path / "scores")
    page = mien.report(
        [run.folder, tmp_path / "scores"], tmp_path / "r.html", data=data, model=model.weights, faces=[3]
    )
    assert page == tmp_path / "r.html"
    text = page.read_text(encoding="utf-8")
    assert "Chosen faces" in text and "occlusion map" in text
    with pytest.raises(DataError, match="name the prepared set as data"):
        mien.report(tmp_path / "scores", tmp_path / "no.html", faces=[3])
    assert not (tmp_path / "no.html").exists()


def test_the_code_of_the_guide_runs(
    astronaut: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("### The workshop from Python")[2].partition("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    assert {f"mien.{name}(" for name in ("data.prepare", "data.audit", "train", "export", "evaluate", "report")} <= set(
        re.findall(r"mien\.[a-z.]+\(", code)
    )
    pictures(tmp_path / "my-faces")
    Image.fromarray(astronaut).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(compile(code, "guide.md", "exec"), {})
    assert {"audit.html", "mine.onnx", "mine.json", "mine.html"} <= {path.name for path in tmp_path.iterdir()}
    assert "McNemar" in capsys.readouterr().out
