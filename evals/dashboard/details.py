"""A page for each run: its metrics, what changed since the run before it, and its manifest."""

from collections.abc import Iterator

from evals.dashboard import charts
from evals.dashboard.history import History, changes, circumstances, key, page_of
from evals.dashboard.parts import Chart, Column, Page, Row, Table
from evals.dashboard.rows import DIM, VALUE, WHERE
from evals.records.curves import CurveLine, read_curves
from evals.records.record import Run

METRICS = (
    *WHERE,
    Column("dim", "Dimension", "number"),
    Column("precision", "Precision"),
    Column("value", "Value", "decimal"),
    Column("ci_low", "95% from", "decimal"),
    Column("ci_high", "to", "decimal"),
    Column("n_queries", "Queries", "number"),
    Column("n_gallery", "Gallery", "number"),
    Column("tie_rate", "Tie rate", "decimal"),
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
    metrics = [{**vars(line), "metric": line.name} for line in run.metrics]
    changed = []
    since = "an earlier run"
    unchanged = "There is no earlier run of this benchmark and model."
    if before:
        changed = [change._asdict() for change in changes(before, run)]
        since = f"the run of {before.manifest.written}"
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
        f"{run.manifest.written}, record {'/'.join(run.path.parts[-3:])}",
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


def _point_row(line: CurveLine) -> Row:
    return {**vars(line), "metric": line.name, "low": line.ci_low, "high": line.ci_high}
