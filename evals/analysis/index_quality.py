"""What an index costs a deployment and what it loses: the task's recall end to end, bytes, time.

    total loss = 1 - recall with the index
               = lost to the embedding   1 - exact recall at full width
               + lost to the dimensions  exact recall at full width - exact recall at this width
               + lost to the index       exact recall at this width - recall with the index

The sums telescope, so that they add up to the total. Exact recalls are those of the record.

Shapes: q queries, n documents, d dimensions, k documents of a query.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from evals.analysis.index_engines import Engine, Places, build
from evals.analysis.index_points import (
    Point,
    Quality,
    hits_of,
    overlap,
    with_front,
    with_losses,
)
from evals.analysis.recorded import (
    Recorded,
    recorded_data,
    recorded_encoder,
    recorded_store,
    stored_rows,
)
from evals.analysis.searched import searched
from evals.bucket import Location
from evals.config.indexes import IndexRow
from evals.embeddings.store import Store
from evals.records.queries import Cell, PerQuery, per_query
from evals.records.record import Run, width_of
from evals.schema import ConfigError, ImageText, InvalidError, Items, TextRetrieval
from evals.stats.paired import paired_bootstrap
from evals.tasks.retrieval import item_vectors

EXACT = "exact"
REPEATS = 3  # of a search, the fastest counts: what else the machine did is no property of an index
_METRIC = re.compile(r"(?:R|Success)@([1-9]\d*)")


class _Exact(NamedTuple):
    """What the record has at a width: whether each query hits, in expectation, and its group."""

    hits: Float64[np.ndarray, "q"]
    groups: np.ndarray


def measure(
    run: Run,
    rows: Sequence[IndexRow],
    dims: Sequence[int] | None = None,
    *,
    subset: str | None = None,
    direction: str | None = None,
    metric: str | None = None,
    threads: int = 1,
    data: Path | None = None,
    store: Location | None = None,
) -> Quality:
    """Build and search each index at each width over the documents of one subset and direction.

    All widths of the record unless `dims` names some.

    Nothing is encoded: rows come from the store. ConfigError for a metric that is no R@k or
    Success@k, for widths, subsets and directions that the record does not have, and for other kinds
    of tasks; MissingError without rows or libraries; InvalidError when the exact search does not
    give the record.
    """
    cells = per_query(run)
    cell, name, k = _chosen(run, cells, subset, direction, metric)
    widths = dims or _widths(cells, cell)
    exact = {dim: _of_record(run, cells, cell._replace(dim=dim), name) for dim in widths}
    full = _of_record(run, cells, cell._replace(dim=width_of(run)), name)
    measured = recorded_data(run, [cell.subset], data)[cell.subset]
    assert isinstance(measured, ImageText | TextRetrieval)  # as the metric says
    parts = searched(measured, cell.direction)
    if cells[cell].ids != list(parts.queries.ids):
        raise InvalidError(f"{run.path}: its queries stand in another order than the data has.")
    source, encoder = Store(store or recorded_store(run)), recorded_encoder(run)
    points: list[Point] = []
    unlike = 0
    for dim in widths:
        queries, docs = (_vectors(source, encoder, items, dim) for items in parts[:2])
        # A gallery may have fewer documents than the metric looks at.
        depth = min(k, len(docs))
        nearest = build(_EXACT_ROW, docs, threads=threads).search(queries, depth, None)
        hits = hits_of(nearest, parts.relevant)
        is_tied = (exact[dim].hits > 0) & (exact[dim].hits < 1)
        unlike += int((hits != exact[dim].hits)[~is_tied].sum())
        for row in rows:
            measured_points = _of_index(
                row, queries, docs, parts.relevant, nearest, exact[dim], threads
            )
            points += [with_losses(p, full.hits, exact[dim].hits) for p in measured_points]
    if unlike > len(parts.relevant) * len(widths) * 1e-3:
        raise InvalidError(
            f"{run.path}: {unlike:,} queries have other hits than recorded: the rows in "
            f"{source.place} are not those that were measured. Run the evaluation again."
        )
    return Quality(
        run=run,
        subset=cell.subset,
        direction=cell.direction,
        metric=name,
        k=k,
        queries=len(parts.relevant),
        docs=len(parts.docs),
        threads=threads,
        unlike=unlike,
        points=with_front(points),
    )


_EXACT_ROW = IndexRow(name=EXACT, library="faiss", build="Flat", about="all documents")


def _widths(queries: Mapping[Cell, PerQuery], chosen: Cell) -> list[int]:
    """The widths at which a cell was scored in float32, the widest first."""
    widths = {cell.dim for cell in queries if cell == chosen._replace(dim=cell.dim)}
    return sorted(widths, reverse=True)


class _Choice(NamedTuple):
    """A cell, the metric's name and its cut-off."""

    cell: Cell
    metric: str
    k: int


def _chosen(
    run: Run,
    queries: Mapping[Cell, PerQuery],
    subset: str | None,
    direction: str | None,
    metric: str | None,
) -> _Choice:
    """The named subset, direction and metric, else the first ones and the deepest cut-off."""
    cells = [cell for cell in queries if cell.precision == "float32"]
    fitting = [
        cell
        for cell in cells
        if subset in (None, cell.subset) and direction in (None, cell.direction)
    ]
    if not fitting:
        there = dict.fromkeys(f"{cell.subset} {cell.direction}".strip() for cell in cells)
        named = " ".join(filter(None, (subset, direction)))
        has = ", ".join(there) or "no queries"
        raise ConfigError(f"{run.path}: has no {named}. It has {has}.")
    cell = fitting[0]
    names = [name for name in queries[cell].values if _METRIC.fullmatch(name)]
    if not names:
        raise ConfigError(
            f"{run.path}: none of its metrics is R@k or Success@k: an index is measured on "
            "retrieval between images and texts, or of texts."
        )
    name = metric or names[-1]
    match = _METRIC.fullmatch(name)
    if match is None or name not in names:
        raise ConfigError(f"--metric {name}: there is {', '.join(names)}.")
    return _Choice(cell, name, int(match[1]))


def _of_record(run: Run, queries: Mapping[Cell, PerQuery], cell: Cell, metric: str) -> _Exact:
    values = queries.get(cell)
    if values is None:
        dims = sorted({scored.dim for scored in queries})
        raise ConfigError(
            f"{run.path}: was not scored at {cell.dim} dimensions, and there is "
            f"{', '.join(map(str, dims))}. Score it with python -m evals.mrl_sweep --dims …, which "
            "encodes nothing again."
        )
    groups = np.unique(np.array(values.groups), return_inverse=True)[1]
    return _Exact(values.values[metric], groups)


def _vectors(
    store: Store, encoder: Recorded, items: Items, dim: int
) -> Float32[np.ndarray, "n {dim}"]:
    rows = item_vectors(items, [stored_rows(store, encoder, side) for side in items.sides], dim)
    return np.ascontiguousarray(rows)


def _of_index(
    row: IndexRow,
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Sequence[np.ndarray],
    nearest: Places,
    exact: _Exact,
    threads: int,
) -> Iterator[Point]:
    """A point per search parameter; the losses follow."""
    k = nearest.shape[1]
    since = time.perf_counter()
    engine = build(row, docs, threads=threads)
    seconds = time.perf_counter() - since
    for value in row.values:
        places, search_seconds = _timed(engine, queries, k, value)
        hits = hits_of(places, relevant)
        # The exact search is the record's: ties count in expectation, and nothing is lost.
        if row.library == "faiss" and row.build == "Flat":
            hits = exact.hits
        change = paired_bootstrap({"hit": hits}, {"hit": exact.hits}, exact.groups)["hit"]
        yield Point(
            name=row.name,
            dim=docs.shape[1],
            parameter=row.parameter,
            value=value,
            recall=float(hits.mean()),
            neighbours=overlap(places, nearest),
            lost_to_embedding=0.0,
            lost_to_dims=0.0,
            lost_to_index=0.0,
            loss_interval=change.interval,
            bytes=engine.nbytes(value),
            bytes_per_doc=engine.nbytes(value) / len(docs),
            build_seconds=seconds,
            queries_per_second=len(queries) / search_seconds,
        )


def _timed(engine: Engine, queries: np.ndarray, k: int, value: int | None) -> tuple[Places, float]:
    """The documents found, and the seconds of the fastest of some searches."""
    fastest = float("inf")
    for _ in range(REPEATS):
        since = time.perf_counter()
        places = engine.search(queries, k, value)
        fastest = min(fastest, time.perf_counter() - since)
    return places, max(fastest, 1e-9)
