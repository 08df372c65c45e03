"""Evaluation of a network whose every answer is known (see `pixels`)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import mien
from PIL import Image
from pixels import TEMPERATURE, ballot, build_model, four_tests

from mien import models
from mien.data.prepared import PreparedSet, image_hash, manifest_hash, save
from mien.errors import DataError, ModelError
from mien.evaluation.expression.compare import side_by_side
from mien.evaluation.expression.corruptions import CORRUPTIONS
from mien.evaluation.expression.plots import save_confusion, save_reliability
from mien.evaluation.expression.run import evaluate, read, unseen
from mien.evaluation.expression.scores import VERSION, Bin, Scores, Subset, read_scores
from mien.labels import LABELS, VOTE_LABELS
from mien.metrics import wilson_interval
from mien.vision.classify import Classifier
from mien.vision.crop import resize_crop


@pytest.fixture(scope="module")
def pixel_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "pixels.onnx")


@pytest.fixture
def data() -> PreparedSet:
    return four_tests()


def test_scores_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "PrivateTest")
    assert (scores.model, scores.split, scores.images, scores.labels) == ("pixels", "test", 4, LABELS)
    assert scores.accuracy == 0.75
    assert scores.accuracy_interval[0] < 0.75 < scores.accuracy_interval[1]
    assert scores.accuracy_with_flip == 0.5  # the mirror image of `sad` says fear, and more firmly
    assert scores.accuracy_unseen is not None
    assert scores.accuracy_unseen.images == 3
    assert scores.accuracy_unseen.accuracy == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx((1 + 1 + 0 + 0) / 4)  # happy, sad, fear, surprise
    happy, fear = scores.per_class["happy"], scores.per_class["fear"]
    assert (happy.support, happy.precision, happy.recall, happy.f1) == (2, 1, 1, 1)
    assert (fear.support, fear.precision, fear.recall, fear.f1) == (1, 0, 0, 0)
    counts = np.array(scores.confusion)
    assert counts.sum() == 4
    assert counts[LABELS.index("fear"), LABELS.index("surprise")] == 1


def test_pictures_that_are_nearly_in_training_are_not_unseen(pixel_model: Path, data: PreparedSet) -> None:
    both = data.take(np.array([0, 0, 0, 1, 2, 3, 4]))
    noise = np.random.default_rng(0).integers(-9, 10, both.images[4].shape)
    both.images[1] = (both.images[4] + noise).clip(0, 255)
    both.images[2] = both.images[5][:, ::-1]
    both = replace(both, hashes=np.array([image_hash(image) for image in both.images]))
    assert unseen(both, "test").tolist() == [False, False, False, True]
    scores = evaluate(models.load(pixel_model), both, "test")
    assert scores.accuracy_unseen == Subset(images=1, accuracy=0)
    assert not unseen(both, "train").any()


def test_the_other_scores_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test")
    assert scores.balanced_accuracy == pytest.approx((1 + 1 + 0) / 3)  # happy, sad, fear
    assert scores.top2_accuracy == 1  # fear shares the second place with all others
    ratios = np.array(scores.confusion_ratios)
    assert ratios[LABELS.index("happy"), LABELS.index("happy")] == 1
    assert sorted(set(ratios.sum(1))) == [0, 1]  # a label without an image has no shares
    # all are equally sure and three of four right, so no threshold gives 90 %
    assert [(c.accuracy, c.share, c.threshold) for c in scores.coverage] == [(0.9, 0, None), (0.95, 0, None)]
    (mistake,) = scores.mistakes
    assert (mistake.row, mistake.label, mistake.predicted) == (4, "fear", "surprise")
    assert [(e.row, e.label, e.predicted) for e in scores.examples] == [(1, "happy", "happy"), (3, "sad", "sad")]
    assert mistake.confidence == pytest.approx(math.e / (math.e + 6), abs=1e-5)


def test_divergence_from_the_votes_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    found = evaluate(models.load(pixel_model), data, "test").vote_divergence
    assert found is not None
    assert found.images == 3  # contempt won the vote on the fourth
    # the annotators say neutral, happy, and half fear, half surprise; the labels happy, happy, surprise at logit 1
    assert found.label_head == pytest.approx(math.log(math.e + 6) - (1.5 + math.log(2)) / 3, abs=1e-5)
    # the vote head says neutral at logit 10, happy, neutral
    normaliser = math.log(math.exp(10) + 7)
    assert found.vote_head == pytest.approx(((normaliser - 10) * 2 + normaliser - math.log(2)) / 3, abs=1e-4)


def test_a_vote_head_without_contempt_has_no_divergence(tmp_path: Path, data: PreparedSet) -> None:
    known = VOTE_LABELS[:7]
    model = build_model(tmp_path / "a.onnx", known, vote_outputs=7)
    found = evaluate(models.load(model), data, "test").vote_divergence
    assert found is not None
    assert (found.images, found.vote_head) == (3, None)


def test_mirroring_is_averaged_into_all_scores(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test", tta="mirror")
    assert scores.tta == "mirror"
    assert scores.accuracy == scores.accuracy_with_flip == 0.5
    assert np.trace(np.array(scores.confusion)) == 2


def test_crops_are_averaged_as_they_say(tiny_model: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    classifier = Classifier(models.load(tiny_model))
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    views = [images] + [np.stack([resize_crop(i[y : y + 44, x : x + 44], 48) for i in images]) for y, x in corners]
    probabilities = [classifier.probabilities(v) for view in views for v in (view, view[:, :, ::-1])]
    steps: list[int] = []
    reading = read(classifier, images, "crops", steps.append)
    np.testing.assert_allclose(np.exp(reading.logs), np.mean(probabilities, axis=0), atol=1e-5)
    assert sum(steps) == 12 * 5
    np.testing.assert_array_equal(reading.flip_predictions, (probabilities[0] + probabilities[1]).argmax(1))


def test_robustness_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    seen: list[tuple[int, int]] = []
    model = models.load(pixel_model)
    scores = evaluate(model, data, "test", robustness=True, progress=lambda *step: seen.append(step))
    found = scores.robustness
    assert found is not None
    assert seen[-1] == (42 * 4, 42 * 4)
    assert found.clean == scores.accuracy == 0.75
    assert list(found.corruptions) == list(CORRUPTIONS)
    assert found.mean == pytest.approx(np.mean([row.accuracy for row in found.corruptions.values()]))
    assert found.corruptions["contrast"].accuracy == (0.75,) * 5  # scales what the answers are read from alike
    assert min(found.corruptions["blur"].accuracy) < 0.75  # the noise below runs into the marks
    assert evaluate(model, data, "test", robustness=True).robustness == found


def test_calibration_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test")
    for calibration, temperature in ((scores.uncalibrated, 1.0), (scores.calibrated, TEMPERATURE)):
        logit = 2 / temperature
        confidence = math.exp(logit) / (math.exp(logit) + 6)
        assert calibration.temperature == temperature
        normaliser = math.log(math.exp(logit) + 6)
        assert calibration.nll == pytest.approx(normaliser - 0.75 * logit, abs=1e-5)
        assert calibration.ece == pytest.approx(abs(0.75 - confidence), abs=1e-5)
        filled = [b for b in calibration.bins if b.images]
        assert len(filled) == 1
        assert filled[0].low < confidence <= filled[0].high
        assert filled[0].confidence == pytest.approx(confidence, abs=1e-5)
        assert filled[0].accuracy == 0.75


def test_ferplus_by_hand(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data, "test").ferplus
    assert list(scores) == ["plain", "microsoft"]
    # voted neutral, happy, contempt and, by the order of columns, surprise;
    # the vote head says neutral, happy, contempt, neutral, the labels happy, happy, sad, surprise
    assert (scores["plain"].images, scores["plain"].vote_head, scores["plain"].label_head) == (4, 0.75, 0.5)
    # fear and surprise with five votes each have no majority
    assert scores["microsoft"].images == 3
    assert scores["microsoft"].vote_head == 1
    assert scores["microsoft"].label_head == pytest.approx(1 / 3)


def test_without_votes_or_vote_head_there_is_no_such_score(tiny_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(tiny_model), data, "test")
    assert all(score.vote_head is None for score in scores.ferplus.values())
    train = evaluate(models.load(tiny_model), data, "train")
    assert (train.ferplus, train.accuracy_unseen) == ({}, None)


def test_the_order_of_vote_labels_is_the_cards(tmp_path: Path, data: PreparedSet) -> None:
    swapped = ("contempt", *VOTE_LABELS[1:7], "angry")
    scores = evaluate(models.load(build_model(tmp_path / "a.onnx", swapped)), data, "test")
    assert scores.ferplus["microsoft"].vote_head == pytest.approx(2 / 3)  # contempt is now read as angry


def test_a_card_whose_votes_the_network_has_not_is_refused(tmp_path: Path, data: PreparedSet) -> None:
    model = build_model(tmp_path / "a.onnx", ("happy", "sad"))
    with pytest.raises(ModelError, match="card and weights disagree: no output for the vote labels happy, sad"):
        evaluate(models.load(model), data, "test")


def test_an_empty_split_is_refused(pixel_model: Path, data: PreparedSet) -> None:
    with pytest.raises(DataError, match="no image in split 'validation'"):
        evaluate(models.load(pixel_model), data, "validation")


def test_images_without_a_face_are_scored_but_not_shown(pixel_model: Path, data: PreparedSet) -> None:
    data.votes[4] = ballot(no_face=7, fear=3)  # the only mistake
    data = replace(data, flags=np.array(["", "", "", "blank", ""]))  # the only `sad` read right
    scores = evaluate(models.load(pixel_model), data, "test")
    assert (scores.images, scores.accuracy, scores.faceless) == (4, 0.75, 2)
    assert scores.mistakes == ()
    assert [e.row for e in scores.examples] == [1]


def test_one_image_of_a_label_is_no_certainty(pixel_model: Path, data: PreparedSet) -> None:
    scores = evaluate(models.load(pixel_model), data.take(np.array([0, 1, 3])), "test")
    assert scores.accuracy == 1
    assert scores.accuracy_interval == pytest.approx(wilson_interval(2, 2))
    assert scores.accuracy_interval[0] < 0.4


def test_progress_goes_over_image_and_mirror_image(pixel_model: Path, data: PreparedSet) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(models.load(pixel_model), data, "test", progress=lambda *step: seen.append(step))
    assert seen == [(4, 8), (8, 8)]


def test_scores_say_where_they_come_from_and_come_back_from_json(pixel_model: Path, data: PreparedSet) -> None:
    model = models.load(pixel_model)
    scores = evaluate(model, data, "test", manifest_sha256="m")
    assert scores.provenance["weights_sha256"] == model.card.sha256
    assert scores.provenance["manifest_sha256"] == "m"
    assert {"mien", "commit", "machine", "date", "command"} <= scores.provenance.keys()
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


def test_plots_are_pictures(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    scores = evaluate(models.load(pixel_model), data, "test")
    save_confusion(scores, tmp_path / "confusion.png")
    save_reliability(scores, tmp_path / "reliability.png")
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / name) as image:
            image.load()
            assert min(image.size) > 900
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 100


def test_marks_at_the_edge_of_the_reliability_diagram_are_whole(
    pixel_model: Path, data: PreparedSet, tmp_path: Path
) -> None:
    """A mark at confidence and accuracy 1 is as large as one in the middle."""

    def blue(value: float) -> int:
        found = evaluate(models.load(pixel_model), data, "test")
        mark = Bin(low=value - 0.1, high=value, images=4, confidence=value, accuracy=value)
        calibrated = found.calibrated.model_copy(update={"bins": (mark,)})
        nothing = found.uncalibrated.model_copy(update={"bins": ()})
        save_reliability(
            found.model_copy(update={"calibrated": calibrated, "uncalibrated": nothing}), tmp_path / "r.png"
        )
        with Image.open(tmp_path / "r.png") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        upper = pixels[: pixels.shape[0] * 7 // 10]
        return int((np.abs(upper - (0x25, 0x63, 0xA8)).sum(2) < 30).sum())

    assert blue(1.0) == pytest.approx(blue(0.5), rel=0.05)


def test_the_command(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    arguments = ("evaluate", pixel_model, "--data", tmp_path / "set", "--split", "test")
    done = mien(*arguments, "--json", "--out", tmp_path / "scores")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert printed["accuracy"] == 0.75
    assert printed["provenance"]["manifest_sha256"] == manifest_hash(tmp_path / "set")
    assert printed["provenance"]["command"].endswith("--json --out " + str(tmp_path / "scores"))
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == printed
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {
        "scores.json", "confusion.png", "reliability.png",
    }  # fmt: skip
    done = mien(*arguments)
    assert done.code == 0, done.err
    assert "75.0 %" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_several_models_are_compared(pixel_model: Path, tiny_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    arguments = ("evaluate", pixel_model, tiny_model, pixel_model, "--data", tmp_path / "set", "--split", "test")
    done = mien(*arguments, "--json", "--out", tmp_path / "scores")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert [scores["model"] for scores in printed["models"]] == ["pixels-1", "tiny", "pixels-2"]
    other, same = printed["differences"]
    assert (other["model"], other["to"], other["images"]) == ("tiny", "pixels-1", 4)
    right = [round(4 * scores["accuracy"]) for scores in printed["models"]]
    assert other["only_model"] - other["only_to"] == right[1] - right[0]
    assert (same["accuracy_difference"], same["p_value"], same["interval"]) == (0, 1, [0, 0])
    assert sorted(folder.name for folder in (tmp_path / "scores").iterdir()) == ["pixels-1", "pixels-2", "tiny"]
    written = read_scores(tmp_path / "scores" / "tiny" / "scores.json")
    assert written.model_dump(mode="json") == printed["models"][1]
    done = mien(*arguments)
    assert done.code == 0, done.err
    assert "may be chance" in " ".join(done.out.split())
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_the_divergence_from_the_votes_is_compared(pixel_model: Path, tiny_model: Path, data: PreparedSet) -> None:
    found = [evaluate(models.load(model), data, "test") for model in (tiny_model, pixel_model)]
    gaps = [scores.vote_divergence for scores in found]
    rows = {row.name: row for row in side_by_side(found)}
    label_head = [gap.label_head for gap in gaps if gap]
    assert rows["KL to FER+ votes, label head"].texts == tuple(f"{value:.3f}" for value in label_head)
    assert rows["KL to FER+ votes, label head"].best == {int(np.argmin(label_head))}
    assert rows["KL to FER+ votes, vote head"].texts[0] == "-", "the tiny model has none"
    voteless = [evaluate(models.load(model), data, "train") for model in (tiny_model, pixel_model)]
    assert not [row.name for row in side_by_side(voteless) if "votes" in row.name]


def test_tta_and_robustness_are_printed(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    arguments = ("evaluate", pixel_model, "--data", tmp_path / "set", "--split", "test")
    done = mien(*arguments, "--tta", "mirror", "--robustness")
    assert done.code == 0, done.err
    assert "image and mirror image averaged" in done.out
    assert "low resolution" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80
    done = mien(*arguments, "--tta", "miror")
    assert done.code == 1
    assert "mean 'mirror'?" in done.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"version": 1}', f"is of version 1, this mien reads {VERSION}; run mien evaluate again"),
        (f'{{"version": {VERSION}, "model": "x"}}', "is no scores.json of mien evaluate: split: Field required"),
        ("[1]", "is no scores.json"),
        ("", "is no scores.json"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_scores_json_is_told(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_scores(path)


def test_the_command_refuses_in_one_sentence(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    for model, folder, split, sentence in (
        ("nomodel", tmp_path / "set", "test", "no model 'nomodel'"),
        (pixel_model, tmp_path, "test", "is not a prepared set"),
        (pixel_model, tmp_path / "set", "tset", "did you mean 'test'"),
    ):
        done = mien("evaluate", model, "--data", folder, "--split", split)
        assert (done.code, done.out) == (1, "")
        assert sentence in done.err
        assert len(done.err.splitlines()) == 1


def test_the_command_never_imports_torch(pixel_model: Path, data: PreparedSet, tmp_path: Path) -> None:
    save(tmp_path / "set", data)
    code = (
        "import sys; from mien.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "assert 'mien.evaluation.expression.run' in sys.modules and 'torch' not in sys.modules"
    )
    arguments = [sys.executable, "-c", code, "evaluate", pixel_model, "--data", tmp_path / "set", "--split", "test"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
