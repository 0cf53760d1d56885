"""The worst queries of a record, and the documents that were wrongly preferred to theirs.

They come from the embeddings that the run stored; nothing is encoded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from evals.analysis.recorded import (
    Recorded,
    recorded_data,
    recorded_encoder,
    recorded_store,
    stored_rows,
)
from evals.analysis.searched import Shown, searched, shown
from evals.bucket import Location
from evals.data.items import select_items
from evals.embeddings.store import Store
from evals.ranking.metrics import expected_rank
from evals.records.queries import Cell, cell_name, ranks_of, table_of
from evals.records.record import Run
from evals.schema import (
    ConfigError,
    ImageText,
    InvalidError,
    Items,
    NotComparableError,
    TextRetrieval,
)
from evals.tasks.retrieval import item_vectors

PREFERRED = 5  # documents that are shown
# How far a recomputed score may be from the recorded one: the last bits of the rows differ with the
# kernels of the machine that encoded them, and other weights or images differ by far more.
CLOSE = 1e-4


class Mistake(NamedTuple):
    """A query whose own document may not come first.

    `rank` is the expected rank of `gold`, its best relevant document. `preferred` are irrelevant ones
    that are ranked above it, or equal to it.
    """

    rank: float
    query: Shown
    gold: Shown
    preferred: list[Shown]


class Mistakes(NamedTuple):
    """The mistakes of a cell, worst first, of so many queries.

    `wrong` counts those whose first document may be irrelevant.
    """

    run: Run
    cell: Cell
    data: ImageText | TextRetrieval
    queries: int
    wrong: int
    mistakes: list[Mistake]


def find_mistakes(
    run: Run, cell: Cell, *, top: int, data: Path | None = None, store: Location | None = None
) -> Mistakes:
    """The `top` worst queries of a cell, with the documents preferred to their own.

    `data` and `store` stand in for the places that the record names. ConfigError for a record of
    another kind of task, MissingError for embeddings that are not stored, NotComparableError when
    the data at hand is not what was measured, InvalidError when the stored embeddings do not give
    the recorded scores.
    """
    table = table_of(run, cell)
    ranks = ranks_of(table)
    rank = expected_rank(ranks)
    # Stable: of equal ranks the query that the record has first. Rank 1 is no mistake.
    worst_first = np.argsort(-rank, kind="stable")[:top]
    chosen = [int(i) for i in worst_first if rank[i] > 1]
    measured = _searched_data(run, cell.subset, data)
    queries, docs, relevant = searched(measured, cell.direction)
    rows = _rows_of(table["query_id"].to_pylist(), queries, run)
    encoder = recorded_encoder(run)
    stored = Store(store or recorded_store(run))
    # Items are selected in their order; what is chosen comes worst first.
    ascending = sorted(rows[i] for i in chosen)
    chosen_queries = _vectors(stored, encoder, select_items(queries, ascending), cell.dim)
    query_rows = chosen_queries[np.searchsorted(ascending, [rows[i] for i in chosen])]
    doc_rows = _vectors(stored, encoder, docs, cell.dim)
    hits = _search(query_rows, doc_rows, [relevant[rows[i]] for i in chosen])
    mistakes = []
    for i, (gold, irrelevant) in zip(chosen, hits, strict=True):
        recorded = float(ranks.score[i])
        # One number checks all at once: rows, data and record that do not belong together differ.
        if abs(gold.score - recorded) > CLOSE:
            raise InvalidError(
                f"{run.path}: {queries.ids[rows[i]]} scored {recorded:.6f} with its own, and "
                f"{gold.score:.6f} from the rows in {stored.place}. Run the evaluation again."
            )
        # The search also gives documents below the relevant one, which were not preferred to it.
        n_preferred = int(ranks.better[i] + ranks.tied[i])
        mistake = Mistake(
            rank=float(rank[i]),
            query=shown(measured, queries, rows[i]),
            gold=shown(measured, docs, gold.doc, gold.score),
            preferred=[
                shown(measured, docs, hit.doc, hit.score) for hit in irrelevant[:n_preferred]
            ],
        )
        mistakes.append(mistake)
    return Mistakes(run, cell, measured, len(rank), int((rank > 1).sum()), mistakes)


def _rows_of(ids: Sequence[str], queries: Items, run: Run) -> list[int]:
    """The places of recorded queries in the data at hand, by id."""
    place = {name: i for i, name in enumerate(queries.ids)}
    unknown = [name for name in ids if name not in place]
    if unknown:
        raise NotComparableError(
            f"{run.path}: the data at hand has no query {unknown[0]!r}: its ids are others. "
            "Name the copy that was measured, with --data."
        )
    return [place[name] for name in ids]


class _Hit(NamedTuple):
    """A document and its score with a query."""

    doc: int
    score: float


class _Hits(NamedTuple):
    """The best relevant document of a query, and the best irrelevant ones, best first."""

    gold: _Hit
    irrelevant: list[_Hit]


def _search(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Sequence[np.ndarray],
) -> list[_Hits]:
    from evals.ranking.search import top_k

    if not len(queries):
        return []
    # Relevant documents may take places among the best: so many more are searched for.
    k = PREFERRED + max(len(gold) for gold in relevant)
    hits_of_queries = []
    for hits in top_k(queries, docs, k):
        for i in range(len(hits.docs)):
            query = hits.first + i
            gold = relevant[query]
            # In float64, as ranks are: a relevant document need not be among the hits at all.
            gold_scores = docs[gold].astype(np.float64) @ queries[query].astype(np.float64)
            best = int(gold_scores.argmax())
            irrelevant = []
            for doc, score in zip(hits.docs[i], hits.scores[i], strict=True):
                if doc not in gold:
                    irrelevant.append(_Hit(int(doc), float(score)))
            gold_hit = _Hit(int(gold[best]), float(gold_scores[best]))
            hits_of_queries.append(_Hits(gold_hit, irrelevant[:PREFERRED]))
    return hits_of_queries


def _check_searched(run: Run) -> None:
    """ConfigError for a record of another kind of task, whose queries do not search documents."""
    manifest = run.manifest
    if manifest.config.row.task not in ("image_text", "retrieval") or "probe" in manifest.raw:
        raise ConfigError(
            f"{run.path}: {manifest.benchmark} is no benchmark of images and captions, and no text "
            "retrieval. Mistakes are shown of these alone: name one, such as scenes."
        )


def _searched_data(run: Run, subset: str, folder: Path | None) -> ImageText | TextRetrieval:
    _check_searched(run)
    data = recorded_data(run, [subset], folder)[subset]
    assert isinstance(data, ImageText | TextRetrieval)  # as its task says
    return data


def _vectors(
    store: Store, encoder: Recorded, items: Items, dim: int
) -> Float32[np.ndarray, "n {dim}"]:
    """A unit vector per item, from the rows that are stored."""
    return item_vectors(items, [stored_rows(store, encoder, side) for side in items.sides], dim)


def chosen_cell(run: Run, subset: str | None, direction: str, dim: int) -> Cell:
    """The cell that is meant, the first subset unless one is named.

    ConfigError with those there are, and for a record of another kind of task.
    """
    _check_searched(run)
    lines = run.metrics
    cells = list(dict.fromkeys(Cell(m.subset, m.direction, m.dim, m.precision) for m in lines))
    first_subset = cells[0].subset if cells else ""
    if {cell.direction for cell in cells} == {""}:  # text retrieval has only one
        direction = ""
    # float32 alone: the rows are searched in float32, and other precisions rank otherwise.
    cell = Cell(subset or first_subset, direction, dim, "float32")
    if cell not in cells:
        at_dim = [cell_name(cell) for cell in cells if cell.dim == dim]
        there = "; ".join(at_dim) or "nothing at this dimension"
        raise ConfigError(f"{run.path} has no {cell_name(cell)}. It has {there}.")
    return cell
