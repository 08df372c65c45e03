"""Runs and scores as one HTML file that holds all it shows: charts, pictures, tables; for screen and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from markupsafe import Markup

from mien.data.prepared import few_images_note
from mien.drawing.annotate import colours
from mien.evaluation import charts, page
from mien.evaluation.charts import SERIES, Axis, Line, percent, whole_percent
from mien.evaluation.expression.compare import side_by_side
from mien.evaluation.expression.occlusion import AGAINST, FOR
from mien.evaluation.expression.portraits import Portrait
from mien.evaluation.expression.scores import TTA_WORDS, Robustness, Scores
from mien.evaluation.expression.training_log import TrainingLog
from mien.metrics import wilson_interval


@dataclass(frozen=True)
class Measured:
    """One model's scores, and pictures of its surest mistakes, its surest right predictions, and of chosen faces."""

    scores: Scores
    mistakes: Sequence[Portrait] = ()
    examples: Sequence[Portrait] = ()
    chosen: Sequence[Portrait] = ()
    left_out: int = 0
    """Of the scores' mistakes and examples, those that show no face."""

    @property
    def faceless(self) -> int:
        """Images without a face that the galleries leave out."""
        return self.scores.faceless or self.left_out

    @property
    def mapped(self) -> bool:
        """Whether there are occlusion maps."""
        return any(one.overlay for one in (*self.mistakes, *self.examples, *self.chosen))


def render(runs: Sequence[TrainingLog], measured: Sequence[Measured]) -> str:
    """The page as HTML. Models of one name carry their split in the headings."""
    names = [one.scores.model for one in measured]
    titles = [
        f"{one.scores.model} on {one.scores.split}" if names.count(one.scores.model) > 1 else one.scores.model
        for one in measured
    ]
    spoilt = [(t, one.scores.robustness) for t, one in zip(titles, measured, strict=True) if one.scores.robustness]
    return page.template("expression/report.html.jinja").render(
        title=_title(runs, measured),
        runs=[(run, _accuracy_curves(run), _loss_curves(run)) for run in runs],
        measured=list(zip(titles, measured, strict=True)),
        comparison=side_by_side([one.scores for one in measured]) if len(measured) > 1 else [],
        titles=titles,
        tta_words=TTA_WORDS,
        confusion=_confusion,
        class_bars=_class_bars,
        reliability=_reliability,
        few=few_images,
        interval=_interval,
        spoilt=spoilt,
        robustness=_robustness(spoilt),
        robustness_keys=charts.legend([(name, 1 + k % SERIES, False) for k, (name, _) in enumerate(spoilt)]),
        colours={label: _css(colour) for one in measured for label, colour in colours(one.scores.labels).items()},
        heat_for=_css(FOR),
        heat_against=_css(AGAINST),
    )


def few_images(scores: Scores) -> str:
    """A warning where a label has few images; else empty."""
    return few_images_note({label: row.support for label, row in scores.per_class.items()}, scores.split)


def _interval(share: float, images: int, digits: int) -> str:
    """The 95 % interval of a share of so many images, or a dash."""
    if not images:
        return "-"
    low, high = wilson_interval(round(share * images), images)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def _title(runs: Sequence[TrainingLog], measured: Sequence[Measured]) -> str:
    names = [run.name for run in runs] + [one.scores.model for one in measured]
    return ", ".join(dict.fromkeys(names))


def _accuracy_curves(run: TrainingLog) -> Markup:
    lines = [
        Line("training", [(e.epoch, e.train_accuracy) for e in run.epochs], 2),
        Line("validation", [(e.epoch, e.validation_accuracy) for e in run.epochs], 1),
    ]
    best = run.best
    mark = (
        (best.epoch, best.validation_accuracy),
        f"best on validation: {percent(best.validation_accuracy)} in epoch {best.epoch}",
    )
    values = [value for line in lines for _, value in line.points]
    y = Axis.around(values, "", lambda share: f"{100 * share:g} %")
    return charts.line_chart(lines, _epochs(run), y, f"accuracy of {run.name} over the epochs", mark=mark)


def _loss_curves(run: TrainingLog) -> Markup:
    lines = [
        Line("training", [(e.epoch, e.train_loss) for e in run.epochs], 2),
        Line("validation", [(e.epoch, e.validation_loss) for e in run.epochs], 1),
    ]
    y = Axis.around([value for line in lines for _, value in line.points])
    return charts.line_chart(lines, _epochs(run), y, f"loss of {run.name} over the epochs")


def _epochs(run: TrainingLog) -> Axis:
    first, last = run.epochs[0].epoch, run.epochs[-1].epoch
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, ceil(last / 8)) if last / s <= 10)
    ticks = [first, *(tick for tick in range(0, last + 1, step) if tick > first)]
    return Axis(first, max(last, first + 1), ticks, "epoch")


def _confusion(scores: Scores) -> tuple[Markup, Markup]:
    """Counts, and the share that each is of its row."""
    ratios = scores.confusion_ratios
    counts = [[f"{count:,}" for count in row] for row in scores.confusion]
    shares = [[whole_percent(ratio) for ratio in row] for row in ratios]
    about = f"{scores.model} on {scores.split}"
    return (
        charts.matrix(scores.labels, scores.confusion, counts, f"confusion matrix of {about}, images"),
        charts.matrix(scores.labels, ratios, shares, f"confusion matrix of {about}, shares of each true label"),
    )


def _class_bars(scores: Scores) -> Markup:
    groups = [(label, (row.precision, row.recall, row.f1)) for label, row in scores.per_class.items()]
    return charts.bar_chart(groups, ("precision", "recall", "F1"), f"scores of {scores.model} for each expression")


def _reliability(scores: Scores) -> tuple[Markup, Markup]:
    """The reliability diagram, and how many predictions have which confidence."""
    x = Axis(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1], "confidence", "{:.1f}".format)
    lines = [Line("perfect", [(0, 0), (1, 1)], 0, dashed=True)]
    for calibration, colour, name in (
        (scores.uncalibrated, 2, "without temperature"),
        (scores.calibrated, 1, f"temperature {scores.calibrated.temperature:.2f}"),
    ):
        points = [
            (b.confidence, b.accuracy) for b in calibration.bins if b.confidence is not None and b.accuracy is not None
        ]
        lines.append(Line(f"{name}, ECE {calibration.ece:.3f}", points, colour, dots=True))
    bins = [(b.low, b.high, b.images / scores.images) for b in scores.calibrated.bins]
    about = f"{scores.model} on {scores.split}"
    y = charts.shares("accuracy")
    return (
        charts.line_chart(lines, x, y, f"reliability diagram of {about}", size=(460, 350)),
        charts.histogram(bins, x, f"how many predictions of {about} have which confidence"),
    )


def _robustness(found: Sequence[tuple[str, Robustness]]) -> list[tuple[str, str, Markup]]:
    """A small chart for each corruption: its name, what its strengths are, accuracy over them of every model."""
    if not found:
        return []
    small = []
    for kind, about in found[0][1].corruptions.items():
        lines = [
            Line(name, list(enumerate((one.clean, *one.corruptions[kind].accuracy))), 1 + k % SERIES, dots=True)
            for k, (name, one) in enumerate(found)
            if kind in one.corruptions
        ]
        strengths = ["clean", *(f"{strength:g}" for strength in about.strengths)]
        levels = Axis(0, len(about.strengths), range(len(strengths)), "", partial(_named, strengths))
        chart = charts.line_chart(lines, levels, charts.shares(), f"accuracy under {kind}", size=(280, 196), keys=False)
        small.append((kind, about.unit, chart))
    return small


def _named(strengths: Sequence[str], level: float) -> str:
    return strengths[round(level)]


def _css(colour: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*colour)
