"""The columns that tables share, and the fields of a row that say which run and value it is."""

from typing import Any

from evals.dashboard.history import Point, key, page_of
from evals.dashboard.parts import Column
from evals.records.record import Run

MAKE_ONE = "No records yet. `make demo` makes the first two; then `make dashboard` again."
WHAT = (Column("benchmark", "Benchmark"), Column("model", "Model"))
WHERE = (Column("subset", "Language"), Column("direction", "Direction"), Column("metric", "Metric"))
DATE = Column("date", "Date (UTC)", "date")
DIM = Column("dim", "Dimension", "number")
VALUE = Column("value", "Value, %", "percent", ("low", "high"))
RUN = Column("run", "Run", "link")


def run_row(run: Run) -> dict[str, Any]:
    """Which run it is, when it was written, and where its page is."""
    benchmark, model = key(run)
    return {
        "benchmark": benchmark,
        "model": model,
        "date": run.manifest.written,
        # The folder's name holds the time and eight digits: no two runs have the same.
        "run": run.path.name,
        "href": f"runs/{page_of(run)}",
    }


def point_row(run: Run, point: Point) -> dict[str, Any]:
    """A value of a run with its run."""
    return {**run_row(run), **point._asdict()}
