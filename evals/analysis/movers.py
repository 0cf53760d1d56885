"""The queries that changed most from A to B: those that got worse, and those that got better.

A query is measured by one over the rank of its best relevant document (its reciprocal rank): to
fall from the first place to the third is more than from the 200th to the 400th.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.analysis.recorded import (
    recorded_data,
    recorded_encoder,
    recorded_store,
    stored_rows,
)
from evals.analysis.searched import Searched, Shown, searched, shown
from evals.data.items import select_items
from evals.embeddings.store import Store
from evals.ranking.metrics import expected_rank
from evals.records.queries import Cell, cell_name, ranks_of, table_of
from evals.records.selection import FULL, Measured
from evals.schema import ConfigError, EvalError, ImageText, MissingError, TextRetrieval
from evals.tasks.retrieval import item_vectors

TOP = 10
TASKS = ("image_text", "retrieval")  # whose records hold the rank of every query


class Mover(NamedTuple):
    """A query, the expected rank of its best relevant document in both runs, and what is known of it.

    `query` and `gold` are None where the data cannot be read; `first_*` is what each run ranks
    first, None where its embeddings are not stored or were searched in fewer bits.
    """

    id: str
    rank_a: float
    rank_b: float
    query: Shown | None = None
    gold: Shown | None = None
    first_a: Shown | None = None
    first_b: Shown | None = None


class Movers(NamedTuple):
    """The queries of one cell that got most worse and most better, furthest first; `notes` say what is missing."""

    where: str
    worse: list[Mover]
    better: list[Mover]
    data: ImageText | TextRetrieval | None
    notes: list[str]


def find_movers(a: Measured, b: Measured, subset: str | None = None, *, top: int = TOP) -> Movers:
    """The queries of the first direction, and of the first subset unless one is named.

    ConfigError for a benchmark whose records hold no ranks.
    """
    manifest = b.run.manifest
    if manifest.mteb or manifest.config.row.task not in TASKS:
        raise ConfigError(
            f"{manifest.benchmark}: its record holds no rank per query, so no queries are shown."
        )
    first = next(m for m in b.run.metrics if subset in (None, m.subset))
    cell_of_a, cell_of_b = (
        Cell(first.subset, first.direction, side.dim, side.precision) for side in (a, b)
    )
    ids, rank_a = _ranks(a, cell_of_a)
    ids_of_b, ranks_of_b = _ranks(b, cell_of_b)
    place = {name: i for i, name in enumerate(ids_of_b)}
    rank_b = ranks_of_b[[place[name] for name in ids]]
    change = 1 / rank_b - 1 / rank_a
    # Stable: of equal changes the query that the record has first.
    order = np.argsort(change, kind="stable")
    worse = [int(i) for i in order[:top] if change[i] < 0]
    better = [int(i) for i in np.argsort(-change, kind="stable")[:top] if change[i] > 0]
    movers = {i: Mover(ids[i], float(rank_a[i]), float(rank_b[i])) for i in [*worse, *better]}
    data, notes = None, []
    try:
        data = _data(b, first.subset)
    except (EvalError, OSError) as error:
        notes.append(f"The data could not be read, so ids are shown: {error}")
    if data is not None:
        movers, notes = _described(movers, data, (a, b), cell_of_b)
    where = cell_name(cell_of_b).partition(",")[0]
    return Movers(
        f"{manifest.benchmark} {where}",
        [movers[i] for i in worse],
        [movers[i] for i in better],
        data,
        notes,
    )


def _ranks(side: Measured, cell: Cell) -> tuple[list[str], Float64[np.ndarray, "q"]]:
    """The queries of a cell, and the expected rank of each."""
    table = table_of(side.run, cell)
    return table["query_id"].to_pylist(), expected_rank(ranks_of(table))


def _data(side: Measured, subset: str) -> ImageText | TextRetrieval:
    data = recorded_data(side.run, [subset])[subset]
    assert isinstance(data, ImageText | TextRetrieval)  # as its task says
    return data


def _described(
    movers: dict[int, Mover],
    data: ImageText | TextRetrieval,
    sides: tuple[Measured, Measured],
    cell: Cell,
) -> tuple[dict[int, Mover], list[str]]:
    """Movers with their query, its best-known document and what each run ranks first."""
    scope = searched(data, cell.direction)
    place = {name: i for i, name in enumerate(scope.queries.ids)}
    rows = {i: place[mover.id] for i, mover in movers.items()}
    firsts = []
    notes = []
    for name, side in zip("AB", sides, strict=True):
        try:
            firsts.append(_first_docs(side, scope, sorted(rows.values())))
        except MissingError as error:
            notes.append(f"What {name} ranks first is not shown: {error}")
            firsts.append({})
    described = {}
    for i, mover in movers.items():
        row = rows[i]
        gold = shown(data, scope.docs, int(scope.relevant[row][0]), 0.0)
        first_a, first_b = (
            shown(data, scope.docs, docs[row], 0.0) if row in docs else None for docs in firsts
        )
        described[i] = mover._replace(
            query=shown(data, scope.queries, row), gold=gold, first_a=first_a, first_b=first_b
        )
    return described, notes


def _first_docs(side: Measured, scope: Searched, rows: Sequence[int]) -> dict[int, int]:
    """The document that a run ranks first for each of the queries, from the rows that it stored."""
    from evals.ranking.search import top_k

    if side.precision != FULL:
        raise MissingError(f"{side.label} was searched in {side.precision}.")
    if not rows:
        return {}
    encoder = recorded_encoder(side.run)
    store = Store(recorded_store(side.run))
    chosen = select_items(scope.queries, list(rows))
    query_rows, doc_rows = (
        item_vectors(items, [stored_rows(store, encoder, part) for part in items.sides], side.dim)
        for items in (chosen, scope.docs)
    )
    first = {}
    for hits in top_k(query_rows, doc_rows, 1):
        for i, docs in enumerate(hits.docs):
            first[rows[hits.first + i]] = int(docs[0])
    return first
