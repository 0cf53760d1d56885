"""The pages that show what was measured: overview, trends, dimensions, languages and runs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from evals.analysis.stated_files import Results
from evals.dashboard import charts
from evals.dashboard.foreign import NONE, leading_rows
from evals.dashboard.history import (
    Change,
    History,
    Point,
    changes,
    headlines,
    leading,
    of_environment,
    points,
)
from evals.dashboard.parts import Chart, Column, Page, Row, Sentence, Table
from evals.dashboard.rows import DATE, DIM, MAKE_ONE, RUN, VALUE, WHAT, WHERE, point_row, run_row
from evals.records.means import MEAN
from evals.records.record import Run

UNJUDGED = "no baseline"


def overview(
    history: History,
    verdicts: Mapping[tuple[str | None, str | None], str],
    imported: Results = NONE,
    sentences: Sequence[Sentence] = (),
) -> Page:
    """What was judged, in `sentences`; then the newest value of each benchmark, model and direction.

    Means of other tools' files stand among them without either.
    """
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
    rows: list[Row] = []
    for runs in history.series().values():
        # The gate judges the newest run of a name. An older model of that name has no verdict.
        judged = history.is_newest_of_its_name(runs[-1])
        name = runs[-1].manifest.benchmark, runs[-1].manifest.model
        verdict = verdicts.get(name) if judged else None
        # A problem of a whole baseline has no benchmark, and stands for all that it would judge.
        verdict = verdict or verdicts.get((None, None), UNJUDGED)
        for point in leading(runs[-1]):
            row = {
                **point_row(runs[-1], point),
                **_past(runs, point),
                "over": _over(runs[-1], point),
                "verdict": verdict,
                # An older model of a name: of a year of nights the matrix would have a row each.
                "earlier": not judged,
            }
            rows.append(row)
    rows += leading_rows(imported, history)
    return Page(
        "index",
        "Overview",
        "What was judged, and the newest result of each model on each benchmark, in per cent with "
        "95% intervals. Changes are in points, from the run before on the same data.",
        [
            Table(
                "newest", "Newest results, one per line", columns, rows, MAKE_ONE, more=("earlier",)
            )
        ],
        sentences=sentences,
        matrix="newest" if rows else "",
        notes=[
            "“mean of” is the plain mean over the languages of a run. A benchmark ending in .partial "
            "was measured in part.",
            "The verdict is that of the regression gate against the baseline of this benchmark and "
            "model. What is “stated by” another tool was read from a file of its: a mean that was not "
            "measured here and that nothing judges.",
        ],
    )


def trends(history: History) -> Page:
    """Every run's headline metrics over time, and what changed between runs."""
    measured = []
    changed = []
    for runs in sorted(history.named_series(), key=_longest_first):
        for run in runs:
            # Another part of a benchmark has another score: no line joins the two.
            series = {"data": str(run.manifest.data_identity), "name": run.manifest.model}
            measured += [{**point_row(run, point), **series} for point in points(run)]
        for before, after in pairwise(runs):
            change = _between(before, after)
            if change:
                changed.append({**run_row(after), "change": change})
    about = (
        "One colour per name, one line per model; dashes join models of one name, such as the "
        "checkpoints of every night. Bands are 95% intervals; a dashed rule marks a run whose "
        "checkpoint, commit, packages, machine or encoder changed."
    )
    chart = Chart("trend", "Results over time", about, charts.trend("points", "changes"))
    return Page(
        "trends",
        "Trends",
        "How results moved from run to run, at each model's full width.",
        [
            Table(
                "points",
                "Values",
                (DATE, *WHAT, *WHERE, VALUE, DIM, RUN),
                measured,
                MAKE_ONE,
                more=("data", "name"),
            ),
            Table(
                "changes",
                "Changes of the checkpoint and of the environment",
                (DATE, *WHAT, Column("change", "What changed"), RUN),
                changed,
                "No run's checkpoint or environment differs from that of the run before it.",
            ),
        ],
        # Without rows there is no chart: an empty frame would look like a fault.
        [chart] if measured else [],
        ("benchmark", "subset", "direction", "metric"),
    )


def matryoshka(history: History) -> Page:
    """What shorter and coarser embeddings keep, for the newest run of each model that has several."""
    rows: list[Row] = []
    for run in history.newest():
        rows += _shares(run)
    about = "One line per model and precision; bars are 95% intervals. The dimensions are evenly spaced."
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
        "How much of the full width's result an embedding keeps when it is cut to fewer "
        "dimensions, or stored in fewer bits.",
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
    rows = []
    for run in history.newest():
        # A benchmark of one language would be a row that no other model's row stands beside.
        if len({line.subset for line in run.metrics}) > 1:
            rows += [point_row(run, point) for point in points(run)]
    about = "Per cent; darker is better, on a scale from 0 to 100%."
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
    for series in history.series().values():
        # Each run with the one before it; the first has none.
        for before, run in zip([None, *series[:-1]], series, strict=True):
            n_changes = len(changes(before, run)) if before else None
            rows.append({**run_row(run), **_cost(run), "changed": n_changes})
    rows.sort(key=lambda row: str(row["date"]), reverse=True)
    columns = (
        DATE,
        *WHAT,
        Column("metric", "Metric"),
        Column("value", "Value, %", "percent"),
        Column("device", "Device"),
        Column("commit", "Commit"),
        Column("seconds", "Seconds", "ratio"),
        Column("changed", "Changes", "number"),
        RUN,
    )
    return Page(
        "runs",
        "Runs",
        "Every complete record. “Changes” counts what differs from the run before it of the same "
        "benchmark and model.",
        [Table("runs", "Runs", columns, rows, MAKE_ONE)],
    )


def _between(before: Run, after: Run) -> str:
    """What changed from a run to the next one of its name, in one line; nothing for nothing."""
    environment = of_environment(changes(before, after))
    models = before.manifest.model_identity, after.manifest.model_identity
    if models[0].same_model(models[1]):
        return brief(environment)
    # Of another model the fingerprint is another one all over: that it is another says it all.
    around = [change for change in environment if not change.name.startswith("encoder.")]
    old, new = (model.brief for model in models)
    return "; ".join(filter(None, [f"checkpoint {old} → {new}", brief(around)]))


def brief(parts: list[Change]) -> str:
    """Changes in one line: `torch 2.14.0 → 2.15.0; commit abc1234 → def5678`."""
    texts = []
    for change in parts:
        # Without the part of the manifest: `torch`, not `packages.torch`.
        _, _, name = change.name.partition(".")
        texts.append(f"{name} {_short(change.before)} → {_short(change.after)}")
    return "; ".join(texts)


def _longest_first(runs: list[Run]) -> tuple[bool, int]:
    """By this a page begins with a whole benchmark that has a past."""
    return runs[-1].manifest.partial is not None, -len(runs)


def _short(value: str | None) -> str:
    """A hash by its first digits, nothing as a dash."""
    if value is None:
        return "–"
    # SHA-1 of a commit, SHA-256 of weights: eight digits tell two of them apart.
    is_hash = len(value) in (40, 64) and not value.strip("0123456789abcdef")
    return value[:8] if is_hash else value


def _over(run: Run, point: Point) -> str:
    if point.subset != MEAN:
        return point.subset
    return f"mean of {len({line.subset for line in run.metrics})}"


def _past(runs: list[Run], point: Point) -> Row:
    """The values of a point in all runs of the newest one's data, and its change from the last but one."""
    values = []
    data = runs[-1].manifest.data_identity
    for run in runs:
        # Another part of a benchmark has another score: that is no change of the model.
        if run.manifest.data_identity != data:
            continue
        values += [old.value for old in leading(run) if old.is_of_cell(point)]
    change = values[-1] - values[-2] if len(values) > 1 else None
    return {"past": values, "change": change}


def _shares(run: Run) -> Iterator[Row]:
    """What each dimension and precision keeps of the best one's value, metric by metric."""
    points_by_metric: dict[tuple[str, str, str], list[Point]] = {}
    for point in points(run, full=False):
        metric = (point.subset, point.direction, point.metric)
        points_by_metric.setdefault(metric, []).append(point)
    for metric_points in points_by_metric.values():
        if len(metric_points) < 2:
            continue
        # The best by its bits, not by its value: fewer dimensions may score higher by chance.
        best = max(metric_points, key=lambda point: (point.dim, point.precision == "float32"))
        for point in metric_points:
            share = point.value / best.value if best.value else None
            yield {**point_row(run, point), "kept": share}


def _cost(run: Run) -> Row:
    """What a run measured first, on what, by which code and in how many seconds."""
    manifest = run.manifest
    seconds, source = manifest.seconds, manifest.source
    metric = value = commit = None
    first = leading(run)[:1]
    if first:
        metric = f"{first[0].direction} {headlines(run)[0]}"
        value = first[0].value
    # An installed wheel has no repository, and no commit.
    if source:
        # Uncommitted changes: the commit alone does not say which code ran.
        changed = " + changes" if source.dirty else ""
        commit = f"{source.commit[:8]}{changed}"
    return {
        "metric": metric,
        "value": value,
        "device": manifest.encoder.fingerprint.get("device"),
        "commit": commit,
        "seconds": round(sum(seconds.values()), 1) if seconds else None,
    }
