"""What an index costs a deployment and what it loses: the task's recall end to end, bytes, time.

    total loss = 1 - recall with the index
               = lost to the embedding   1 - exact recall at full width
               + lost to the dimensions  exact recall at full width - exact recall at this width
               + lost to the index       exact recall at this width - recall with the index

The sums telescope, so that they add up to the total. Exact recalls are those of the record.

Shapes: q queries, n documents, d dimensions, k documents of a query.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64

from evals.analysis.index_choice import choose, widths_of
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
from evals.config.indexes import CUDA, IndexRow
from evals.counts import counted
from evals.embeddings.store import Store
from evals.records.queries import Cell, PerQuery, per_query
from evals.records.record import Run, width_of
from evals.schema import (
    ConfigError,
    ImageText,
    InvalidError,
    Items,
    MissingError,
    TextRetrieval,
)
from evals.stats.paired import paired_bootstrap
from evals.tasks.retrieval import item_vectors

EXACT = "exact"
REPEATS = 3  # of a search, the fastest counts: what else the machine did is no property of an index
ALMOST_NONE = 1e-3  # share of queries whose hit may differ from the record's, by rounding


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
    required: bool = True,
) -> Quality:
    """Build and search each index at each width over the documents of one subset and direction.

    All widths of the record unless `dims` names some. An index that this machine cannot build is an
    error when the rows are `required`, else it is left out, and `left_out` has the reason.

    Nothing is encoded: rows come from the store. ConfigError for a metric that is no R@k or
    Success@k or looks at the whole gallery, for widths, subsets and directions that the record does not have, and for other kinds
    of tasks; MissingError without rows, libraries or a card; InvalidError when the exact search,
    by the processor or by a card, does not give the record.
    """
    cells = per_query(run)
    cell, name, k = choose(run, cells, subset, direction, metric)
    widths = dims or widths_of(cells, cell)
    exact = {dim: _of_record(run, cells, cell._replace(dim=dim), name) for dim in widths}
    full = _of_record(run, cells, cell._replace(dim=width_of(run)), name)
    measured = recorded_data(run, [cell.subset], data)[cell.subset]
    assert isinstance(measured, ImageText | TextRetrieval)  # as the metric says
    parts = searched(measured, cell.direction)
    if cells[cell].ids != list(parts.queries.ids):
        raise InvalidError(f"{run.path}: its queries stand in another order than the data has.")
    if k >= len(parts.docs):
        raise ConfigError(
            f"{run.path}: among the first {k} of {len(parts.docs):,} documents every search has all "
            f"of them, so that {name} loses nothing to any index. Name a smaller cut-off by "
            "--metric, such as R@1, or take a benchmark of more documents."
        )
    source, encoder = Store(store or recorded_store(run)), recorded_encoder(run)
    points: list[Point] = []
    left_out: dict[str, str] = {}
    unlike = 0
    for dim in widths:
        queries, docs = (_vectors(source, encoder, items, dim) for items in parts[:2])
        nearest = build(_EXACT_ROW, docs, threads=threads).search(queries, k, None)
        hits = hits_of(nearest, parts.relevant)
        differs = _differs(hits, exact[dim])
        unlike += int(differs.sum())
        search = _Search(queries, docs, parts.relevant, nearest, exact[dim], differs, threads)
        for row in rows:
            try:
                measured_points = list(_of_index(row, search))
            except (ConfigError, MissingError) as refusal:
                if required:
                    raise
                left_out[f"{row.name}@{dim}"] = str(refusal)
                continue
            points += [with_losses(p, full.hits, exact[dim].hits) for p in measured_points]
    if unlike > len(parts.relevant) * len(widths) * ALMOST_NONE:
        raise InvalidError(
            f"{run.path}: other hits than recorded for {counted(unlike, 'query', 'queries')}: the rows in "
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
        left_out=left_out,
    )


_EXACT_ROW = IndexRow(name=EXACT, library="faiss", build="Flat", about="all documents")


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


class _Search(NamedTuple):
    """What all indexes of a width are built over and searched for, and what exact search found.

    `differs` says of each query whether the processor's exact search has another hit than the record.
    """

    queries: Float32[np.ndarray, "q d"]
    docs: Float32[np.ndarray, "n d"]
    relevant: Sequence[np.ndarray]
    nearest: Places
    exact: _Exact
    differs: Bool[np.ndarray, "q"]
    threads: int


def _differs(hits: Float64[np.ndarray, "q"], exact: _Exact) -> Bool[np.ndarray, "q"]:
    """Whether a query's hit is another than the record's, ties left out."""
    is_tied = (exact.hits > 0) & (exact.hits < 1)
    return np.asarray((hits != exact.hits) & ~is_tied)


def _prove(row: IndexRow, search: _Search) -> None:
    """InvalidError unless exact search on the row's device gives the hits that the record has."""
    flat = _EXACT_ROW.model_copy(update={"device": row.device})
    engine = build(flat, search.docs, threads=search.threads)
    hits = hits_of(engine.search(search.queries, search.nearest.shape[1], None), search.relevant)
    # Where the processor's search differs, too, the stored rows are in question and not the device.
    n_wrong = int((_differs(hits, search.exact) & ~search.differs).sum())
    if n_wrong > len(hits) * ALMOST_NONE:
        raise InvalidError(
            f"{row.name}: exact search on {row.device} finds other hits than the record in "
            f"{n_wrong:,} of {len(hits):,} queries at {search.docs.shape[1]} dimensions, and on the "
            "processor it does not. No figure of this device can be used: name the other rows with "
            "--only, and report it to faiss."
        )


def _of_index(row: IndexRow, search: _Search) -> Iterator[Point]:
    """A point per search parameter; the losses follow."""
    if row.device == CUDA:
        _prove(row, search)
    exact, docs, nearest = search.exact, search.docs, search.nearest
    since = time.perf_counter()
    engine = build(row, docs, threads=search.threads)
    seconds = time.perf_counter() - since
    for value in row.values:
        places, search_seconds = _timed(engine, search.queries, nearest.shape[1], value)
        hits = hits_of(places, search.relevant)
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
            queries_per_second=len(search.queries) / search_seconds,
        )


def _timed(engine: Engine, queries: np.ndarray, k: int, value: int | None) -> tuple[Places, float]:
    """The documents found, and the seconds of the fastest of some searches."""
    fastest = float("inf")
    for _ in range(REPEATS):
        since = time.perf_counter()
        places = engine.search(queries, k, value)
        fastest = min(fastest, time.perf_counter() - since)
    return places, max(fastest, 1e-9)
