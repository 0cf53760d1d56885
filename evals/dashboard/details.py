"""A page for each run: its metrics, what changed since the run before it, and its manifest."""

from collections.abc import Iterator

from evals.dashboard import charts
from evals.dashboard.history import History, changes, circumstances, key, page_of
from evals.dashboard.parts import Chart, Column, Page, Row, Table
from evals.dashboard.rows import DIM, VALUE, WHERE
from evals.ranking.metric_table import RANKS
from evals.records.curves import CurveLine, read_curves
from evals.records.record import MetricLine, Run

METRICS = (
    *WHERE,
    Column("dim", "Dimension", "number"),
    Column("precision", "Precision"),
    VALUE,
    Column("rank", "Rank from 1", "ratio"),
    Column("n_queries", "Queries", "number"),
    Column("n_gallery", "Gallery", "number"),
    Column("tie_rate", "Ties, %", "percent"),
)

CURVES = (
    *WHERE,
    DIM,
    Column("n_gallery", "Gallery", "number"),
    Column("n_distractors", "Distractors", "number"),
    VALUE,
)


def of_runs(history: History) -> Iterator[tuple[str, Page]]:
    """The file name and the page of every run."""
    for runs in history.series().values():
        # Each run with the one before it; the first has none.
        for before, run in zip([None, *runs[:-1]], runs, strict=True):
            yield page_of(run), _page(run, before)


def _page(run: Run, before: Run | None) -> Page:
    benchmark, model = key(run)
    metrics = [_metric_row(line) for line in run.metrics]
    changed = []
    since = "an earlier run"
    unchanged = "There is no earlier run of this benchmark and model."
    if before:
        changed = [change._asdict() for change in changes(before, run)]
        since = f"the run of {_minute(before)}"
        unchanged = "Nothing differs."
    name = Column("name", "Name")
    points = [_point_row(line) for line in read_curves(run)]
    curves = [Table("gallery", "Recall by the size of the gallery", CURVES, points, "")]
    about = (
        "Distractors drawn at random join the gallery; a value is the mean over all draws. A line per "
        "metric, direction, language and dimension; bars are 95% intervals over images."
    )
    chart = Chart("curve", "Recall by the size of the gallery", about, charts.gallery("gallery"))
    return Page(
        "run",
        f"{benchmark} · {model}",
        # The path from the benchmark on, which is the same on every machine.
        f"{_minute(run)}, record {'/'.join(run.path.parts[-3:])}",
        [
            Table("metrics", "Metrics", METRICS, metrics, "The record holds no metric."),
            *(curves if points else ()),
            Table(
                "changes",
                f"Changes since {since}",
                (name, Column("before", "Before"), Column("after", "After")),
                changed,
                unchanged,
            ),
            Table(
                "manifest",
                "How it was made",
                (name, Column("value", "Value")),
                [{"name": key, "value": value} for key, value in circumstances(run).items()],
                "The manifest tells nothing.",
            ),
        ],
        # Without distractors there is no curve, and no place for one.
        [chart] if points else [],
        command=" ".join(run.manifest.command),
    )


def _minute(run: Run) -> str:
    return f"{run.manifest.written[:16].replace('T', ' ')} UTC"


def _metric_row(line: MetricLine) -> Row:
    """A share in the column of values, with its interval; a rank, which is none, in one of its own."""
    row = {**vars(line), "metric": line.name, "low": line.ci_low, "high": line.ci_high}
    if line.name in RANKS:
        return row | {"value": None, "rank": line.value}
    return row | {"rank": None}


def _point_row(line: CurveLine) -> Row:
    return {**vars(line), "metric": line.name, "low": line.ci_low, "high": line.ci_high}
