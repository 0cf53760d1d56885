"""What every query of a record scored, as metrics: what paired comparisons, gates and pages of mistakes are made from."""

from typing import Any, NamedTuple

import numpy as np

from evals.counts import counted
from evals.ranking.definition import Ranks
from evals.ranking.graded import NOWHERE
from evals.ranking.metric_table import per_query_function
from evals.records.manifest import MANIFEST, REMEDY
from evals.records.parquet import KEY_COLUMNS, RANK_COLUMNS
from evals.records.record import QUERIES, MetricLine, Run, read_queries
from evals.schema import InvalidError

CELL = tuple(KEY_COLUMNS)
RANKS = tuple(RANK_COLUMNS)
COUNTS = ("better", "tied", "tied_relevant")  # of documents


class Cell(NamedTuple):
    """One part of a record that was scored by itself; mteb's splits stand as `direction`."""

    subset: str
    direction: str
    dim: int
    precision: str


class Scored(NamedTuple):
    """Pairs of a semantic similarity task: the cosine of each and its gold score."""

    score: np.ndarray
    gold: np.ndarray


class PerQuery(NamedTuple):
    """The queries of a cell in the record's order: ids, groups (the image), and by metric one value a query, in [0, 1].

    Pairs have no value each: then `values` is empty, and `pairs` holds what a correlation is made
    from.
    """

    ids: list[str]
    groups: list[str]
    values: dict[str, np.ndarray]
    pairs: Scored | None = None


def per_query(run: Run) -> dict[Cell, PerQuery]:
    """The cells of a record in its order; none for a record without queries, as that of a mean over tasks is.

    Ranks become those metrics of metrics.jsonl that are means over queries (`R@5`, `acc@1`, `MRR`,
    `nDCG@10`), values of mteb the metric that its manifest names. Raises InvalidError for other
    columns, and for a query that is there twice.
    """
    table = read_queries(run)
    values = _reader(run, set(table.column_names))
    lines = lines_by_cell(run)
    cells = {}
    for cell, part in by_cell(table).items():
        _check_count(run, cell, part, lines.get(cell, []))
        ids, groups = part["query_id"].to_pylist(), part["group_id"].to_pylist()
        if len(set(ids)) < len(ids):
            raise InvalidError(
                f"{run.path}: {cell_name(cell)} has a query twice; run the evaluation again."
            )
        cells[cell] = values(ids, groups, part, lines.get(cell, []))
    return cells


def tables_by_cell(run: Run) -> dict[Cell, Any]:
    """The rows of every cell as an Arrow table, in the record's order.

    InvalidError when they are not as many as metrics.jsonl counts.
    """
    tables = by_cell(read_queries(run))
    lines = lines_by_cell(run)
    for cell, table in tables.items():
        _check_count(run, cell, table, lines.get(cell, []))
    return tables


def table_of(run: Run, cell: Cell) -> Any:
    """The rows of a cell as an Arrow table, in the record's order.

    InvalidError when they are not as many as metrics.jsonl counts.
    """
    import pyarrow.compute as pc

    table = read_queries(run)
    for name, value in zip(CELL, cell, strict=True):
        table = table.filter(pc.equal(table[name], value))
    _check_count(run, cell, table, lines_by_cell(run).get(cell, []))
    return table


def lines_by_cell(run: Run) -> dict[Cell, list[MetricLine]]:
    """The lines of metrics.jsonl of each cell, in the record's order."""
    lines: dict[Cell, list[MetricLine]] = {}
    for line in run.metrics:
        lines.setdefault(cell_of(line), []).append(line)
    return lines


def cell_name(cell: Cell) -> str:
    """A cell in words: `en t2i, dim 256`, with the precision unless it is float32."""
    where = " ".join(name for name in (cell.subset, cell.direction) if name)
    return f"{where}, dim {cell.dim}" + (
        f" {cell.precision}" if cell.precision != "float32" else ""
    )


def cell_of(line: MetricLine) -> Cell:
    """The cell that a line is of."""
    return Cell(line.subset, line.direction, line.dim, line.precision)


def ranks_of(table: Any) -> Ranks:
    """The ranks of the queries of an Arrow table."""
    return Ranks(**{name: table[name].to_numpy() for name in RANKS})


def _check_count(run: Run, cell: Cell, table: Any, lines: list[MetricLine]) -> None:
    """Refuse rows that are not as many as the lines of their cell say, and ranks beyond the gallery."""
    import pyarrow.compute as pc

    counts = [name for name in COUNTS if name in table.column_names and len(table)]
    # a run file may lack a relevant document, and NOWHERE stands beyond every gallery
    placed = {name: table[name].filter(pc.not_equal(table[name], NOWHERE)) for name in counts}
    most = max((pc.max(column).as_py() or 0 for column in placed.values()), default=0)
    for line in lines:
        if most > line.n_gallery:
            raise InvalidError(
                f"{run.path / QUERIES}: a rank of {cell_name(cell)} counts {most:,} documents, and the "
                f"gallery has {line.n_gallery:,}. Run the evaluation again."
            )
        if line.n_queries != len(table):
            raise InvalidError(
                f"{run.path / QUERIES}: {counted(len(table), 'query', 'queries')} of {cell_name(cell)}, and metrics.jsonl "
                f"counts {line.n_queries:,}. Run the evaluation again."
            )


def by_cell(table: Any) -> dict[Cell, Any]:
    """The rows of each cell of an Arrow table with its columns, in order."""
    import pyarrow as pa

    places = table.select(CELL).append_column("row", pa.array(np.arange(len(table))))
    grouped = places.group_by(list(CELL), use_threads=False).aggregate([("row", "list")])
    cells = [Cell(*(grouped[name][i].as_py() for name in CELL)) for i in range(len(grouped))]
    return {
        cell: table.take(rows.values) for cell, rows in zip(cells, grouped["row_list"], strict=True)
    }


def _reader(run: Run, columns: set[str]) -> Any:
    if columns >= set(RANKS):
        return _of_ranks
    if "value" in columns:
        task = run.manifest.mteb
        if task is None or task.query_metric is None:
            raise InvalidError(
                f"{run.path / MANIFEST}: mteb.query_metric is missing, which says what the values "
                f"in {QUERIES} are. {REMEDY}"
            )
        name = task.query_metric
        return lambda ids, groups, part, lines: PerQuery(
            ids, groups, {name: part["value"].to_numpy()}
        )
    if columns >= {"score", "gold"}:
        return lambda ids, groups, part, lines: PerQuery(
            ids, groups, {}, Scored(part["score"].to_numpy(), part["gold"].to_numpy())
        )
    raise InvalidError(
        f"{run.path}: queries.parquet has neither ranks, values nor scores: {', '.join(sorted(columns))}."
    )


def _of_ranks(ids: list[str], groups: list[str], part: Any, lines: list[MetricLine]) -> PerQuery:
    ranks = ranks_of(part)
    values = {}
    for line in lines:
        name = line.name
        function = per_query_function(name)
        if function is not None:
            values[name] = function(ranks)
        elif (
            name in part.column_names
        ):  # what needs more than the best rank has a column of its own
            values[name] = part[name].to_numpy()
    return PerQuery(ids, groups, values)
