"""The pages that tell what was measured: overview, trends, dimensions, languages, runs and the quality of the data."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from evals.dashboard import charts
from evals.dashboard.model import (
    MEAN,
    Change,
    History,
    Point,
    changes,
    headlines,
    leading,
    of_environment,
    points,
)
from evals.dashboard.parts import Chart, Column, Page, Row, Table
from evals.dashboard.rows import DATE, DIM, MAKE_ONE, RUN, VALUE, WHAT, WHERE, point_row, run_row
from evals.records.record import Run

UNJUDGED = "no baseline"


def overview(history: History, verdicts: Mapping[tuple[str | None, str | None], str]) -> Page:
    """The newest value of each benchmark, model and direction, its past and its verdict."""
    columns = (
        *WHAT,
        VALUE,
        *WHERE[1:],
        Column("over", "Languages"),
        Column("past", "History", "spark"),
        Column("change", "Change", "points"),
        Column("verdict", "Verdict", "chip"),
        DIM,
        DATE,
        RUN,
    )
    rows = [
        {
            **point_row(runs[-1], point),
            **_past(runs, point),
            "over": _over(runs[-1], point),
            "verdict": verdicts.get(name) or verdicts.get((None, None), UNJUDGED),
        }
        for name, runs in history.series().items()
        for point in leading(runs[-1])
    ]
    return Page(
        "index",
        "Overview",
        "The newest result of each model on each benchmark, with 95% intervals. Changes are in points, from the run before.",
        [Table("newest", "Newest results", columns, rows, MAKE_ONE)],
        notes=[
            "“mean of” is the plain mean over the languages of a run. A benchmark ending in .partial was measured in part.",
            "The verdict is that of the regression gate against the baseline of this benchmark and model.",
        ],
    )


def trends(history: History) -> Page:
    """Every run's headline metrics over time, and what changed between runs."""
    measured = [
        point_row(run, point)
        for runs in history.series().values()
        for run in runs
        for point in points(run)
    ]
    changed = [
        {**run_row(after), "change": brief(environment_changes)}
        for runs in history.series().values()
        for before, after in pairwise(runs)
        if (environment_changes := of_environment(changes(before, after)))
    ]
    about = (
        "A line a model; bands are 95% intervals; a dashed rule marks a run whose commit, packages, machine or encoder "
        "changed."
    )
    return Page(
        "trends",
        "Trends",
        "How results moved from run to run, at each model's full width.",
        [
            Table("points", "Values", (DATE, *WHAT, *WHERE, VALUE, DIM, RUN), measured, MAKE_ONE),
            Table(
                "changes",
                "Changes of the environment",
                (DATE, *WHAT, Column("change", "What changed"), RUN),
                changed,
                "No run's environment differs from that of the run before it.",
            ),
        ],
        [Chart("trend", "Results over time", about, charts.trend("points", "changes"))]
        if measured
        else [],
        ("benchmark", "subset", "direction", "metric"),
    )


def matryoshka(history: History) -> Page:
    """What shorter and coarser embeddings keep, for the newest run of each model that has several."""
    rows = [row for run in history.newest() for row in _kept(run)]
    about = (
        "A line a model and precision; bars are 95% intervals. The dimensions are evenly spaced."
    )
    columns = (
        *WHAT,
        *WHERE,
        DIM,
        Column("precision", "Precision"),
        VALUE,
        Column("kept", "Kept, %", "percent"),
        DATE,
        RUN,
    )
    return Page(
        "matryoshka",
        "Matryoshka",
        "How much of the full width's result an embedding keeps when it is cut to fewer dimensions, or stored in fewer bits.",
        [
            Table(
                "dims",
                "By dimension and precision",
                columns,
                rows,
                "No sweep yet: `python -m evals.mrl_sweep` makes one.",
            )
        ],
        [Chart("curve", "Result by dimension", about, charts.curve("dims"))] if rows else [],
        ("benchmark", "subset", "direction", "metric"),
    )


def languages(history: History) -> Page:
    """Language by model, for the newest runs that have several."""
    rows = [
        point_row(run, point)
        for run in history.newest()
        if len({line.subset for line in run.metrics}) > 1
        for point in points(run)
    ]
    about = "Darker is better, on a scale from 0 to 100%."
    return Page(
        "languages",
        "Languages",
        "The newest results language by language, at each model's full width.",
        [
            Table(
                "languages",
                "By language",
                (*WHAT, *WHERE, VALUE, DIM, DATE, RUN),
                rows,
                "No run has more than one language yet.",
            )
        ],
        [Chart("heat", "Language by model", about, charts.heat_map("languages"))] if rows else [],
        ("benchmark", "direction", "metric"),
    )


def runs(history: History) -> Page:
    """Every run, with what changed since the one before it."""
    rows = []
    for records in history.series().values():
        for before, run in zip([None, *records], records, strict=False):
            rows.append(
                {
                    **run_row(run),
                    **_cost(run),
                    "changed": len(changes(before, run)) if before else None,
                }
            )
    rows.sort(key=lambda row: str(row["date"]), reverse=True)
    columns = (
        DATE,
        *WHAT,
        Column("metric", "Metric"),
        Column("value", "Value, %", "percent"),
        Column("device", "Device"),
        Column("commit", "Commit"),
        Column("seconds", "Seconds", "number"),
        Column("changed", "Changes", "number"),
        RUN,
    )
    return Page(
        "runs",
        "Runs",
        "Every complete record. “Changes” counts what differs from the run before it of the same benchmark and model.",
        [Table("runs", "Runs", columns, rows, MAKE_ONE)],
    )


def brief(parts: list[Change]) -> str:
    """Changes in one line: `torch 2.14.0 → 2.15.0; commit abc1234 → def5678`."""
    return "; ".join(
        f"{c.name.split('.', 1)[1]} {_short(c.before)} → {_short(c.after)}" for c in parts
    )


def _short(value: str | None) -> str:
    """A hash by its first digits, nothing as a dash."""
    if value is None:
        return "–"
    return value[:8] if len(value) in (40, 64) and not value.strip("0123456789abcdef") else value


def _over(run: Run, point: Point) -> str:
    return (
        f"mean of {len({line.subset for line in run.metrics})}"
        if point.subset == MEAN
        else point.subset
    )


def _past(runs: list[Run], point: Point) -> Row:
    """The values of a point in all runs, and its change from the last but one."""
    values = [old.value for run in runs for old in leading(run) if old[:5] == point[:5]]
    return {"past": values, "change": values[-1] - values[-2] if len(values) > 1 else None}


def _kept(run: Run) -> Iterator[Row]:
    rows = points(run, full=False)
    cells: dict[tuple[str, str, str], list[Point]] = {}
    for point in rows:
        cells.setdefault(point[:3], []).append(point)
    for several in cells.values():
        best = max(several, key=lambda point: (point.dim, point.precision == "float32"))
        if len(several) > 1:
            yield from (
                {**point_row(run, p), "kept": p.value / best.value if best.value else None}
                for p in several
            )


def _cost(run: Run) -> Row:
    seconds, source = run.manifest.get("seconds"), run.manifest.get("source")
    costs = leading(run)[:1]
    return {
        "metric": f"{costs[0].direction} {headlines(run)[0]}" if costs else None,
        "value": costs[0].value if costs else None,
        "device": (run.manifest.get("encoder") or {}).get("fingerprint", {}).get("device"),
        "commit": f"{source['commit'][:8]}{' + changes' if source['dirty'] else ''}"
        if source
        else None,
        "seconds": round(sum(seconds.values()), 1) if seconds else None,
    }
