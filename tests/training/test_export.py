"""Export: the ONNX file computes what torch computes, and its card says all that reading faces needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from training_sets import SIZE, saved, small_recipe, striped

from mien import models
from mien.data import prepared
from mien.errors import DataError, ModelError
from mien.labels import LABELS, VOTE_LABELS
from mien.training.expression.average import average
from mien.training.expression.export import Exported, export, fold_batch_norm, prove_parity, to_onnx
from mien.training.expression.net import MEAN, STD, ResidualNet, normalise, to_input
from mien.training.fit import fit
from mien.training.recipe import ModelTable, Recipe
from mien.training.run_folder import RunFolder, best
from mien.vision.classify import Classifier, softmax
from mien.vision.runtime import Session


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(small_recipe(epochs=2), data, folder)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def exported(run: RunFolder, data: Path) -> Exported:
    return export([run.path], data, run.path / "small.onnx", "small")


def test_probabilities_are_torchs(run: RunFolder, data: Path, exported: Exported) -> None:
    model = models.load(exported.weights)
    crops = prepared.load(data).split("validation").images
    net, _ = run.best_net()
    with torch.no_grad():
        logits, votes = net(normalise(torch.from_numpy(crops).unsqueeze(1).float() / 255))
    classifier = Classifier(model, threads=1)
    np.testing.assert_allclose(
        classifier.probabilities(crops), softmax(logits.numpy() / model.card.temperature), atol=1e-5
    )
    np.testing.assert_allclose(classifier.logits(crops)[1], votes.numpy(), atol=1e-4)
    assert exported.difference < 1e-5
    assert exported.images == 140


def test_the_batch_is_free_and_everything_is_named(exported: Exported) -> None:
    content = exported.weights.read_bytes()
    graph = onnx.load_from_string(content).graph
    assert [tensor.name for tensor in graph.input] == ["crops"]
    assert [tensor.name for tensor in graph.output] == ["logits", "votes"]
    axes = graph.input[0].type.tensor_type.shape.dim
    assert (axes[0].dim_param, [axis.dim_value for axis in axes[1:]]) == ("batch", [1, SIZE, SIZE])
    session = Session(content, "small", threads=1)
    for n in (1, 7, 64):
        logits, votes = session.run(np.zeros((n, 1, SIZE, SIZE), np.float32))
        assert (logits.shape, votes.shape) == ((n, len(LABELS)), (n, len(VOTE_LABELS)))


def test_the_file_holds_no_normalisation_layers_and_no_paths(exported: Exported) -> None:
    content = exported.weights.read_bytes()
    assert "BatchNormalization" not in {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert b".py" not in content
    assert not list(exported.weights.parent.glob("*.data"))


def test_the_card_tells_what_reading_needs_and_where_it_comes_from(
    run: RunFolder, data: Path, exported: Exported
) -> None:
    card = models.load(exported.weights).card
    assert (card.name, card.labels, card.vote_labels) == ("small", LABELS, VOTE_LABELS)
    assert (card.input_size, card.mean, card.std) == (SIZE, MEAN, STD)
    assert card.crop == models.CropGeometry()
    assert card.parameters == run.about()["parameters"]
    assert "140 images" in card.data
    assert card.provenance["data_sha256"] == prepared.manifest_hash(data)
    (origin,) = card.provenance["runs"]
    assert origin["best_epoch"] == run.best_net()[1]
    assert {"recipe", "seed", "epochs", "commit", "machine", "started", "finished"} <= set(origin)
    assert str(run.path) not in exported.card_path.read_text()
    assert card.scores == {}


def test_the_temperature_makes_the_validation_split_likeliest(data: Path, exported: Exported) -> None:
    validation = prepared.load(data).split("validation")
    model = models.load(exported.weights)
    logits = Classifier(model, threads=1).logits(validation.images)[0]

    def nll(temperature: float) -> float:
        chosen = softmax(logits / temperature)[np.arange(len(logits)), validation.labels]
        return float(-np.log(chosen).mean())

    assert nll(model.card.temperature) < min(nll(model.card.temperature * f) for f in (0.8, 1.25))


def test_balance_raises_rare_labels(run: RunFolder, tmp_path: Path) -> None:
    everything = striped()
    frequent = (everything.labels != 2) | (np.arange(len(everything.labels)) % 4 < 1)  # a quarter of the third label
    folder = saved(tmp_path / "set", everything.take(np.flatnonzero(frequent)))
    about = run.about()
    run_there = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, run_there.path)
    about["data"]["sha256"] = prepared.manifest_hash(folder)
    (run_there.path / "run.json").write_text(json.dumps(about))
    plain, even = (export([run_there.path], folder, tmp_path / f"{k}.onnx", "small", balance=k) for k in (0.0, 0.5))
    rows = prepared.load(folder)
    crops = rows.split("validation").images
    before, after = (Classifier(models.load(one.weights), threads=1).logits(crops)[0] for one in (plain, even))
    shares = np.bincount(rows.split("train").labels, minlength=7) / len(rows.split("train"))
    expected = -0.5 * plain.card.temperature * np.log(shares)
    np.testing.assert_allclose(after - before, np.broadcast_to(expected, after.shape), atol=0.02)
    assert (plain.card.balance, even.card.balance) == (0, 0.5)
    assert expected.argmax() == 2


def test_an_adjusted_label_gains_exactly_its_odds(
    run: RunFolder, data: Path, exported: Exported, tmp_path: Path
) -> None:
    adjusted = export([run.path], data, tmp_path / "a.onnx", "small", adjust={"fear": 0.3, "happy": -0.1})
    crops = prepared.load(data).split("validation").images
    before, after = (Classifier(models.load(one.weights), threads=1).logits(crops)[0] for one in (exported, adjusted))
    nats = [{"fear": 0.3, "happy": -0.1}.get(label, 0) for label in LABELS]
    gained = (after - before) / exported.card.temperature
    np.testing.assert_allclose(gained, np.broadcast_to(nats, gained.shape), atol=1e-4)
    assert adjusted.card.logit_adjustment == {"fear": 0.3, "happy": -0.1}
    with pytest.raises(ModelError, match=r"no label 'fera' to adjust \(did you mean 'fear'"):
        export([run.path], data, tmp_path / "b.onnx", "small", adjust={"fera": 0.3})
    assert not (tmp_path / "b.onnx").exists()


def test_folding_changes_no_output() -> None:
    table = ModelTable(stem_width=8, widths=(8, 16), depths=(1, 1), squeeze_excite=(False, True), vote_head=False)
    torch.manual_seed(0)
    net = ResidualNet(table)
    net(torch.randn(32, 1, 24, 24) * 3)  # gives the normalisations statistics of their own
    x = torch.randn(4, 1, 24, 24)
    folded = fold_batch_norm(net)
    torch.testing.assert_close(folded(x)[0], net.eval()(x)[0], atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_a_network_that_computes_otherwise_is_refused(run: RunFolder, exported: Exported) -> None:
    net, _ = run.best_net()
    images = striped(70).images
    weights = exported.weights.read_bytes()
    assert prove_parity(net, weights, images, SIZE) < 1e-5
    with torch.no_grad():
        net.label_head.bias.add_(7)  # the same for all labels, which are as probable as before
    assert prove_parity(net, weights, images, SIZE) < 1e-5
    with torch.no_grad():
        net.label_head.bias[0] += 8e-4
    with pytest.raises(ModelError, match=r"differ from torch's by 0\.0001\d \(at most 0\.0001\)"):
        prove_parity(net, weights, images, SIZE)
    assert prove_parity(net, weights, images, SIZE, temperature=10) < 1e-4, "what counts is what people are told"
    with torch.no_grad():
        net.label_head.bias[0] -= 8e-4
        assert net.vote_head
        net.vote_head.bias[0] += 0.01
    with pytest.raises(ModelError, match="probabilities differ from torch's"):
        prove_parity(net, weights, images, SIZE)


def test_without_a_vote_head_there_is_one_output() -> None:
    table = ModelTable(stem_width=8, widths=(8,), depths=(1,), squeeze_excite=(False,), vote_head=False)
    content = to_onnx(ResidualNet(table).eval(), 16)
    assert [tensor.name for tensor in onnx.load_from_string(content).graph.output] == ["logits"]


def test_what_cannot_be_exported_is_told(run: RunFolder, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"should end in \.onnx"):
        export([run.path], data, tmp_path / "model.pt", "x")
    with pytest.raises(DataError, match="holds no run"):
        export([tmp_path], data, tmp_path / "x.onnx", "x")
    with pytest.raises(DataError, match="holds no run"):
        export([run.weights], data, tmp_path / "x.onnx", "x")
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "empty"}))
    with pytest.raises(ModelError, match="holds no weights: it is no run folder"):
        export([tmp_path], data, tmp_path / "x.onnx", "x")
    other = saved(tmp_path / "other", striped(seed=1))
    with pytest.raises(DataError, match="was trained on another set"):
        export([run.path], other, tmp_path / "x.onnx", "x")
    assert not (tmp_path / "x.onnx").exists()


def test_the_mean_of_a_network_and_itself_differs_in_its_statistics_only(run: RunFolder, data: Path) -> None:
    net, train = run.best_net()[0], prepared.load(data).split("train")
    mean = average([net, net], train.images, 28)
    assert isinstance(mean, ResidualNet)
    norms = [key for key in net.state_dict() if "running_" in key]
    for key, value in mean.state_dict().items():
        if key not in norms and "num_batches" not in key:
            torch.testing.assert_close(value, net.state_dict()[key])
    with torch.no_grad():
        mean.train()  # statistics of the batch itself: what the fresh ones should be near to
        x = to_input(torch.from_numpy(train.images), 28)
        here = mean.stem[0](x)
    fresh = dict(mean.named_buffers())["stem.1.running_mean"]
    torch.testing.assert_close(fresh, here.mean((0, 2, 3)), atol=0.05, rtol=0.05)


def test_runs_of_one_start_are_averaged(run: RunFolder, data: Path, tmp_path: Path) -> None:
    content = small_recipe(epochs=1, lr=0.01).model_dump() | {"init": str(run.path), "name": "on"}
    fit(Recipe.model_validate(content), data, tmp_path / "on")
    made = export([run.path, tmp_path / "on"], data, tmp_path / "both.onnx", "both")
    assert [origin["recipe"] for origin in made.card.provenance["runs"]] == ["small", "on"]
    validation = prepared.load(data).split("validation")
    right = Classifier(models.load(made.weights)).probabilities(validation.images).argmax(1) == validation.labels
    assert right.mean() > best(run.history()).validation_accuracy - 0.1


def test_different_networks_are_not_averaged(run: RunFolder) -> None:
    other = ResidualNet(run.recipe().model.model_copy(update={"stem_width": 16}))
    with pytest.raises(ModelError, match="only runs of one network"):
        average([run.best_net()[0], other], np.zeros((10, 28, 28), np.uint8), 28)
