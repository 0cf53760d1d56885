"""Gates on published tables. It is two-sided: a number too high deviates like one too low."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.regress.verdict import Problem, PublishedCell
from evals.report.checkpoints import runnable
from evals.report.measured import Records
from evals.report.official import find_table
from evals.report.verdicts import Placed, judge
from evals.schema import InvalidError

NOTHING = "nothing of this table was measured. Evaluate what --needs of evals.report names."


def held_against(
    names: Sequence[str], results: Path, stand_in: Mapping[str, str] | None = None
) -> tuple[list[PublishedCell], list[Problem]]:
    """The measured cells of published tables, and a problem per table of which nothing was measured.

    `stand_in` names the model whose records count as another's. ConfigError for an unknown table.
    """
    # all names first: an unknown one is a usage error, not a problem of the verdict
    tables = [(name, find_table(name)) for name in dict.fromkeys(names)]
    records = Records(results)
    cells: list[PublishedCell] = []
    problems: list[Problem] = []
    for name, published in tables:
        try:
            placed = judge(published, records, stand_in).results
        except InvalidError as error:
            # the baseline has its verdict all the same
            problems.append(Problem("invalid", name, "", str(error)))
            continue
        measured = [_cell(name, cell) for cell in placed if cell.result.measured is not None]
        if not measured:
            problems.append(Problem("missing", name, "", NOTHING))
        cells += measured
    return cells, problems


def published_models() -> set[str]:
    """The names that a published model may have in --as."""
    return {name for checkpoint in runnable().values() for name in checkpoint.names}


def _cell(name: str, placed: Placed) -> PublishedCell:
    result = placed.result
    assert result.measured is not None and result.difference is not None
    where = " · ".join(part for part in (placed.section, placed.row, placed.column) if part)
    printed = result.cell.published.value
    numbers = printed, result.measured, result.difference
    return PublishedCell(name, where, *numbers, result.verdict, result.stands_in)
