"""What the gate and the report judge of the records, as rows of the site's pages.

evals.dashboard.judged lists their fields. The judging is done by the same functions as in
`evals.regress` and `evals.report`, so that a page and a command cannot differ.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.dashboard.parts import Row
from evals.natural import natural
from evals.regress.gates import read_gates
from evals.regress.runs import against
from evals.regress.verdict import Verdict
from evals.report.measured import Records
from evals.report.tables import table, table_names
from evals.report.verdicts import Result, judge
from evals.schema import InvalidError


def gate_rows(results: Path, baselines: Path) -> list[Row]:
    """The verdict on the newest runs below `results` against every baseline.

    A row also for what has no verdict.
    """
    gates = read_gates()
    rows: list[Row] = []
    for folder in sorted(baselines.glob("*/"), key=lambda path: natural(path.name)):
        if not folder.is_dir():
            continue
        verdict = against(str(folder), None, results, gates)
        rows += _of_baseline(folder.name, verdict)
    return rows


def reproduction_rows(results: Path) -> list[Row]:
    """Every cell of every published table.

    A table whose record is broken is one row that says so.
    """
    # Shared by all tables, which have many benchmarks in common: each record is read once.
    records = Records(results)
    rows: list[Row] = []
    for name in table_names():
        rows += _of_table(name, records)
    return rows


def _of_baseline(name: str, verdict: Verdict) -> Iterator[Row]:
    for problem in verdict.problems:
        # No benchmark: a problem of the whole baseline, which leaves all of its models unjudged.
        where = {
            "baseline": name,
            "benchmark": problem.benchmark or None,
            "model": problem.model or None,
        }
        yield where | {"verdict": problem.kind, "message": problem.message}
    for change in verdict.worst_first():
        low, high = change.difference.interval or (None, None)
        yield {
            "baseline": name,
            "benchmark": change.benchmark,
            "model": change.model,
            "subset": change.subset,
            "direction": change.direction,
            "metric": change.metric,
            "dim": change.dim,
            "before": change.old,
            "value": change.new,
            "difference": change.difference.value,
            "low": low,
            "high": high,
            "verdict": change.judgement,
        }


def _of_table(name: str, records: Records) -> Iterator[Row]:
    try:
        results = judge(table(name), records).results
    except InvalidError as error:
        # One row instead of all cells: which of them the broken record would fill is not known.
        yield {"table": name, "verdict": "invalid", "message": str(error)}
        return
    for section, row, column, result in results:
        yield {
            "table": name,
            "row": " / ".join(filter(None, (section, row))),
            "column": column,
        } | _of_cell(result)


def _of_cell(result: Result) -> dict[str, object]:
    # Papers print per cent, and so reports count in it; the site's tables hold fractions.
    printed = result.cell.published
    return {
        "value": _as_fraction(result.measured),
        "low": _as_fraction(result.low),
        "high": _as_fraction(result.high),
        "difference": _as_fraction(result.difference),
        "published": printed.value / 100,
        "verdict": result.verdict,
        "coverage": result.coverage or None,
        "message": result.why or None,
        "model": printed.model,
        "benchmark": printed.benchmark,
        "subset": printed.language or None,
        "direction": printed.direction or None,
        "metric": printed.metric,
        "dim": int(printed.dim) if printed.dim.isdigit() else None,
    }


def _as_fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
