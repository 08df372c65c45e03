"""Labels of one's own: from folders of pictures to a set, a network, its scores, and everywhere that it is used."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from browser import Watched, needs_browser
from command import mien
from films import make_faces_film
from numpy.typing import NDArray
from PIL import Image
from serving import Server, asked, heard, jpeg, serving

from mien import load
from mien.analyzer import Analyzer
from mien.columns import table_columns
from mien.data import prepared
from mien.data.preparation import prepare
from mien.drawing.annotate import COLOURS, annotate, colours
from mien.errors import DataError, InputError
from mien.evaluation.expression.portraits import chosen
from mien.evaluation.expression.scores import read_scores
from mien.faces import Faces
from mien.labels import LABELS
from mien.live.session import Live
from mien.media.frames import Frame
from mien.media.sources import find_sources
from mien.models import load as load_model
from mien.output.episodes import save_episodes
from mien.output.tables import open_table
from mien.output.timeline.bins import Timeline
from mien.output.timeline.layout import draw_timeline
from mien.output.timeline.render import save_timeline
from mien.tracking.episodes import EpisodeFinder
from mien.training.reading import read
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder
from mien.training.start import head_note, start
from mien.vision.classify import Classifier

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OWN = ("calm", "open_mouth", "tired")
torch.set_num_threads(1)


def drawn(label: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A face of 48 x 48 pixels that is calm, has an open mouth, or closed eyes."""
    image = np.full((48, 48), 90, np.uint8)
    x, y = (int(v) for v in random.integers(-2, 3, 2))
    cv2.ellipse(image, (24 + x, 24 + y), (17, 21), 0, 0, 360, 180, -1)
    for eye in (17 + x, 31 + x):
        if label == "tired":
            cv2.line(image, (eye - 4, 19 + y), (eye + 4, 19 + y), 40, 2)
        else:
            cv2.circle(image, (eye, 19 + y), 3, 30, -1)
    mouth = (6, 5) if label == "open_mouth" else (6, 1)
    cv2.ellipse(image, (24 + x, 35 + y), mouth, 0, 0, 360, 30, -1)
    return (image + random.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def done(*arguments: object) -> str:
    """What a command prints, which should end well."""
    result = mien(*arguments)
    assert result.code == 0, result
    return result.out + result.err


def refused(*arguments: object) -> str:
    """What a command that cannot be done says."""
    result = mien(*arguments)
    assert result.code == 1, result
    (sentence,) = result.errors
    return sentence


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of each label, the set that was made of them, and the run that learnt it in one epoch."""
    place = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for folder, label in (("calm", "calm"), ("Open Mouth", "open_mouth"), ("tired", "tired")):
        (place / "photos" / folder).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(drawn(label, random)).save(place / "photos" / folder / f"{i}.png")
    table = done("data", "prepare", place / "photos", "--labels", "folders", "--out", place / "set")
    assert all(label in table for label in OWN)
    learnt = done(
        "train", "finetune", "--data", place / "set", "--out", place / "run", "--threads", "1",
        "--set", "optim.epochs=1", "--set", "optim.warmup_epochs=0",
    )  # fmt: skip
    assert "the network starts from base, and its label head starts at random for calm, open_mouth, tired" in learnt
    assert "temperature 1.000" in done("export", place / "run", "--data", place / "set", "--out", place / "own.onnx")
    return place


@pytest.fixture(scope="module")
def analyzer(place: Path) -> Analyzer:
    return load(place / "own.onnx", "haar", threads=1)


@pytest.fixture(scope="module")
def faces(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> Faces:
    return analyzer.analyze(astronaut)


def test_the_labels_travel_from_the_folders_to_the_card(place: Path) -> None:
    data = prepared.load(place / "set")
    assert data.label_names == data.split("test").label_names == OWN
    assert np.bincount(data.labels).tolist() == [10, 10, 10]
    with (place / "set" / "manifest.csv").open() as file:
        assert {(row["source"].split("/")[0], row["label"]) for row in csv.DictReader(file)} == {
            ("calm", "calm"), ("Open Mouth", "open_mouth"), ("tired", "tired"),
        }  # fmt: skip
    run = RunFolder(place / "run")
    assert run.labels() == OWN
    net, _ = run.best_net()
    assert [tuple(output.shape) for output in net(torch.zeros(1, 1, 48, 48))] == [(1, 3)], "and there is no vote head"
    card = load_model(place / "own.onnx").card
    assert (card.labels, card.vote_labels) == (OWN, ())


def test_int8_has_them_too(place: Path) -> None:
    assert "int8" in done("export", place / "run", "--data", place / "set", "--out", place / "small.onnx", "--int8")
    assert load_model(place / "small-int8.onnx").card.labels == OWN


def test_audit(place: Path, tmp_path: Path) -> None:
    text = done("data", "audit", place / "set", "--html", tmp_path / "a.html", "--json", tmp_path / "a.json")
    assert "open_mouth" in text
    balance = json.loads((tmp_path / "a.json").read_text())["balance"]
    assert balance["train"] == {"calm": 8, "open_mouth": 8, "tired": 8}
    page = (tmp_path / "a.html").read_text()
    assert "tired" in page
    assert "happy" not in page


def test_scores_and_report(place: Path, tmp_path: Path) -> None:
    text = done(
        "evaluate", place / "own.onnx", "--data", place / "set", "--split", "train", "--out", tmp_path / "scores"
    )
    assert "open_mouth" in text
    scores = read_scores(tmp_path / "scores" / "scores.json")
    assert scores.labels == tuple(scores.per_class) == OWN
    assert np.array(scores.confusion).sum(1).tolist() == [8, 8, 8]
    assert (scores.ferplus, scores.vote_divergence) == ({}, None)
    shown = chosen(range(3), prepared.load(place / "set"), Classifier(load_model(place / "own.onnx")))
    assert [one.label for one in shown] == ["open_mouth"] * 3
    assert {one.label for one in (*scores.mistakes, *scores.examples)} == set(OWN)
    report = tmp_path / "report.html"
    done("report", place / "run", tmp_path / "scores", "--data", place / "set", "--out", report)
    page = report.read_text(encoding="utf-8")
    assert "open_mouth taken for tired" in page
    assert "happy" not in page


def test_a_model_and_a_set_of_other_labels(place: Path) -> None:
    said = refused("evaluate", "base", "--data", place / "set")
    assert said.startswith("the model base has the labels angry, disgust, fear")
    assert "and the set has calm, open_mouth, tired" in said


def test_a_picture(faces: Faces, analyzer: Analyzer, astronaut: NDArray[np.uint8], place: Path, tmp_path: Path) -> None:
    assert analyzer.label_names == faces.label_names == OWN
    assert faces.probs is not None
    assert faces.probs.shape == (1, 3)
    (row,) = faces.rows()
    assert list(row["probabilities"]) == list(OWN)
    assert row["label"] in OWN
    tones = {tuple(pixel) for pixel in annotate(astronaut, faces).reshape(-1, 3).tolist()}
    assert {colours(OWN)[label] for label in OWN} <= tones, "a bar for each of them"
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    model = ("--model", str(place / "own.onnx"), "--detector", "haar")
    printed = json.loads(mien("predict", tmp_path / "photo.png", "--json", *model).out)
    assert list(printed["faces"][0]["probabilities"]) == list(OWN)
    assert row["label"] in done("predict", tmp_path / "photo.png", *model)
    assert row["label"] in done("explain", tmp_path / "photo.png", "--save", tmp_path, *model)
    assert json.loads((tmp_path / "photo-explained.json").read_text())["faces"][0]["occlusion"]["label"] == row["label"]


def test_a_film_its_table_episodes_and_timeline(place: Path, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    film = make_faces_film(tmp_path / "film.mp4", astronaut)
    text = done(
        "predict", film, "--every", "4", "--model", str(place / "own.onnx"), "--detector", "haar",
        "--table", tmp_path / "t.csv", "--episodes", tmp_path / "e.vtt", "--timeline", tmp_path / "t.png",
        "--save", tmp_path / "drawn",
    )  # fmt: skip
    assert any(label in text for label in OWN)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == table_columns(OWN)
    assert sum(float(rows[-1][label]) for label in OWN) == pytest.approx(1, abs=0.001)
    assert sum(float(rows[-1][f"raw_{label}"]) for label in OWN) == pytest.approx(1, abs=0.001)
    assert (tmp_path / "drawn" / "film.mp4").exists()


def moments(count: int = 60) -> Iterator[Faces]:
    """Somebody who is calm and then tired, ten frames a second."""
    box = np.array([[10, 10, 60, 60]], np.float32)
    points = np.full((1, 5, 2), np.nan, np.float32)
    for i in range(count):
        probs = np.array([[0.9, 0.05, 0.05] if i < count / 2 else [0.1, 0.1, 0.8]], np.float32)
        yield Faces(
            box, np.ones(1, np.float32), points, probs=probs, raw_probs=probs, ids=np.array([1]), frame=i, time=i / 10,
            source="a.mp4", width=80, height=80, model="own", label_names=OWN,
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables(tmp_path: Path, kind: str) -> None:
    with open_table(tmp_path / f"t.{kind}", label_names=OWN) as table:
        for faces in moments(5):
            table.write(faces)
    readers: dict[str, Any] = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}
    rows = readers[kind](tmp_path / f"t.{kind}")
    if kind == "jsonl":
        assert [field.name for field in rows.schema["probabilities"].fields] == list(OWN)
        return
    assert tuple(rows.columns) == table_columns(OWN)
    assert rows["tired"].to_list() == [0.05, 0.05, 0.05, 0.8, 0.8]


def test_a_table_is_for_one_set_of_labels(tmp_path: Path) -> None:
    expected = "is for angry, .* and own tells calm, open_mouth, tired apart"
    with pytest.raises(InputError, match=expected), open_table(tmp_path / "t.csv") as table:
        table.write(next(moments()))


def test_episodes_and_timelines(tmp_path: Path) -> None:
    timeline, finder = Timeline(), EpisodeFinder()
    episodes = []
    for faces in moments():
        timeline.add(faces)
        episodes += finder.update(faces)
    episodes += finder.close()
    assert [episode.label for episode in episodes] == ["calm", "tired"]
    save_episodes(tmp_path / "e.vtt", "a.mp4", episodes)
    assert "person 1: tired" in (tmp_path / "e.vtt").read_text()
    assert [label for label, _ in draw_timeline(timeline, episodes).legend] == list(OWN)
    for ending in ("png", "html"):
        save_timeline(tmp_path / f"t.{ending}", timeline, episodes)
    tone = "rgb({},{},{})".format(*colours(OWN)["tired"])
    assert (tmp_path / "t.html").read_text().count(tone) >= 3, "legend, area and episode"


def test_live_recordings(analyzer: Analyzer, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    (source,), _ = find_sources([str(make_faces_film(tmp_path / "film.mp4", astronaut))])
    with Live(source, analyzer, tmp_path / "live") as live:
        live.toggle_recording()
        view = None
        while not live.status().over:
            view = live.wait(view, 60) or view
    (table,) = (tmp_path / "live").glob("*.csv")
    assert tuple(table.read_text().splitlines()[0].split(",")) == table_columns(OWN)


@pytest.fixture(scope="module")
def server(analyzer: Analyzer) -> Iterator[Server]:
    with serving(analyzer) as server:
        yield server


def test_the_server(server: Server, analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    photo = jpeg(astronaut, "PNG")
    with server.client() as client, server.viewer() as viewer:
        assert heard(viewer)["labels"] == list(OWN)
        answers = [asked(viewer, k, k / 10, photo) for k in range(3)]
        assert list(answers[-1]["faces"][0]["raw_probabilities"]) == list(OWN)
        assert list(client.post("/v1/analyze", content=photo).json()["faces"][0]["probabilities"]) == list(OWN)
        assert client.get("/v1/model").json()["labels"] == list(OWN)
        shape = client.get("/openapi.json").json()["components"]["schemas"]["Probabilities"]
        assert (list(shape["properties"]), shape["required"]) == (list(OWN), list(OWN))
        wanted = ("sequence", "time", "width", "height", "faces")
        recording: dict[str, Any] = {
            "name": "party",
            "frames": [{key: answer[key] for key in wanted} for answer in answers],
        }
        table = client.post("/v1/recordings", json=recording)
        assert table.text.splitlines()[0] == ",".join(table_columns(OWN))
        assert len(table.text.splitlines()) == 4
        recording["frames"][0]["faces"][0]["probabilities"] = {"calm": 0.5, "happy": 0.5}
        answer = client.post("/v1/recordings", json=recording)
        assert answer.status_code == 422
        assert "probabilities.tired: field required" in answer.json()["detail"]


@needs_browser
def test_the_page(browser: Browser, server: Server, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    with browser.new_context() as context:
        tab = Watched(context, f"http://{server.host}/")
        tab.page.set_input_files("#file", tmp_path / "photo.png")
        tab.page.wait_for_selector("#people li")
        assert tab.page.locator("#people .bars .name").all_text_contents() == list(OWN)
        assert tab.page.locator("#legend li").all_text_contents() == list(OWN)
        tone = tab.page.eval_on_selector("#legend li", "item => getComputedStyle(item, '::before').backgroundColor")
        assert tone == "rgb({}, {}, {})".format(*colours(OWN)["calm"])
        assert tab.errors == []


def test_a_stream(analyzer: Analyzer, astronaut: NDArray[np.uint8]) -> None:
    stream = analyzer.stream()
    for k in range(3):
        faces = stream.push(Frame(astronaut, k, k / 10, "camera"))
    assert faces.label_names == OWN
    assert faces.raw_probs is not None
    assert faces.raw_probs.shape == (1, 3)
    nobody = stream.push(Frame(np.full((60, 60, 3), 90, np.uint8), 3, 0.3, "camera"))
    assert nobody.label_names == OWN


def pictures(folder: Path, *labels: str) -> Path:
    """A folder with four noisy pictures of each label."""
    random = np.random.default_rng(0)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(random.integers(0, 256, (30, 30), np.uint8)).save(folder / label / f"{i}.png")
    return folder


def test_unknown_names_are_refused_unless_they_are_declared(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "hapy", "sad")
    said = refused("data", "prepare", folder, "--out", tmp_path / "set")
    assert "'hapy' is not an expression (did you mean 'happy'?)" in said
    assert "give your own labels" in said
    said = refused("data", "prepare", folder, "--labels", "happy,sad,tired", "--out", tmp_path / "set")
    assert "'hapy' is none of the labels (did you mean 'happy'?); they are happy, sad, tired" in said
    assert "sad" in done("data", "prepare", folder, "--labels", "folders", "--out", tmp_path / "set")
    assert prepared.load(tmp_path / "set").label_names == ("sad", "hapy"), "ours first"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("calm", "a set has 2 to 32 labels, not 1 (calm)"),
        ("calm,calm", "'calm' is there twice"),
        ("calm,t!red", "'t!red' is no name for a label; use up to 20 of the characters"),
        ("calm,müde", "is no name for a label"),
        ("calm,", "'' is no name for a label"),
        ("calm,train", "'train' is no name for a label, since it means something else"),
        ("calm,raw_calm", "'raw_calm' is no name for a label, since"),
        ("calm,uncertain", "'uncertain' is no name for a label, since"),
    ],
)
def test_label_sets_that_cannot_be(tmp_path: Path, labels: str, said: str) -> None:
    folder = pictures(tmp_path / "photos", "calm", "tired")
    assert said in refused("data", "prepare", folder, "--labels", labels, "--out", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_folders_with_splits_and_people_in_them(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "train/calm/ann", "train/tired/bob", "test/calm/cid", "test/tired/dan")
    done("data", "prepare", folder, "--labels", "folders", "--out", tmp_path / "set")
    data = prepared.load(tmp_path / "set")
    assert data.label_names == ("calm", "tired")
    assert sorted(set(data.splits.tolist())) == ["test", "train"]
    Image.new("L", (30, 30), 90).save(folder / "train" / "astray.png")
    said = refused("data", "prepare", folder, "--labels", "folders", "--out", tmp_path / "set")
    assert "astray.png lies in no folder named by its label" in said
    said = refused("data", "prepare", folder / "nowhere.csv", "--labels", "folders", "--out", tmp_path / "set")
    assert "is no folder, so it names no labels" in said


def test_some_of_the_seven_leave_the_others_out_and_say_so(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "Happiness", "sad", "fear", "disgust")
    text = done("data", "prepare", folder, "--labels", "sad,happy", "--out", tmp_path / "set")
    assert "left out 8 images of expressions that are none of the labels: 4 of disgust, 4 of fear" in text
    data = prepared.load(tmp_path / "set")
    assert (data.label_names, len(data)) == (("happy", "sad"), 8)
    pixels = " ".join(["7"] * 9)
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels\n" + "".join(f"{k},{pixels}\n" for k in (0, 3, 3, 4, 6)))
    rows = prepare([table], labels=("happy", "sad")).data
    assert rows.labels.tolist() == [0, 0, 1]
    assert rows.sources.tolist() == ["fer2013.csv:3", "fer2013.csv:4", "fer2013.csv:5"]
    with pytest.raises(DataError, match="none of its 5 images has one of the labels calm, tired"):
        prepare([table], labels=("calm", "tired"))
    with pytest.raises(DataError, match="are for the seven expressions"):
        prepare([table], votes=tmp_path / "fer2013new.csv", labels=("happy", "sad"))


def test_parquet(tmp_path: Path) -> None:
    content = BytesIO()
    Image.new("L", (20, 20), 90).save(content, "PNG")
    names = ["calm", "Tired", "calm", "happy"]
    pl.DataFrame({"image": [content.getvalue()] * 4, "label": names}).write_parquet(tmp_path / "a.parquet")
    made = prepare([tmp_path / "a.parquet"], labels=("calm", "tired"))
    assert made.data.labels.tolist() == [0, 1, 0]
    assert made.data.sources.tolist() == [f"a.parquet:{row}" for row in range(3)]
    assert "1 of happy" in made.notes[0]
    with pytest.raises(DataError, match="row 1: 'Tired' is none of the labels; they are calm, open"):
        prepare([tmp_path / "a.parquet"], labels=("calm", "open"))


def test_a_set_whose_labels_were_tampered_with(place: Path, tmp_path: Path) -> None:
    data = prepared.load(place / "set")
    prepared.save(tmp_path / "set", data)
    about = tmp_path / "set" / "set.json"
    for labels in (["calm"], "calm", [1, 2, 3], None):
        about.write_text(json.dumps(json.loads(about.read_text()) | {"labels": labels}))
        with pytest.raises(DataError, match="is damaged"):
            prepared.load(tmp_path / "set")


@pytest.fixture(scope="module")
def finetune() -> Recipe:
    recipe = read("finetune")
    assert isinstance(recipe, Recipe)
    return recipe


def test_the_label_head_keeps_what_both_know(finetune: Recipe) -> None:
    from mien.training.expression.net import build

    more = (*LABELS, "contempt")
    whole, net = build(finetune.model), build(finetune.model, more)
    fresh = net.label_head.weight.detach().clone()
    start(whole, finetune)
    start(net, finetune, more)
    torch.testing.assert_close(net.label_head.weight[:7], whole.label_head.weight)
    torch.testing.assert_close(net.label_head.bias[:7], whole.label_head.bias)
    assert net.label_head.weight[7].equal(fresh[7])
    some = build(finetune.model, ("happy", "sad"))
    start(some, finetune, ("happy", "sad"))
    rows = [LABELS.index("happy"), LABELS.index("sad")]
    torch.testing.assert_close(some.label_head.weight, whole.label_head.weight[rows])
    assert head_note(finetune, LABELS) == ""
    assert head_note(finetune, ("happy", "sad")).endswith("its label head keeps happy, sad")
    assert head_note(finetune, more).endswith("surprise and starts at random for contempt")


def test_a_run_of_other_labels_can_begin_another(place: Path, finetune: Recipe) -> None:
    from mien.training.expression.net import build

    recipe = finetune.model_copy(update={"init": str(place / "run")})
    net = build(recipe.model, ("happy", "tired"))
    start(net, recipe, ("happy", "tired"))
    before, _ = RunFolder(place / "run").best_net()
    torch.testing.assert_close(net.label_head.weight[1], before.label_head.weight[OWN.index("tired")])
    again = build(recipe.model, OWN)
    start(again, recipe, OWN)
    torch.testing.assert_close(again.state_dict(), before.state_dict())


def test_resuming_and_exporting_stay_with_their_labels(place: Path, tmp_path: Path) -> None:
    data = prepared.load(place / "set")
    two = pictures(tmp_path / "photos", "calm", "tired")
    done("data", "prepare", two, "--labels", "folders", "--out", tmp_path / "set")
    said = refused("export", place / "run", "--data", tmp_path / "set", "--out", tmp_path / "a.onnx")
    assert "was trained on another set" in said
    about = json.loads((place / "set" / "set.json").read_text())
    prepared.save(tmp_path / "more", data)  # the same rows, but one more label declared
    (tmp_path / "more" / "set.json").write_text(json.dumps(about | {"labels": [*about["labels"], "yawning"]}))
    said = refused("export", place / "run", "--data", tmp_path / "more", "--out", tmp_path / "a.onnx")
    assert "was trained on another set" in said


def test_colours() -> None:
    assert colours(LABELS) == COLOURS
    mixed = colours(("happy", "neutral", "calm", "talking"))
    assert (mixed["happy"], mixed["neutral"]) == (COLOURS["happy"], COLOURS["neutral"])
    assert len(set(mixed.values())) == len(mixed) == 5
    many = colours(tuple(f"label{k}" for k in range(12)))
    assert len(set(many.values())) == 13
    assert len(colours(tuple(f"label{k}" for k in range(32)))) == 33
