"""The gate of published tables: two-sided, so that a number above the published one deviates as much as one below."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.regress.verdict import Problem, PublishedCell
from evals.report.measured import Records
from evals.report.tables import table
from evals.report.verdicts import Result, judge
from evals.schema import InvalidError


def held_against(
    tables: Sequence[str], results: Path, stand_in: Mapping[str, str] | None = None
) -> tuple[list[PublishedCell], list[Problem]]:
    """The measured cells of published tables (evals.report), and a problem for each table of which nothing was measured.

    `stand_in` names the model whose records count as another's. ConfigError for a table that there is not.
    """
    rows = [(name, table(name)) for name in dict.fromkeys(tables)]
    records = Records(results)
    cells: list[PublishedCell] = []
    problems: list[Problem] = []
    for name, row in rows:
        try:
            results_of = judge(row, records, stand_in).results
        except InvalidError as error:  # the baseline has its verdict all the same
            problems.append(Problem("invalid", name, "", str(error)))
            continue
        found = [
            _cell(name, place, result)
            for *place, result in results_of
            if result.measured is not None
        ]
        cells += found
        if not found:
            problems.append(
                Problem(
                    "missing",
                    name,
                    "",
                    "nothing of this published table was measured. Evaluate what --needs of evals.report names.",
                )
            )
    return cells, problems


def _cell(name: str, place: Sequence[str], result: Result) -> PublishedCell:
    assert result.measured is not None and result.difference is not None
    where = " · ".join(part for part in place if part)
    return PublishedCell(
        name, where, result.cell.published.value, result.measured, result.difference, result.verdict
    )
