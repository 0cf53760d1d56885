"""What the gate and the report judge of the records, as rows of the site's pages: evals.dashboard.judged tells their fields."""

from collections.abc import Iterator
from pathlib import Path

from evals.dashboard.parts import Row
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
    folders = sorted(path for path in baselines.glob("*/") if path.is_dir())
    return [
        row
        for folder in folders
        for row in _of_baseline(folder.name, against(str(folder), None, results, gates))
    ]


def reproduction_rows(results: Path) -> list[Row]:
    """Every cell of every published table.

    A table whose record is broken is one row that says so.
    """
    records = Records(results)
    return [row for name in table_names() for row in _of_table(name, records)]


def _of_baseline(name: str, verdict: Verdict) -> Iterator[Row]:
    for problem in verdict.problems:
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
    found = table(name)
    try:
        results = judge(found, records).results
    except InvalidError as error:
        yield {"table": name, "verdict": "invalid", "message": str(error)}
        return
    for section, row, column, result in results:
        yield {
            "table": name,
            "row": " / ".join(filter(None, (section, row))),
            "column": column,
        } | _of_cell(result)


def _of_cell(result: Result) -> dict[str, object]:
    printed = result.cell.published
    fractions = {
        "value": result.measured,
        "low": result.low,
        "high": result.high,
        "difference": result.difference,
    }
    return {
        name: None if percent is None else percent / 100 for name, percent in fractions.items()
    } | {
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
