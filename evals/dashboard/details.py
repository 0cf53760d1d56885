"""A page for each run: its metrics, what changed since the run before it, and its manifest."""

from collections.abc import Iterator

from evals.dashboard.history import History, changes, circumstances, key, page_of
from evals.dashboard.parts import Column, Page, Table
from evals.dashboard.rows import WHERE
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
    return Page(
        "run",
        f"{benchmark} · {model}",
        # The path from the benchmark on, which is the same on every machine.
        f"{run.manifest.written}, record {'/'.join(run.path.parts[-3:])}",
        [
            Table("metrics", "Metrics", METRICS, metrics, "The record holds no metric."),
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
        command=" ".join(run.manifest.command),
    )
