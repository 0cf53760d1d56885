"""The pages of watched training runs: a list of them, and for each its curve and what each step scored."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.dashboard.history import History, key, page_of
from evals.dashboard.parts import Chart, Column, Page, Row, Sentence, Table
from evals.dashboard.rows import RUN
from evals.dashboard.training_chart import training_curve
from evals.escape import visible
from evals.records.manifest import path_component
from evals.records.record import Run
from evals.watch.journal import Step
from evals.watch.judging import Judged
from evals.watch.training_runs import TrainingRun, headline, outcome, outcome_of

PAGE, FOLDER = "watched", "watched"
STEPS = "steps"
HOW = "`python -m evals.watch DIR` measures each checkpoint of a training run as it appears."
ALPHA = (
    "Alpha is the chance of a false alarm in the whole run. Its checkpoints and metrics share it, and "
    "a step fell where p is at most its share and the drop exceeds the floor. Intervals are of one "
    "step alone, and may leave out zero more often than a step falls."
)


class _Names(NamedTuple):
    """What the site calls the benchmark and the baseline of a watched run."""

    benchmark: str
    baseline: str


def watched_pages(history: History) -> list[Page]:
    """The page that lists the watched runs; none where nothing was watched."""
    if not history.trainings:
        return []
    runs = _runs_by_place(history)
    columns = (
        Column("training", "Training run", "page"),
        Column("benchmark", "Benchmark"),
        Column("baseline", "Baseline"),
        Column("verdict", "Verdict", "chip"),
        Column("first_fall", "First step that fell", "number"),
        Column("last", "Last step", "number"),
        Column("tested", "Checkpoints tested", "number"),
        Column("change", "Last change, points", "points", ("low", "high")),
        Column("spent", "Alpha spent", "probability"),
        Column("alpha", "Alpha", "probability"),
    )
    rows = [_summary_row(training, runs) for training in history.trainings]
    page = Page(
        PAGE,
        "Training runs",
        "Training runs that were watched: each checkpoint was measured on the same queries as the "
        "baseline, and a fall was called once it was sure.",
        [Table(PAGE, "Watched training runs", columns, rows, "None was watched.")],
        notes=[f"The last change is the lowest of the tested metrics. {ALPHA}", HOW],
        sentences=training_sentences(history.trainings),
    )
    return [page]


def training_sentences(trainings: Sequence[TrainingRun]) -> list[Sentence]:
    """A sentence per watched run, those that fell first."""
    # Stable: runs of one verdict stay in the order of their names.
    in_order = sorted(trainings, key=lambda training: not training.fallen)
    return [
        Sentence(training.outcome, f"{visible(training.name)}: {visible(headline(training))}", PAGE)
        for training in in_order
    ]


def of_trainings(history: History) -> Iterator[tuple[str, Page]]:
    """The file name and the page of every watched run."""
    runs = _runs_by_place(history)
    for training in history.trainings:
        yield _file_of(training), _page(training, runs)


def _file_of(training: TrainingRun) -> str:
    return f"{path_component(training.name)}.html"


def _runs_by_place(history: History) -> dict[tuple[str, ...], Run]:
    # By the last three parts, which are the same on every machine; a journal holds whole paths.
    return {run.path.parts[-3:]: run for run in history.runs}


def _names(training: TrainingRun, runs: dict[tuple[str, ...], Run]) -> _Names:
    """By the records; by their folders where they are gone."""
    first = training.journal.steps[0]
    place = Path(first.baseline).parts[-3:]
    if place in runs:
        return _Names(*key(runs[place]))
    return _Names(*(visible(part) for part in (*place, "?", "?")[:2]))


def _summary_row(training: TrainingRun, runs: dict[tuple[str, ...], Run]) -> Row:
    names = _names(training, runs)
    steps, rule = training.journal.steps, training.journal.rule
    fallen = training.fallen
    row: dict[str, object] = {
        "training": visible(training.name),
        "href": f"{FOLDER}/{_file_of(training)}",
        **names._asdict(),
        "verdict": training.outcome,
        "first_fall": fallen[0].step if fallen else None,
        "last": steps[-1].step,
        "tested": len(training.tested),
        "spent": training.spent,
        "alpha": rule.alpha,
        "low": None,
    }
    if steps[-1].judged:
        lowest = min(steps[-1].judged, key=lambda entry: entry.change)
        row |= {"change": lowest.change, "low": lowest.low, "high": lowest.high}
    return row


def _page(training: TrainingRun, runs: dict[tuple[str, ...], Run]) -> Page:
    names = _names(training, runs)
    columns = (
        Column("step", "Step", "number"),
        Column("tested", "Metric"),
        Column("value", "Value, %", "percent", digits=2),
        Column("change", "Change, points", "points", ("low", "high")),
        Column("verdict", "Verdict", "chip"),
        Column("p", "p", "probability"),
        Column("alpha", "Alpha spent", "probability"),
        Column("seen", "Would see, points", "points"),
        Column("written", "Measured (UTC)", "date"),
        RUN,
    )
    rows: list[Row] = []
    for step in training.journal.steps:
        rows += _step_rows(step, runs)
    about = (Column("name", "Name"), Column("value", "Value"))
    return Page(
        "training-run",
        visible(training.name),
        f"A training run on {names.benchmark}, each checkpoint against {names.baseline}.",
        [
            Table(STEPS, "Step by step", columns, rows, ""),
            Table("rule", "How it is judged", about, _rule_rows(training, names), ""),
        ],
        list(_charts(training)),
        sentences=[Sentence(training.outcome, visible(headline(training)), "training-run")],
        notes=[ALPHA, "“Would see” is the drop that is called in four of five cases."],
    )


def _step_rows(step: Step, runs: dict[tuple[str, ...], Run]) -> Iterator[Row]:
    """A row per tested metric, and one for a step that is the baseline."""
    row: dict[str, object] = {"step": step.step, "verdict": outcome(step), "low": None}
    place = Path(step.record).parts[-3:]
    if place in runs:
        run = runs[place]
        # Pages of training runs lie in a folder beside that of the records' pages.
        row |= {"written": run.manifest.written, "run": run.path.name}
        row["href"] = f"../runs/{page_of(run)}"
    if not step.judged:
        yield row
    for entry in step.judged:
        yield row | _entry_row(entry)


def _entry_row(entry: Judged) -> dict[str, object]:
    return {
        "tested": entry.metric,
        "value": entry.value,
        "change": entry.change,
        "low": entry.low,
        "high": entry.high,
        "verdict": outcome_of(entry),
        "p": entry.p,
        "alpha": entry.alpha,
        "seen": entry.seen,
    }


def _charts(training: TrainingRun) -> Iterator[Chart]:
    """A curve per tested metric: on one axis directions would hide their changes in their distance."""
    first: dict[str, Judged] = {}
    for step in training.journal.steps:
        for entry in step.judged:
            first.setdefault(entry.metric, entry)
    floor = training.journal.rule.floor
    for number, (metric, entry) in enumerate(first.items(), 1):
        baseline = entry.value - entry.change
        about = (
            f"The dashed rule is the baseline, {100 * baseline:.2f}%, and the band below it a drop "
            f"that nobody minds, {100 * floor:g} points. Bars are 95% intervals of the change from "
            "the baseline, drawn at the value. A triangle marks a step that fell."
        )
        spec = training_curve(STEPS, metric, baseline, floor)
        yield Chart(f"curve-{number}", f"{visible(metric)} by step", about, spec)


def _rule_rows(training: TrainingRun, names: _Names) -> list[Row]:
    rule = training.journal.rule
    checkpoints = "not known: the k-th has alpha / (k (k + 1))"
    if rule.checkpoints is not None:
        checkpoints = f"{rule.checkpoints:,}: each has alpha / {rule.checkpoints:,}"
    values = {
        "Benchmark": names.benchmark,
        "Baseline": names.baseline,
        "Metrics": ", ".join(rule.metrics) or "the first of each direction",
        "Alpha, of the whole run": f"{rule.alpha:g}",
        "Alpha spent": f"{training.spent:.3g}",
        "Checkpoints": checkpoints,
        "Floor, points": f"{100 * rule.floor:g}",
        "Journal": training.file.name,
    }
    return [{"name": name, "value": visible(value)} for name, value in values.items()]
